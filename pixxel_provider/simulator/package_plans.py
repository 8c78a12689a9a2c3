"""How a download package turns out: its content, how it is prepared, and how it is served."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pixxel_provider.simulator.clock import TEN_YEARS
from pixxel_provider.simulator.content import Content, Given, MadeUp

LIFETIME_SECONDS = 900.0
LARGEST = 1 << 50  # bytes

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


@dataclass(frozen=True)
class PackagePlan:
    """How one package turns out. What isn't set is as usual: a small zip of the job's results.

    ``content`` are its bytes, or ``size`` how many are made up (no zip then); another ``seed`` gives other
    bytes. ``seconds`` (simulated) is how long it is prepared, 0 lets the first ask find it ready;
    ``status`` what it is then: ``ready`` gives a URL, any other word (``failed``) none. The URL holds for
    ``lifetime`` simulated seconds. Without ``ranges`` every answer is the whole package, without ``etag`` it
    can't be told from another. ``checksum`` is one of the headers of ``CHECKSUMS``; ``wrong_checksum`` makes
    it that of other bytes.
    """

    content: bytes | None = None
    size: int | None = None
    seed: int = 0
    status: str = "ready"
    seconds: float | None = None
    lifetime: float = LIFETIME_SECONDS
    ranges: bool = True
    etag: bool = True
    checksum: str | None = None
    wrong_checksum: bool = False
    filename: str = "package.zip"
    content_type: str = "application/zip"

    def __post_init__(self) -> None:
        if self.content is not None and self.size is not None:
            raise ValueError("content and size can't both be given")
        if self.content is not None and not isinstance(self.content, bytes):
            raise ValueError(f"content: must be bytes, not {type(self.content).__name__}")
        if self.size is not None and not 0 <= self.size <= LARGEST:
            raise ValueError(f"size: must be from 0 to {LARGEST} bytes, not {self.size!r}")
        for name, seconds in (("seconds", self.seconds), ("lifetime", self.lifetime)):
            if seconds is not None and not 0 <= seconds <= TEN_YEARS:
                raise ValueError(f"{name}: must be from 0 to {TEN_YEARS:.0f} seconds, not {seconds!r}")
        if self.checksum is not None and self.checksum not in CHECKSUMS:
            raise ValueError(f"checksum: {self.checksum!r} is not one of {', '.join(CHECKSUMS)}")
        if self.wrong_checksum and self.checksum is None:
            raise ValueError("wrong_checksum: needs a checksum that says in which header")
        for name in ("filename", "content_type"):
            text = getattr(self, name)
            if not (text.isprintable() and text.isascii()):
                raise ValueError(f"{name}: must be printable ASCII, not {text!r}")

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> PackagePlan:
        """A plan from its JSON form, where ``content`` is base64. Raises ValueError."""
        arguments = dict(fields)
        if "content" in arguments:
            try:
                arguments["content"] = base64.b64decode(arguments["content"], validate=True)
            except ValueError as error:
                raise ValueError(f"content: is not base64: {error}") from None
        return cls(**arguments)

    def body(self, usual: Callable[[], bytes]) -> Content:
        """The package's bytes; ``usual`` gives them where the plan says nothing."""
        if self.size is not None:
            return MadeUp(self.size, self.seed)
        return Given(usual()) if self.content is None else self._given

    @cached_property
    def _given(self) -> Given:
        return Given(self.content or b"")  # kept, as its hash takes a while

    def checksum_header(self, content: Content) -> tuple[str, str] | None:
        """Name and value of the checksum's header, None if there is to be none."""
        if self.checksum is None:
            return None
        algorithm, form = CHECKSUMS[self.checksum]
        digest = content.digest(algorithm)
        if self.wrong_checksum:
            digest = bytes(byte ^ 0xFF for byte in digest)
        return self.checksum, form(base64.b64encode(digest).decode())


class PackagePlans:
    """Which plan holds for which package."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str | None, str | None], PackagePlan] = {}

    def put(self, plan: PackagePlan, job_id: str | None, task_id: str | None) -> None:
        """Set the plan of a task, of a whole job, or of all. Raises ValueError for a task without its job."""
        if job_id is None and task_id is not None:
            raise ValueError("task_id: needs the job_id of its job")
        self._plans[job_id, task_id] = plan

    def of(self, job_id: str, task_id: str | None) -> PackagePlan:
        """The plan of this task or job, else of its whole job, else of all; else one that says nothing."""
        for key in ((job_id, task_id), (job_id, None), (None, None)):
            if key in self._plans:
                return self._plans[key]
        return _USUAL


_USUAL = PackagePlan()
