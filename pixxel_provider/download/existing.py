"""Whether what lies at a place is the package already, found out without fetching it."""

from __future__ import annotations

from pixxel_provider.api.errors import PixxelError
from pixxel_provider.download.checksums import Checksums, differing
from pixxel_provider.download.destination import Place
from pixxel_provider.download.object_store import UNKNOWN, UnreadableError
from pixxel_provider.download.response import BEGINNING, PackageResponse, check_content, read_response
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_client import Answer, StorageClient
from pixxel_provider.download.transfer import Received

#: Bytes that are compared where the host gives no checksum: the end of a zip holds those of all members.
SAMPLE = 64 * 1024


def is_present(storage: StorageClient, url: str | SignedUrl, place: Place) -> Received | None:
    """Return what lies at a place where that is the whole package, and None where it has to be fetched.

    The length has to be the same, and the checksum where the host gives one. Without one, the end is.
    What may be written and not read is fetched.
    """
    length = place.size()
    if not length or length == UNKNOWN:
        return None
    try:
        return _compared_whole(storage, url, place, length)
    except UnreadableError:
        return None


def _compared_whole(
    storage: StorageClient, url: str | SignedUrl, place: Place, length: int
) -> Received | None:
    delivery = _compared(storage, url, place, length)
    if delivery is None:
        return None
    with Checksums() as digests:
        digests.start(delivery.promised)
        for part in place.parts():
            digests.add(part)
        came = digests.finish()
    if differing(came, delivery.promised):
        return None
    return Received(length, came["sha256"].hex(), tuple(delivery.promised))


def _compared(
    storage: StorageClient, url: str | SignedUrl, place: Place, length: int
) -> PackageResponse | None:
    # The end of what is here: a host that sends parts sends no more than that.
    start = max(0, length - SAMPLE)
    headers = {"Range": f"bytes={start}-{length - 1}"}
    try:
        with storage.get(url, headers) as answer:
            delivery = read_response(answer.status, answer.headers)
            if delivery.total != length:
                return None
            if delivery.promised:
                return delivery
            # From another byte on it isn't the end, and packages may begin alike for long.
            if delivery.start != start:
                return None
            sample = _sample(answer)
            if start == 0:
                # An earlier version may have taken a page for the package, and the host may still send that.
                check_content(answer.headers, sample[:BEGINNING], str(place))
            return delivery if _same(sample, place, start, length) else None
    except PixxelError as error:
        # The transfer will meet the same trouble, and knows what to do.
        if not error.transient:
            raise
        return None


def _sample(answer: Answer) -> bytes:
    buffer, count = memoryview(bytearray(SAMPLE)), 0
    # To its end: one that breaks off is told only after what had come.
    while count < SAMPLE and (more := answer.readinto(buffer[count:])):
        count += more
    return bytes(buffer[:count])


def _same(sample: bytes, place: Place, start: int, length: int) -> bool:
    # A host may send less than was asked for: too little to tell one package from another.
    if len(sample) < min(SAMPLE, length):
        return False
    found = b""
    for part in place.parts(start):
        found += part
        if len(found) >= len(sample):
            break
    return found[: len(sample)] == sample
