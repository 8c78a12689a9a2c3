"""What a storage host's answer means for the package: which part it is, of what length, of which version.

And whether it is the package at all, or a page or document in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus

from pixxel_provider.api.retry import read_retry_after
from pixxel_provider.download.checksums import promised
from pixxel_provider.download.errors import PixxelDownloadError, PixxelExpiredError, PixxelTransferError

# No length has more digits, and Python refuses to parse thousands of them.
_RANGE = re.compile(r"bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,19}")
# Encodings without effect: remains of an upload, or names that compress nothing.
_UNCHANGED = frozenset(
    ["", *"identity none null plain binary raw 7bit 8bit utf-8 chunked aws-chunked".split()]
)
#: Bytes of a package's beginning that :func:`check_content` needs: pages may begin with blank lines.
BEGINNING = 4096
# A document's name in messages, the beginning of its text, its type, and the file extensions meant for it.
_DOCUMENTS = (
    (
        "a page",
        r"<(!doctype\s+html|html|head|body|title|script|meta)\b",
        r"\S+/(xhtml\+xml|html)",
        r"x?html?",
    ),
    (
        "a JSON document",
        r"\{\s*[\"}]|\[\s*([\[\]{\"]|-?[0-9]|(true|false|null)\b)",
        r"\S+/\S*json\S*",
        r"\w*json\w*",
    ),
    ("an XML document", r"<[!?a-z]", r"\S+/(\S+[+.-])?xml", r"xml|gml|kml|gpx|svg|vrt|qml|sld|xsd|xhtml"),
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\f\r\x1b"))
# Status codes of storage hosts if a signature has expired, or its object is gone.
_TURNED_AWAY = frozenset({400, 401, 403, 404, 410})
_FOR_NOW = frozenset({408, 416, 421, 425, 429})


@dataclass(frozen=True)
class PackageResponse:
    """A part of a package, up to its end."""

    start: int
    """The first byte's position in the package."""
    total: int | None
    """The package's length in bytes; None if the host doesn't send it before the end."""
    etag: str
    modified: str
    promised: Mapping[str, bytes]
    """Checksums of the whole package, by algorithm."""

    @property
    def validator(self) -> str | None:
        """The validator for a request for the rest: an ETag that is exact to the byte."""
        return self.etag if self.etag and not self.etag.startswith("W/") else None

    def continues(self, other: PackageResponse) -> bool:
        """Return whether this is of the same package as another response, as far as both show."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified))
        return self.total == other.total is not None and all(a == b for a, b in pairs if a and b)


def read_response(status: int, headers: Mapping[str, str]) -> PackageResponse:
    """Read the head of an answer.

    :param headers: with case-insensitive keys.
    :raises PixxelExpiredError: the host rejected the request; another signed URL may help.
    :raises PixxelTransferError: the host can't deliver now.
    :raises PixxelDownloadError: the answer isn't one that can be used.
    """
    if status not in (200, 206):
        raise _refusal(status, headers)
    transfer = headers.get("transfer-encoding", "").lower()
    codings = (word.strip().lower() for word in headers.get("content-encoding", "").split(","))
    changed = [word for word in codings if word not in _UNCHANGED]
    # http.client only knows exactly this word for chunks, and otherwise leaves their lengths in the body.
    changed += [] if transfer in ("", "chunked", "identity") else [transfer]
    if changed:
        # Its length and checksums would be those of another form of the package.
        raise PixxelDownloadError(
            f"The storage host sends the package encoded as {', '.join(changed)[:40]!r}, unasked."
        )
    start, total = (0, _length(headers)) if status == 200 else _range(headers)
    if total is None and transfer != "chunked":
        # It may have been cut off in its head, so it is requested again.
        raise PixxelTransferError(
            "The storage host doesn't send the length of the package, so it can't be seen to be complete."
        )
    return PackageResponse(
        start=start,
        total=total,
        etag=headers.get("etag", "").strip(),
        modified=headers.get("last-modified", "").strip(),
        promised=promised(headers, whole=status == 200),
    )


def check_content(headers: Mapping[str, str], beginning: bytes, name: str) -> None:
    """Check that an answer isn't a page or a document, such as a proxy's, or one about an expired URL.

    A package is a zip, or another file that isn't text. A document is only accepted if the name of
    its destination ends like one.

    :param beginning: the first bytes of the body.
    :param name: the destination, such as ``/data/fields.geojson``.
    :raises PixxelExpiredError: it is; another signed URL may help.
    """
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = beginning[: len(beginning) // 2 * 2].decode("utf-16", "replace")
    elif beginning.translate(None, _CONTROL) != beginning:
        return
    else:
        text = beginning.decode("utf-8", "replace")
    text = re.sub(r"^(\ufeff|\s|<!--.*?-->)+", "", text, flags=re.DOTALL)
    kind = headers.get("content-type", "").partition(";")[0].strip()
    by_text = [each for each in _DOCUMENTS if re.match(each[1], text, re.IGNORECASE)]
    by_type = [each for each in _DOCUMENTS if re.fullmatch(each[2], kind, re.IGNORECASE)]
    for what, _, _, endings in (by_text or by_type)[:1]:
        if not re.fullmatch(endings, name.rpartition(".")[2], re.IGNORECASE):
            raise PixxelExpiredError(f"The storage host answered with {what}, and not with the package.")


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "").strip()
    return int(text) if _LENGTH.fullmatch(text) else None


def _range(headers: Mapping[str, str]) -> tuple[int, int | None]:
    match = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        raise PixxelTransferError("The storage host sends a part of the package and doesn't say which.")
    start, end, total = match.groups()
    if total == "*" or not int(start) <= int(end) < int(total):
        raise PixxelTransferError("The storage host sends a part of a package of unclear length.")
    return int(start), int(total)


def _refusal(status: int, headers: Mapping[str, str]) -> PixxelDownloadError:
    try:
        phrase = f" ({HTTPStatus(status).phrase})"
    except ValueError:
        phrase = ""
    words = f"The storage host answered HTTP {status}{phrase}"
    if status in _TURNED_AWAY:
        return PixxelExpiredError(f"{words}: the signed URL has expired, or isn't accepted.")
    if status in _FOR_NOW or status >= 500:
        now = datetime.now(timezone.utc)
        asked = read_retry_after(headers.get("retry-after"), now, headers.get("date"))
        return PixxelTransferError(f"{words}.", asked)
    return PixxelDownloadError(f"{words}, which is no answer to a request for a file.")
