"""When an Airflow connection is read again: the rule that both clients share, without a clock of its own."""

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

#: Seconds between two readings of a connection while requests fail: half the time since the first failure,
#: but at least the first number and at most the second.
SHORTEST, LONGEST = 1.0, 60.0


class ConnectionRefresh:
    """Decides when to read a connection again: at intervals while requests fail, otherwise never.

    Most failures can be corrected in the connection: host, proxy, certificates or key. Only 429 can't.
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
        """Whether the last request got no answer from the API, or a 401."""
        return self._unreachable

    @property
    def unread(self) -> PixxelError | None:
        """Why the connection couldn't be read the last time, None if it could."""
        # A new one each time: an error that is raised repeatedly grows with each raise.
        return rebuild(self._unread.fields()) if self._unread else None

    def due(self, now: float) -> bool:
        """Return whether the connection is to be read again before the next request."""
        lasted = self._read_at - self._failing_since
        return self._failing and now >= self._read_at + min(max(lasted / 2, SHORTEST), LONGEST)

    def due_at_401(self, now: float) -> bool:
        """Return whether it is to be read again after a 401: at once, unless that has just failed to help."""
        return self.due(now) or not (self._refused or self._unread)

    def was_read(self, now: float, error: PixxelError | None = None) -> None:
        """Record that the connection was read.

        :param error: why it couldn't be.
        """
        self._read_at, self._unread = now, error
        if error is not None:
            self.ended(now, error)

    def ended(self, now: float, error: PixxelError | None) -> None:
        """Record how a request ended.

        :param error: None if it was answered.
        """
        self._failing = error is not None and not isinstance(error, PixxelRateLimitError)
        self._refused = isinstance(error, PixxelAuthError) and error.status_code == 401
        self._unreachable = self._refused or isinstance(error, (PixxelConnectionError, PixxelResponseError))
        if not self._failing:
            return
        if now - self._failed_at > LONGEST:
            self._failing_since = now
        self._failed_at = now
