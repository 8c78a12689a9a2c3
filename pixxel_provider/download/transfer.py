"""The bytes of a package, from a signed URL into a sink: resumed if possible, never mixed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pixxel_provider.api import retry
from pixxel_provider.api.errors import PixxelConnectionError, PixxelError
from pixxel_provider.api.messages import Log
from pixxel_provider.clock import CLOCK, Clock
from pixxel_provider.download.checksums import Checksums, differing
from pixxel_provider.download.errors import PixxelDownloadError, PixxelExpiredError, PixxelTransferError
from pixxel_provider.download.progress import Progress, size
from pixxel_provider.download.response import BEGINNING, PackageResponse, check_content, read_response
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_client import PACKAGE, Answer, StorageClient

#: Seconds without a new byte after which a transfer fails.
RETRY_FOR = 300.0
#: The longest delay, in seconds, after a broken connection that had delivered new bytes.
_AFTER_PROGRESS = 1.0


class Sink(Protocol):
    """Where the bytes are written."""

    def begin(self, length: int | None) -> None:
        """Drop all received bytes, and prepare for a package of this length."""

    def write(self, part: memoryview) -> None:
        """Write the next part, whose buffer is reused afterwards."""


@dataclass(frozen=True)
class Received:
    """A package that was received completely."""

    bytes: int
    sha256: str
    checked: tuple[str, ...]
    """The checksums of the storage host that it was compared with."""


@dataclass
class Transfer:
    """One transfer of a package.

    A broken connection is resumed if the host supports that safely, otherwise the transfer starts again.
    An expired URL is replaced. The limits are times, not counts: while new bytes arrive it continues.

    :param renew: requests another signed URL from the API.
    :param log: where it is logged.
    :param stall_timeout: seconds without a new byte after which the transfer fails.
    :param max_bytes: the largest package that is accepted.
    :param name: the destination. A page or a document is only accepted if this ends like its name.
    """

    storage: StorageClient
    sink: Sink
    renew: Callable[[], str]
    log: Log
    stall_timeout: float = RETRY_FOR
    max_bytes: int | None = None
    name: str = ""
    clock: Clock = CLOCK
    _digests: Checksums = field(default_factory=Checksums, init=False, repr=False)
    _url: SignedUrl | None = field(default=None, init=False, repr=False)
    _begun: PackageResponse | None = field(default=None, init=False)
    _at: int = field(default=0, init=False)
    _furthest: int = field(default=0, init=False)

    def run(self, url: SignedUrl) -> Received:
        """Download the package.

        :raises PixxelDownloadError: it is incomplete, differs from its checksum, is empty or too large.
        :raises PixxelError: the API refuses another signed URL.
        """
        self._url = url
        self._progress = Progress(self.log, self.clock)
        with self._digests:
            try:
                while not self._stretch():
                    self.clock.sleep(random.random() * _AFTER_PROGRESS)
            except PixxelError as error:
                if not error.transient:
                    raise
                # A message of its own: the host was retried for minutes.
                raise self._given_up(error) from None
            return self._received()

    def _stretch(self) -> bool:
        """Try until the package is complete (True), or the connection broke after new bytes (False)."""
        from tenacity import Retrying

        policy = retry.policy(PACKAGE, self.stall_timeout)
        return bool(Retrying(sleep=self.clock.sleep, **policy)(self._attempt))

    def _attempt(self) -> bool:
        if self._url is None:
            self._url = SignedUrl(self.renew())
        before = self._furthest
        try:
            with self.storage.get(self._url, self._headers()) as answer:
                self._open(answer)
                self._take(answer)
            return True
        except PixxelExpiredError as error:
            self._url = None
            self.log.warning(f"{error} Requesting another one.")
            raise
        except PixxelError as error:
            if not error.transient:
                raise
            self.log.warning(f"{error} {size(self._at)} were received; resuming.")
            if self._furthest > before:
                return False
            raise

    def _headers(self) -> dict[str, str]:
        if not self._at or not self._resumable() or self._begun is None:
            return {}
        headers = {"Range": f"bytes={self._at}-"}
        if self._begun.validator is not None:
            headers["If-Range"] = self._begun.validator
        return headers

    def _resumable(self) -> bool:
        # Without it, the rest of another package of the same length couldn't be distinguished.
        return self._begun is not None and bool(self._begun.validator or self._begun.promised)

    def _open(self, answer: Answer) -> None:
        """Decide whether an answer is the missing rest, or a beginning."""
        if answer.status == 416:
            self._forget()
        response = read_response(answer.status, answer.headers)
        if response.start == 0:
            # Before earlier bytes are dropped for it.
            check_content(answer.headers, answer.start(BEGINNING), self.name)
            self._begin(response)
        elif (
            self._begun is None
            or response.start != self._at
            or not (self._resumable() and response.continues(self._begun))
        ):
            self._forget()
            raise PixxelTransferError("The package has changed, or another part came than was requested.")

    def _begin(self, response: PackageResponse) -> None:
        if response.total == 0:
            raise PixxelDownloadError("The package is empty: it has 0 bytes.")
        self._check_size(response.total or 0)
        if self._furthest:
            self.log.info("The storage host sends the package from its beginning.")
        self._forget()
        self._begun = response
        self.sink.begin(response.total)
        self._digests.start(response.promised)
        self._progress.begin(response.total)

    def _forget(self) -> None:
        self._at, self._begun = 0, None

    def _check_size(self, length: int) -> None:
        if self.max_bytes is not None and length > self.max_bytes:
            raise PixxelDownloadError(
                f"The package has {size(length)} or more, and max_bytes is {size(self.max_bytes)}."
            )

    def _take(self, answer: Answer) -> None:
        total = self._begun.total if self._begun else None
        while count := answer.readinto(buffer := self._digests.buffer()):
            self._check_size(self._at + count)
            self.sink.write(buffer[:count])
            self._digests.add(buffer[:count])
            self._at += count
            self._furthest = max(self._furthest, self._at)
            self._progress.at(self._at)
        if total is None or self._at == total:
            return
        if self._at > total:
            self._forget()
            raise PixxelTransferError("The storage host sends more than it announced.")
        raise PixxelConnectionError(
            "The connection to the storage host ended before the package did.", reason="dropped"
        )

    def _received(self) -> Received:
        if not self._at:
            raise PixxelDownloadError("The package is empty: it has 0 bytes.")
        came = self._digests.finish()
        expected = self._begun.promised if self._begun else {}
        if wrong := differing(came, expected):
            raise PixxelDownloadError(
                f"The package isn't what the storage host promised: its {' and '.join(wrong)} differs."
            )
        self._progress.done(self._at)
        return Received(self._at, came["sha256"].hex(), tuple(expected))

    def _given_up(self, error: PixxelError) -> PixxelDownloadError:
        total = self._begun.total if self._begun else None
        of = f" of {size(total)}" if total else ""
        return PixxelDownloadError(
            f"The transfer stalled: no new byte for {self.stall_timeout:g} s, after "
            f"{size(self._furthest)}{of}. At last: {error}"
        )
