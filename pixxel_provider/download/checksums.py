"""Checksums: what a storage host promises, and what really came, worked out beside the transfer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any

#: Bytes of a part. Handing smaller ones to a thread costs more than hashing them.
PART = 1024 * 1024
#: Parts that wait for the thread at the most: what the memory has to hold is so many parts.
DEPTH = 4

_MAKERS: dict[str, Callable[[], Any]] = {
    "sha512": hashlib.sha512,
    "sha256": hashlib.sha256,
    "sha1": partial(hashlib.sha1, usedforsecurity=False),
    "md5": partial(hashlib.md5, usedforsecurity=False),
}
_LENGTHS = {"sha512": 64, "sha256": 32, "sha1": 20, "md5": 16}
# Headers about the object as a whole, also where the answer is a part of it.
_OF_THE_WHOLE = ("digest", "repr-digest", "x-goog-hash", "x-ms-blob-content-md5")
# Headers about what this answer carries, or of which that isn't certain.
_OF_THE_ANSWER = {"content-digest": "", "content-md5": "md5", "x-amz-checksum-sha256": "sha256"}
_PAIR = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*:?([A-Za-z0-9+/_-]+=*):?\s*")


def promised(headers: Mapping[str, str], *, whole: bool = True) -> dict[str, bytes]:
    """Return the checksums of the package that an answer's headers give, by the algorithm's name.

    What isn't understood or isn't well-formed promises nothing; an ETag never is a checksum.

    :param headers: with keys that don't tell upper from lower case.
    :param whole: whether the answer carries the whole package, and not a part.
    """
    found: dict[str, bytes] = {}
    for header in _OF_THE_WHOLE:
        _read(headers.get(header), "md5" if header.endswith("md5") else "", found)
    if whole:
        for header, algorithm in _OF_THE_ANSWER.items():
            _read(headers.get(header), algorithm, found)
    return found


def _read(value: str | None, algorithm: str, found: dict[str, bytes]) -> None:
    for entry in (value or "").split(","):
        if algorithm:
            name, text = algorithm, entry.strip()
        else:
            pair = _PAIR.fullmatch(entry)
            if pair is None:
                continue
            name, text = pair[1].lower().replace("-", ""), pair[2]
        name = {"sha": "sha1"}.get(name, name)
        try:
            digest = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(digest) == _LENGTHS.get(name):
            found.setdefault(name, digest)


class Checksums:
    """Checksums of bytes that come part by part, in a thread: hashing then costs a transfer no time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pixxel-digest")
        self._waiting: deque[Future[None]] = deque()
        self._hashes: dict[str, Any] = {}
        # The same few for the whole transfer: fresh memory for each part costs more than hashing it.
        self._buffers: deque[memoryview] = deque()

    def __enter__(self) -> Checksums:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, algorithms: Iterable[str] = ()) -> None:
        """Begin anew: sha256, and these besides."""
        self._finish()
        self._hashes = {name: _MAKERS[name]() for name in dict.fromkeys(("sha256", *algorithms))}

    def buffer(self) -> memoryview:
        """Lend memory for the next part, to be filled and added; waits where the thread is behind."""
        self._keep_up()
        if len(self._buffers) < DEPTH:
            self._buffers.appendleft(memoryview(bytearray(PART)))
        return self._buffers[0]

    def add(self, part: bytes | memoryview) -> None:
        """Take in the next part, of the memory lent or of one's own; waits where the thread is behind."""
        self._keep_up()
        self._buffers.rotate(-1)
        self._waiting.append(self._pool.submit(self._feed, part))

    def finish(self) -> dict[str, bytes]:
        """Return the checksums of all parts since the start, by the algorithm's name."""
        self._finish()
        return {name: found.digest() for name, found in self._hashes.items()}

    def _keep_up(self) -> None:
        while len(self._waiting) >= DEPTH:
            self._waiting.popleft().result()

    def _feed(self, part: bytes | memoryview) -> None:
        for found in self._hashes.values():
            found.update(part)

    def _finish(self) -> None:
        while self._waiting:
            self._waiting.popleft().result()


def differing(came: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Return the algorithms by which what came isn't what was promised."""
    return [name for name, digest in expected.items() if came.get(name) != digest]
