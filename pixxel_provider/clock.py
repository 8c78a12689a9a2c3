"""The time, and how it is let pass: handed over as one thing, so that a test hands over another."""

from __future__ import annotations

import asyncio
import time as real
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(eq=False)
class Clock:
    """The functions of the same names in :mod:`time`, and :func:`asyncio.sleep`."""

    time: Callable[[], float] = real.time
    monotonic: Callable[[], float] = real.monotonic
    sleep: Callable[[float], None] = real.sleep
    async_sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


#: What is used where no other clock is handed over.
CLOCK = Clock()
