"""The progress of a transfer, in the log: at intervals that don't fill it."""

from __future__ import annotations

from pixxel_provider.api.messages import Log
from pixxel_provider.clock import Clock

#: The least seconds between two lines, and the least share of the package.
SHORTEST, STEP = 10.0, 0.1
#: Seconds after which there is a line in any case.
LONGEST = 60.0


def size(count: float) -> str:
    """Return a number of bytes for people."""
    if count < 1024:
        return f"{int(count)} bytes"
    power = next((power for power in (1, 2, 3) if count < 1024 ** (power + 1)), 4)
    return f"{count / 1024**power:.1f} {'KMGT'[power - 1]}iB"


class Progress:
    """Logs the progress of a transfer: after 10 s and 10 % more, or after a minute."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self.log, self._clock = log, clock
        self._first = self._last = clock.monotonic()
        self._said = 0
        self._total: int | None = None

    def begin(self, total: int | None) -> None:
        """Log the length of the package."""
        self._total, self._said = total, 0
        self._last = self._clock.monotonic()
        much = "a length that isn't known yet" if total is None else size(total)
        self.log.info(f"Receiving a package of {much}")

    def at(self, count: int) -> None:
        """Record the received bytes, and log them if it is time."""
        now = self._clock.monotonic()
        passed = now - self._last
        if passed < SHORTEST:
            return
        if passed < LONGEST and (self._total is None or count - self._said < STEP * self._total):
            return
        rate = f"{size((count - self._said) / passed)}/s"
        of = f" of {size(self._total)} ({count / self._total:.0%})" if self._total else ""
        self.log.info(f"Received {size(count)}{of} so far, at {rate}")
        self._said, self._last = count, now

    def done(self, count: int) -> None:
        """Log that everything was received."""
        seconds = max(self._clock.monotonic() - self._first, 1e-9)
        self.log.info(f"Received {size(count)} in {seconds:.1f} s, at {size(count / seconds)}/s")
