"""What can go wrong between a signed URL and the place where a package should lie.

None of these holds a signed URL, or is chained to an exception that does: whoever has one has the package.
"""

from __future__ import annotations

from typing import Any

from pixxel_provider.api.errors import PixxelError


class PixxelDownloadError(PixxelError):
    """A package couldn't be fetched, or couldn't be written; if that has changed anything, it says so."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


class PixxelAddressError(PixxelDownloadError):
    """A signed URL leads where it must not be followed."""


class PixxelArchiveError(PixxelDownloadError):
    """A package can't be unpacked, or not safely."""


class PixxelTransferError(PixxelDownloadError):
    """The storage host didn't deliver, and may do so later.

    :param retry_after: seconds the host asked to be left alone.
    """

    transient = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self._retry_after = retry_after

    @property
    def retry_after(self) -> float | None:
        return self._retry_after


class PixxelExpiredError(PixxelTransferError):
    """The storage host turned a signed URL away: most often it has expired, and another one helps."""
