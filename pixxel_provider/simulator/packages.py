"""Download packages: how one turns out, and the bytes it consists of."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from pixxel_provider.simulator.clock import TEN_YEARS
from pixxel_provider.simulator.validation import Model, one_of

if TYPE_CHECKING:
    from typing_extensions import Self

LARGEST = 1 << 50  # bytes
CHUNK = 1024 * 1024  # bytes handed to the server at a time; smaller ones cost more time
# At least CHUNK, and a prime: ranges that begin at different multiples of a power of two differ.
PERIOD = 1_048_583

CHECKSUMS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    # header: the hash, and how the header holds its base64
    "Content-MD5": ("md5", "{}".format),
    "x-goog-hash": ("md5", "md5={}".format),
    "Digest": ("sha256", "sha-256={}".format),
    "Repr-Digest": ("sha256", "sha-256=:{}:".format),
    "Content-Digest": ("sha256", "sha-256=:{}:".format),
    "x-amz-checksum-sha256": ("sha256", "{}".format),
}
OF_WHOLE_ANSWERS = frozenset({"Content-MD5", "Content-Digest", "x-amz-checksum-sha256"})
"""Headers that speak of the bytes in the answer; a part of a package comes without them."""

_Seconds = Annotated[float, Field(ge=0, le=TEN_YEARS)]
_Printable = Annotated[str, Field(pattern="^[ -~]*$")]


@dataclass(frozen=True, eq=False)
class Content:
    """Bytes of a length. ``identity`` is the same for the same bytes only.

    They are ``data`` again and again, each time its first ``period`` bytes.
    """

    data: bytes
    size: int
    identity: str
    period: int

    def chunks(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes from ``start`` up to, not including, ``end``, in parts of at most ``CHUNK``."""
        view = memoryview(self.data)
        for at in range(start, end, CHUNK):
            place = at % self.period
            yield view[place : place + min(CHUNK, end - at)]

    @lru_cache(maxsize=64)  # noqa: B019 - contents are few and live as long as the world
    def digest(self, algorithm: str) -> bytes:
        """The hash of all bytes, by the name hashlib gives it. Takes seconds where there are gigabytes."""
        result = hashlib.new(algorithm, usedforsecurity=False)
        for chunk in self.chunks(0, self.size):
            result.update(chunk)
        return result.digest()


def stored(content: bytes) -> Content:
    """These bytes."""
    return Content(content, len(content), hashlib.sha256(content).hexdigest(), max(1, len(content)))


@lru_cache(maxsize=16)
def made_up(size: int, seed: int = 0) -> Content:
    """``size`` bytes that look random, the same for the same ``seed``, only some of them kept."""
    return Content(_noise(seed), size, f"{size} bytes of {seed}", PERIOD)


@lru_cache(maxsize=4)
def _noise(seed: int) -> bytes:
    """One period, and as much of the next as the longest slice may reach into it."""
    period = random.Random(seed).randbytes(PERIOD)
    return period + period[:CHUNK]


class PackagePlan(Model):
    """How one package turns out. What isn't set is as usual: a small zip of the job's results."""

    content: bytes | None = Field(
        default=None, description="its bytes: an empty file, a broken zip, a zip of your own"
    )
    size: int | None = Field(
        default=None,
        ge=0,
        le=LARGEST,
        description="how many bytes are made up instead, gigabytes too: nothing is kept in memory. No zip.",
    )
    seed: int = Field(default=0, description="the same seed gives the same bytes")
    status: str = Field(
        default="ready",
        description="what it is once it is prepared: ``ready``, or another word (``failed``), without a URL",
    )
    seconds: _Seconds | None = Field(
        default=None,
        description="simulated seconds it takes to be prepared; with 0 the first ask finds it ready",
    )
    lifetime: _Seconds = Field(
        default=900.0,
        description="simulated seconds until a URL answers 403 (900 unless set); every ask gives another URL",
    )
    ranges: bool = Field(default=True, description="false: ``Range`` is ignored")
    etag: bool = Field(default=True, description="false: there is no ``ETag``")
    checksum: Annotated[str, one_of(CHECKSUMS)] | None = Field(
        default=None,
        description=f"the header of a checksum: {', '.join(f'``{name}``' for name in CHECKSUMS)}. A part of "
        "a package has only those that speak of all of it: ``x-goog-hash``, ``Digest``, ``Repr-Digest``.",
    )
    wrong_checksum: bool = Field(default=False, description="true: it is that of other bytes")
    filename: _Printable = Field(default="package.zip", description="what ``Content-Disposition`` says")
    content_type: _Printable = Field(default="application/zip", description="what ``Content-Type`` says")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.content is not None and self.size is not None:
            raise ValueError("content and size can't both be given")
        if self.wrong_checksum and self.checksum is None:
            raise ValueError("wrong_checksum: needs a checksum that says in which header")
        return self

    def body(self, usual: Callable[[], bytes]) -> Content:
        """The package's bytes; ``usual`` gives them where the plan says nothing."""
        if self.size is not None:
            return made_up(self.size, self.seed)
        return stored(usual()) if self.content is None else self._given

    @cached_property
    def _given(self) -> Content:
        return stored(self.content or b"")  # kept, as its hash takes a while

    def checksum_header(self, content: Content) -> dict[str, str]:
        """The header of the checksum, if there is to be one."""
        if self.checksum is None:
            return {}
        algorithm, form = CHECKSUMS[self.checksum]
        digest = content.digest(algorithm)
        if self.wrong_checksum:
            digest = bytes(byte ^ 0xFF for byte in digest)
        return {self.checksum: form(base64.b64encode(digest).decode())}


USUAL_PACKAGE = PackagePlan()
