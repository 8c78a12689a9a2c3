"""How far a transfer is, in the log: now and then, and never so often that it hides everything else."""

from __future__ import annotations

from collections.abc import Callable

from pixxel_provider.api.messages import Log

#: Seconds between two lines at the least, and this share of the package besides.
SHORTEST, STEP = 10.0, 0.1
#: Seconds after which there is a line even where less has come.
LONGEST = 60.0


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    if count < 1024:
        return f"{int(count)} bytes"
    power = next((power for power in (1, 2, 3) if count < 1024 ** (power + 1)), 4)
    return f"{count / 1024**power:.1f} {'KMGT'[power - 1]}iB"


class Progress:
    """Says how far a transfer is: after 10 s and 10 % more, or after a minute."""

    def __init__(self, log: Log, monotonic: Callable[[], float]) -> None:
        self.log, self._monotonic = log, monotonic
        self._first = self._last = monotonic()
        self._said = 0
        self._total: int | None = None

    def begin(self, total: int | None) -> None:
        """Say how much there is to come."""
        self._total, self._said = total, 0
        self._last = self._monotonic()
        much = "a length that isn't known yet" if total is None else size(total)
        self.log.info(f"Receiving a package of {much}")

    def at(self, count: int) -> None:
        """Take note of how much has come, and say so if it is time."""
        now = self._monotonic()
        passed = now - self._last
        if passed < SHORTEST:
            return
        if passed < LONGEST and (self._total is None or count - self._said < STEP * self._total):
            return
        rate = f"{size((count - self._said) / passed)}/s"
        of = f" of {size(self._total)} ({count / self._total:.0%})" if self._total else ""
        self.log.info(f"{size(count)}{of} have come, at {rate}")
        self._said, self._last = count, now

    def done(self, count: int) -> None:
        """Say that all has come."""
        seconds = max(self._monotonic() - self._first, 1e-9)
        self.log.info(f"Received {size(count)} in {seconds:.1f} s, at {size(count / seconds)}/s")
