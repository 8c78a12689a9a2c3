"""What a package consists of: bytes that were given, or any number of bytes made up while they are sent."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

CHUNK = 1024 * 1024  # bytes handed to the server at a time; smaller ones cost more time
# At least CHUNK, and a prime: ranges that begin at different multiples of a power of two differ.
PERIOD = 1_048_583


class Content(Protocol):
    """Bytes with a length that can be read from anywhere."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    @property
    def identity(self) -> str:
        """A text that is the same for the same bytes only."""

    def chunks(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes from ``start`` up to, not including, ``end``, in parts of at most ``CHUNK``."""

    def digest(self, algorithm: str) -> bytes:
        """The hash of all bytes, by the name hashlib gives it."""


class Given:
    """Bytes that are in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)
        self.identity = hashlib.sha256(content).hexdigest()

    def chunks(self, start: int, end: int) -> Iterator[memoryview]:
        """See Content."""
        view = memoryview(self._content)
        for at in range(start, end, CHUNK):
            yield view[at : min(at + CHUNK, end)]

    def digest(self, algorithm: str) -> bytes:
        """See Content."""
        return hashlib.new(algorithm, self._content, usedforsecurity=False).digest()


class MadeUp:
    """``size`` bytes that look random, the same for the same ``seed``, none of them kept."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.seed = seed
        self.identity = f"{size} bytes of {seed}"

    def chunks(self, start: int, end: int) -> Iterator[memoryview]:
        """See Content."""
        view = memoryview(_noise(self.seed))
        for at in range(start, end, CHUNK):
            place = at % PERIOD
            yield view[place : place + min(CHUNK, end - at)]

    def digest(self, algorithm: str) -> bytes:
        """See Content. Takes seconds where the size is in gigabytes."""
        return _digest(self.size, self.seed, algorithm)


@lru_cache(maxsize=4)
def _noise(seed: int) -> bytes:
    """One period, and as much of the next as the longest slice may reach into it."""
    period = random.Random(seed).randbytes(PERIOD)
    return period + period[:CHUNK]


@lru_cache(maxsize=64)
def _digest(size: int, seed: int, algorithm: str) -> bytes:
    result = hashlib.new(algorithm, usedforsecurity=False)
    for chunk in MadeUp(size, seed).chunks(0, size):
        result.update(chunk)
    return result.digest()
