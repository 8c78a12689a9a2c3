"""Cancels a download: removes what is incomplete, and prevents further writes and renames."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.download.errors import PixxelDownloadError

_WORDS = "The download was given up, as its task was stopped"
# Seconds that are slept at a time: a signal's handler doesn't end a sleep.
_SLEEP = 1.0


class Cancellation:
    """What has to be removed on cancellation, and whether the download was cancelled.

    Airflow 3 answers SIGTERM by calling ``on_kill`` between two steps of the task, which then continues. So a
    step with a visible effect checks first, and its resources are removed if the signal comes right after.

    :ivar clock: a clock whose sleeps end, with the error of :meth:`check`, soon after the cancellation.
    """

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.clock = Clock(monotonic=clock.monotonic, sleep=self._sleep)
        self._real_sleep = clock.sleep
        self._discards: list[Callable[[], None]] = []
        self._given_up = False
        # A signal's handler runs in the same thread, and must not wait for the code that it interrupted.
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def holding(self, discard: Callable[[], None]) -> Iterator[None]:
        """Discard something at the end of a block, or at once if the download is cancelled."""
        self._discards.append(discard)
        try:
            self.check()
            yield
            self.check()
        except Exception as error:
            # The error of the cancellation, not that of a step whose resources are gone.
            if _WORDS not in str(error):
                self.check()
            raise
        finally:
            self._discards.remove(discard)
            # Again: a write that was in progress at the cancellation may have ended after it.
            discard()

    def check(self) -> None:
        """Continue only if the download wasn't cancelled.

        :raises PixxelDownloadError: it was.
        """
        if self._given_up:
            raise PixxelDownloadError(f"{_WORDS}.")

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Run a step with visible effects; no other thread can cancel the download meanwhile.

        :raises PixxelDownloadError: it was cancelled.
        """
        with self._lock:
            self.check()
            yield

    def give_up(self) -> None:
        """Discard everything, and prevent further writes."""
        with self._lock:
            self._given_up = True
            for discard in reversed(self._discards.copy()):
                # If one can't be removed, the others still have to be.
                with contextlib.suppress(Exception):
                    discard()

    def _sleep(self, seconds: float) -> None:
        self.check()
        while seconds > 0:
            self._real_sleep(min(seconds, _SLEEP))
            self.check()
            seconds -= _SLEEP
