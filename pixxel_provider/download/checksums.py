"""Checksums: those that a storage host sent, and those of the received bytes."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

#: Bytes of a part. Handing smaller ones to a thread costs more than hashing them.
PART = 1024 * 1024
#: The most parts that wait for the thread: this many are in memory.
DEPTH = 4

#: Hash functions by the algorithm's name.
MAKERS: dict[str, Callable[[], Any]] = {
    "sha512": hashlib.sha512,
    "sha256": hashlib.sha256,
    "sha1": partial(hashlib.sha1, usedforsecurity=False),
    "md5": partial(hashlib.md5, usedforsecurity=False),
}
# Headers about the object as a whole, even if the answer is a part of it.
_OF_THE_WHOLE = ("digest", "repr-digest", "x-goog-hash", "x-ms-blob-content-md5")
# Headers about the content of this answer, or unclear ones.
_OF_THE_ANSWER = {"content-digest": "", "content-md5": "md5", "x-amz-checksum-sha256": "sha256"}
_PAIR = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*:?([A-Za-z0-9+/_-]+=*):?\s*")


def promised(headers: Mapping[str, str], *, whole: bool = True) -> dict[str, bytes]:
    """Return the checksums of the package in an answer's headers, by the algorithm's name.

    Unknown and malformed ones are ignored; an ETag never is a checksum.

    :param headers: with case-insensitive keys.
    :param whole: whether the answer holds the whole package, and not a part.
    """
    checksums: dict[str, bytes] = {}
    for header in _OF_THE_WHOLE:
        _read(headers.get(header), "md5" if header.endswith("md5") else "", checksums)
    if whole:
        for header, algorithm in _OF_THE_ANSWER.items():
            _read(headers.get(header), algorithm, checksums)
    return checksums


def _read(value: str | None, algorithm: str, checksums: dict[str, bytes]) -> None:
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
        if name in MAKERS and len(digest) == MAKERS[name]().digest_size:
            checksums.setdefault(name, digest)


class Checksums(contextlib.AbstractContextManager["Checksums"]):
    """Checksums of bytes that arrive in parts, computed in a thread so as not to slow the transfer."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pixxel-digest")
        self._waiting: deque[Future[None]] = deque()
        self._hashes: dict[str, Any] = {}
        # The same few buffers for the whole transfer: new memory for each part costs more than hashing it.
        self._buffers: deque[memoryview] = deque()

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, algorithms: Iterable[str] = ()) -> None:
        """Start again, with sha256 and these algorithms."""
        self._wait_for_all_but(0)
        self._hashes = {name: MAKERS[name]() for name in dict.fromkeys(("sha256", *algorithms))}

    def buffer(self) -> memoryview:
        """Lend a buffer for the next part, to be filled and added; waits if the thread is behind."""
        self._wait_for_all_but(DEPTH - 1)
        if len(self._buffers) < DEPTH:
            self._buffers.appendleft(memoryview(bytearray(PART)))
        return self._buffers[0]

    def add(self, part: bytes | memoryview) -> None:
        """Add the next part, in a lent buffer or another; waits if the thread is behind."""
        self._wait_for_all_but(DEPTH - 1)
        self._buffers.rotate(-1)
        self._waiting.append(self._pool.submit(self._feed, part))

    def finish(self) -> dict[str, bytes]:
        """Return the checksums of all parts since the start, by the algorithm's name."""
        self._wait_for_all_but(0)
        return {name: each.digest() for name, each in self._hashes.items()}

    def _wait_for_all_but(self, count: int) -> None:
        while len(self._waiting) > count:
            self._waiting.popleft().result()

    def _feed(self, part: bytes | memoryview) -> None:
        for each in self._hashes.values():
            each.update(part)


def differing(came: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Return the algorithms whose checksums differ from the promised ones."""
    return [name for name, digest in expected.items() if came.get(name) != digest]
