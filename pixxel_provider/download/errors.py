"""The errors between a signed URL and the destination of a package.

None of these contains a signed URL, or is chained to an exception that does: the URL gives access.
"""

from __future__ import annotations

from typing import Any

from pixxel_provider.api.errors import PixxelError


class PixxelDownloadError(PixxelError):
    """A package couldn't be downloaded or written; the message names any changes that were made."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)


class PixxelAddressError(PixxelDownloadError):
    """A signed URL has an address that must not be followed."""


class PixxelArchiveError(PixxelDownloadError):
    """A package can't be unpacked, or not safely."""


class PixxelTransferError(PixxelDownloadError):
    """The storage host didn't deliver, and may do so later.

    :param retry_after: the host's Retry-After in seconds.
    """

    transient = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self._retry_after = retry_after

    @property
    def retry_after(self) -> float | None:
        return self._retry_after


class PixxelExpiredError(PixxelTransferError):
    """The storage host rejected a signed URL: it has usually expired, and another one helps."""
