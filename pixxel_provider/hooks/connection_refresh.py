"""When an Airflow connection is read anew: the rule that both clients share, without a clock of its own."""

from __future__ import annotations

import math

from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelConnectionError,
    PixxelError,
    PixxelRateLimitError,
    PixxelResponseError,
    rebuild,
)

#: Seconds between two readings of a connection while requests fail: half as long as they have failed, but at
#: least the first number and at most the second.
SHORTEST, LONGEST = 1.0, 60.0


class ConnectionRefresh:
    """Says whether it is time to read a connection anew: now and then while requests fail, else never.

    Whatever fails may be mended in the connection: its host, proxy, certificates or key. Only 429 may not.
    """

    def __init__(self) -> None:
        self._read_at = -math.inf
        self._failing_since = 0.0
        self._failed_at = -math.inf
        self._failing = False
        self._refused = False
        self._unreachable = False
        self._unread: PixxelError | None = None

    @property
    def unreachable(self) -> bool:
        """Whether the last request got no answer of the API, or a 401: another connection loses nothing."""
        return self._unreachable

    @property
    def unread(self) -> PixxelError | None:
        """Why the connection couldn't be read when it was tried last, None where it could."""
        # Another one each time: an error that is raised again and again grows with each.
        return rebuild(self._unread.fields()) if self._unread else None

    def due(self, now: float) -> bool:
        """Tell whether the connection is to be read anew before the next request."""
        lasted = self._read_at - self._failing_since
        return self._failing and now >= self._read_at + min(max(lasted / 2, SHORTEST), LONGEST)

    def due_at_401(self, now: float) -> bool:
        """Tell whether it is to be read anew after a 401: at once, unless that was of no use just before."""
        return self.due(now) or not (self._refused or self._unread)

    def was_read(self, now: float, error: PixxelError | None = None) -> None:
        """Take note that the connection is read.

        :param error: why it couldn't be.
        """
        self._read_at, self._unread = now, error
        if error is not None:
            self.ended(now, error)

    def ended(self, now: float, error: PixxelError | None) -> None:
        """Take note of how a request ended.

        :param error: None where it was answered.
        """
        self._failing = error is not None and not isinstance(error, PixxelRateLimitError)
        self._refused = isinstance(error, PixxelAuthError) and error.status_code == 401
        self._unreachable = self._refused or isinstance(error, (PixxelConnectionError, PixxelResponseError))
        if not self._failing:
            return
        if now - self._failed_at > LONGEST:
            self._failing_since = now
        self._failed_at = now
