"""The simulator's time: a source of Unix seconds, plus what was skipped by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

TEN_YEARS = 10 * 365 * 86400.0
FROZEN_AT = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def check_seconds(name: str, seconds: float) -> float:
    """The seconds, if they are from 0 to ten years. Raises ValueError otherwise."""
    if not 0 <= seconds <= TEN_YEARS:
        raise ValueError(f"{name}: must be a number from 0 to {TEN_YEARS:.0f} seconds, not {seconds!r}")
    return seconds


class SimulatedClock:
    """Unix seconds of ``source`` (``time.time`` by default) plus all that ``advance`` has added."""

    def __init__(self, source: Callable[[], float] | None = None) -> None:
        self._source = source or time.time
        self._skipped = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """The simulated time, in Unix seconds."""
        return self._source() + self._skipped

    def advance(self, seconds: float) -> float:
        """Skip ``seconds`` (0 to ten years); returns the new time. Raises ValueError for any other number."""
        with self._lock:
            self._skipped += check_seconds("seconds", seconds)
        return self.now()

    def reset(self) -> None:
        """Forget what was skipped."""
        with self._lock:
            self._skipped = 0.0


def frozen(at: float = FROZEN_AT) -> Callable[[], float]:
    """A source that always says ``at``: time passes only through ``advance``."""
    return lambda: at
