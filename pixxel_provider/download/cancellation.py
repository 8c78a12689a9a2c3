"""What a download that is given up leaves: nothing, and nothing is written or renamed any more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from pixxel_provider.download.errors import PixxelDownloadError

_WORDS = "The download was given up, as its task was stopped"


class Cancellation:
    """What is still to be taken away, and whether the download was given up.

    Airflow 3 answers SIGTERM by calling ``on_kill`` between two steps of the task, which then goes on. So a
    step that others could see asks first, and what it works with is gone if the signal comes right after.
    """

    def __init__(self) -> None:
        self._discards: list[Callable[[], None]] = []
        self._given_up = False
        # A signal's handler comes in the same thread, and must not wait for what it has interrupted.
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def holding(self, discard: Callable[[], None]) -> Iterator[None]:
        """Discard something at the end of a block, or at once when the download is given up."""
        self._discards.append(discard)
        try:
            self.check()
            yield
            self.check()
        except Exception as error:
            # Its own words, and not those of a step that found its things gone.
            if _WORDS not in str(error):
                self.check()
            raise
        finally:
            self._discards.remove(discard)
            # Again: what was just being written when all was given up may have come after.
            discard()

    def check(self) -> None:
        """Go on only if the download wasn't given up.

        :raises PixxelDownloadError: it was.
        """
        if self._given_up:
            raise PixxelDownloadError(f"{_WORDS}.")

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Do what others will see, and let no other thread give it up meanwhile.

        :raises PixxelDownloadError: it was given up.
        """
        with self._lock:
            self.check()
            yield

    def give_up(self) -> None:
        """Discard everything, and let nothing more be written."""
        with self._lock:
            self._given_up = True
            for discard in reversed(self._discards.copy()):
                # One that can't be taken away is no reason to keep the others.
                with contextlib.suppress(Exception):
                    discard()
