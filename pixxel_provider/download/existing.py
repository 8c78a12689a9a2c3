"""Whether the package is already at its destination, without downloading it."""

from __future__ import annotations

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.download.checksums import Checksums, differing
from pixxel_provider.download.destination import Place
from pixxel_provider.download.object_store import UNKNOWN, UnreadableError
from pixxel_provider.download.response import BEGINNING, PackageResponse, check_content, read_response
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_client import StorageClient
from pixxel_provider.download.transfer import Received

#: Bytes that are compared if the host sends no checksum: the end of a zip has those of all members.
SAMPLE = 64 * 1024


def is_present(storage: StorageClient, url: SignedUrl, place: Place) -> Received | None:
    """Return what is at a place if it is the whole package, and None if it has to be downloaded.

    The length has to be the same, and the checksum if the host sends one. Without one, the end has to be.
    An object that may be written but not read is downloaded again.
    """
    length = place.size()
    if not length or length == UNKNOWN:
        return None
    try:
        delivery = _compared(storage, url, place, length)
        if delivery is None:
            return None
        with Checksums() as digests:
            digests.start(delivery.promised)
            for part in place.parts():
                digests.add(part)
            came = digests.finish()
    except UnreadableError:
        return None
    if differing(came, delivery.promised):
        return None
    return Received(length, came["sha256"].hex(), tuple(delivery.promised))


def _compared(storage: StorageClient, url: SignedUrl, place: Place, length: int) -> PackageResponse | None:
    # The end of the local file: a host that supports ranges sends no more than that.
    start = max(0, length - SAMPLE)
    headers = {"Range": f"bytes={start}-{length - 1}"}
    try:
        with storage.get(url, headers) as answer:
            delivery = read_response(answer.status, answer.headers)
            if delivery.total != length:
                return None
            if delivery.promised:
                return delivery
            # From another byte on it isn't the end, and packages may have the same beginning.
            if delivery.start != start:
                return None
            sample = answer.start(SAMPLE)
            if start == 0:
                # An earlier version may have stored a page as the package, and the host may still send it.
                check_content(answer.headers, sample[:BEGINNING], str(place))
            return delivery if _same(sample, place, start, length) else None
    except PixxelError as error:
        # The transfer will have the same error, and handles it.
        if not error.transient:
            raise
        return None


def _same(sample: bytes, place: Place, start: int, length: int) -> bool:
    # A host may send less than requested: too little to distinguish two packages.
    if len(sample) < min(SAMPLE, length):
        return False
    content = b""
    for part in place.parts(start):
        content += part
        if len(content) >= len(sample):
            break
    return content[: len(sample)] == sample
