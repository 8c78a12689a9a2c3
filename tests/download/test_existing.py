"""What lies at a place is left alone where it is the package, and fetched where that isn't certain."""

from __future__ import annotations

import base64
import hashlib
import os
import random
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pixxel_provider.download.destination import Place
from pixxel_provider.download.errors import PixxelAddressError, PixxelDownloadError
from pixxel_provider.download.existing import SAMPLE, is_present
from pixxel_provider.download.local_disk import LocalTarget
from pixxel_provider.download.object_store import StoreTarget
from pixxel_provider.download.signed_url import SignedUrl
from pixxel_provider.download.storage_client import StorageClient
from pixxel_provider.download.transfer import Received
from tests.download.hosting import Host, part_from, settings_for
from tests.loopback import Reply, reply, then_reset
from tests.support import CANARY, open_folder, without_rights

PACKAGE = random.Random(11).randbytes(3 * SAMPLE)
SHA256 = hashlib.sha256(PACKAGE).hexdigest()
MIB = 1024 * 1024


def digest(content: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hashlib.new(algorithm, content).digest()).decode()


def part(content: bytes, start: int = -SAMPLE, **headers: str) -> bytes:
    """Answer with the end of a package, as a host does that sends parts."""
    return part_from(max(0, len(content) + start) if start < 0 else start, content, **headers)


PROMISE = {"repr_digest": f"sha-256=:{digest(PACKAGE)}:"}


def changed(content: bytes, at: int) -> bytes:
    found = bytearray(content)
    found[at] ^= 1
    return bytes(found)


@pytest.fixture(params=["disk", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, memory: Any) -> Place:
    """A place at which the package lies, of each kind in turn."""
    found: Place = LocalTarget(tmp_path / "package.zip")
    if request.param == "store":
        found = StoreTarget(memory, "/bucket/package.zip", "memory://bucket/package.zip")
    put(found, PACKAGE)
    return found


@pytest.fixture
def disk(tmp_path: Path) -> LocalTarget:
    (tmp_path / "package.zip").write_bytes(PACKAGE)
    return LocalTarget(tmp_path / "package.zip")


def put(place: Place, content: bytes) -> None:
    file = place.file()
    file.begin(len(content))
    file.write(content)
    file.commit()


def present(host: Host, place: Place, *replies: Reply) -> Received | None:
    host.replies += replies
    return is_present(StorageClient(settings_for(host.origin), 5.0), host.signed, place)


# -------------------------------------------------------------------------------------------- what is left


@pytest.mark.parametrize(("promise", "checked"), [(PROMISE, ("sha256",)), ({}, ())])
def test_the_whole_package_is_left_where_its_checksum_or_else_its_length_and_end_are_the_same(
    host: Host, place: Place, promise: dict[str, str], checked: tuple[str, ...]
) -> None:
    found = present(host, place, part(PACKAGE, **promise))
    assert found == Received(len(PACKAGE), SHA256, checked)
    assert b"".join(place.parts()) == PACKAGE


def test_with_a_checksum_the_head_of_the_answer_is_enough(host: Host, disk: LocalTarget) -> None:
    broken = then_reset(part(PACKAGE, **PROMISE)[:-10])
    assert present(host, disk, broken) == Received(len(PACKAGE), SHA256, ("sha256",))


def test_every_checksum_of_the_host_is_compared_and_named(host: Host, disk: LocalTarget) -> None:
    both = f"sha-512=:{digest(PACKAGE, 'sha512')}:, md5=:{digest(PACKAGE, 'md5')}:"
    assert present(host, disk, part(PACKAGE, repr_digest=both)) == Received(
        len(PACKAGE), SHA256, ("sha512", "md5")
    )
    wrong = f"sha-512=:{digest(PACKAGE, 'sha512')}:, md5=:{digest(PACKAGE[1:], 'md5')}:"
    assert present(host, disk, part(PACKAGE, repr_digest=wrong)) is None


def test_the_checksum_of_what_lies_there_is_returned_and_not_one_of_what_should_lie_there(
    host: Host, disk: LocalTarget
) -> None:
    other = changed(PACKAGE, 0)
    disk.path.write_bytes(other)
    found = present(host, disk, part(PACKAGE))
    assert found == Received(len(PACKAGE), hashlib.sha256(other).hexdigest(), ())


@pytest.mark.parametrize(
    ("length", "wanted"),
    [
        (1, "bytes=0-0"),
        (SAMPLE - 1, f"bytes=0-{SAMPLE - 2}"),
        (SAMPLE, f"bytes=0-{SAMPLE - 1}"),
        (SAMPLE + 1, f"bytes=1-{SAMPLE}"),
        (3 * SAMPLE, f"bytes={2 * SAMPLE}-{3 * SAMPLE - 1}"),
    ],
)
def test_one_request_asks_for_the_end_of_what_lies_there_and_for_no_more(
    host: Host, disk: LocalTarget, length: int, wanted: str
) -> None:
    disk.path.write_bytes(PACKAGE[:length])
    assert present(host, disk, part(PACKAGE[:length])) is not None
    assert host.asked("range") == [wanted]
    assert host.asked("authorization") == [None]
    assert CANARY not in host.heads[0]


# ------------------------------------------------------------------------------------ what is fetched anew


@pytest.mark.parametrize("what", ["nothing", "an empty file", "a folder"])
def test_where_nothing_lies_nobody_is_asked(host: Host, tmp_path: Path, what: str) -> None:
    path = tmp_path / "package.zip"
    if what == "an empty file":
        path.touch()
    elif what == "a folder":
        path.mkdir()
    assert present(host, LocalTarget(path)) is None
    assert host.connections == 0


@pytest.mark.parametrize("at", [0, len(PACKAGE) // 2, len(PACKAGE) - 1])
@pytest.mark.parametrize("algorithm", ["sha-512", "sha-256", "md5"])
def test_other_bytes_of_the_same_length_are_found_by_a_checksum_wherever_they_are(
    host: Host, place: Place, at: int, algorithm: str
) -> None:
    put(place, changed(PACKAGE, at))
    sum_of = digest(PACKAGE, algorithm.replace("-", ""))
    assert present(host, place, part(PACKAGE, repr_digest=f"{algorithm}=:{sum_of}:")) is None


@pytest.mark.parametrize("at", [2 * SAMPLE, 2 * SAMPLE + 1, len(PACKAGE) - 1])
def test_other_bytes_in_the_sample_are_found_without_a_checksum(host: Host, place: Place, at: int) -> None:
    put(place, changed(PACKAGE, at))
    assert present(host, place, part(PACKAGE)) is None


@pytest.mark.parametrize("more", [1, 1000])
@pytest.mark.parametrize("checksum", [True, False])
def test_another_length_is_fetched_whatever_its_bytes_are(
    host: Host, disk: LocalTarget, more: int, checksum: bool
) -> None:
    headers = PROMISE if checksum else {}
    longer = PACKAGE + PACKAGE[:more]
    span = f"bytes {2 * SAMPLE}-{3 * SAMPLE - 1}/{len(longer)}"
    body = PACKAGE[2 * SAMPLE :]
    assert present(host, disk, reply("206 Partial Content", body, content_range=span, **headers)) is None


@pytest.mark.parametrize(
    "answer",
    [
        reply("416 Range Not Satisfiable", content_range="bytes */7"),
        reply("400 Bad Request"),
        reply("403 Forbidden"),
        reply("404 Not Found"),
        reply("410 Gone"),
        reply("429 Too Many Requests", retry_after="9"),
        reply("500 Internal Server Error"),
        reply("503 Service Unavailable"),
        reply("206 Partial Content", b"x"),
        reply("206 Partial Content", b"x", content_range="bytes 0-0/*"),
        reply("206 Partial Content", content_range=f"bytes 0-{len(PACKAGE) - 1}/{len(PACKAGE)}"),
        reply("200 OK", b"5\r\nabcde\r\n0\r\n\r\n", transfer_encoding="chunked"),
        reply("200 OK", PACKAGE, content_length=""),
        b"",
        b"no HTTP at all\r\n\r\n",
    ],
    ids=lambda answer: answer.partition(b"\r")[0].decode(),
)
def test_a_host_that_doesnt_say_it_now_is_left_to_the_transfer(
    host: Host, disk: LocalTarget, answer: bytes
) -> None:
    assert present(host, disk, answer) is None
    assert host.connections == 1


@pytest.mark.parametrize("kept", [0, 10, SAMPLE - 1])
def test_a_sample_that_breaks_off_proves_nothing(host: Host, disk: LocalTarget, kept: int) -> None:
    whole = part(PACKAGE)
    assert present(host, disk, then_reset(whole[: len(whole) - SAMPLE + kept])) is None


# -------------------------------------------------------------------------------- hosts that send no parts


@pytest.mark.parametrize("last", [2 * SAMPLE, 3 * SAMPLE - 1], ids=["honest", "closed early"])
def test_a_host_that_sends_less_than_a_sample_proves_nothing(
    host: Host, disk: LocalTarget, last: int
) -> None:
    one = PACKAGE[2 * SAMPLE : 2 * SAMPLE + 1]
    span = f"bytes {2 * SAMPLE}-{last}/{len(PACKAGE)}"
    host.replies = [reply("206 Partial Content", one, content_range=span, content_length="")]
    put(disk, PACKAGE[: 2 * SAMPLE + 1] + bytes(SAMPLE - 1))
    assert present(host, disk) is None


@pytest.mark.parametrize("at", [None, 0, len(PACKAGE) - 1])
def test_a_whole_that_comes_instead_of_its_end_proves_nothing(
    host: Host, place: Place, at: int | None
) -> None:
    put(place, PACKAGE if at is None else changed(PACKAGE, at))
    assert present(host, place, reply(body=PACKAGE)) is None


@pytest.mark.parametrize("start", [0, 7, 2 * SAMPLE - 1, 2 * SAMPLE + 1])
def test_another_part_than_the_end_proves_nothing(host: Host, disk: LocalTarget, start: int) -> None:
    assert present(host, disk, part(PACKAGE, start=start)) is None


@pytest.mark.parametrize("length", [1, SAMPLE])
def test_a_whole_that_is_no_longer_than_a_sample_is_compared(host: Host, place: Place, length: int) -> None:
    put(place, PACKAGE[:length])
    found = present(host, place, reply(body=PACKAGE[:length]))
    assert found == Received(length, hashlib.sha256(PACKAGE[:length]).hexdigest(), ())
    put(place, changed(PACKAGE[:length], length - 1))
    assert present(host, place, reply(body=PACKAGE[:length])) is None


def test_a_checksum_comes_with_the_whole_too(host: Host, disk: LocalTarget) -> None:
    answer = reply(body=PACKAGE, content_md5=digest(PACKAGE, "md5"))
    assert present(host, disk, answer) == Received(len(PACKAGE), SHA256, ("md5",))
    disk.path.write_bytes(changed(PACKAGE, len(PACKAGE) - 1))
    assert present(host, disk, answer) is None


@pytest.mark.parametrize("checksum", [True, False])
def test_a_host_that_sends_the_whole_isnt_listened_to_until_its_end(
    host: Host, tmp_path: Path, checksum: bool
) -> None:
    length = 64 * MIB
    path = tmp_path / "package.zip"
    path.touch()
    os.truncate(path, length)
    sum_of = digest(bytes(length)) if checksum else ""

    head = reply(content_length=str(length), digest=f"sha-256={sum_of}" if checksum else "")
    found = present(host, LocalTarget(path), [head, *[bytes(MIB // 4)] * 256])
    assert (found and (found.bytes, found.checked)) == ((length, ("sha256",)) if checksum else None)
    host.settle(10)
    assert host.sent < length // 2


# ---------------------------------------------------------------------------------------- what is an error


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply("204 No Content"), "HTTP 204"),
        (reply("304 Not Modified"), "HTTP 304"),
        (part(PACKAGE, content_encoding="gzip"), "encoded as 'gzip'"),
    ],
)
def test_an_answer_that_no_transfer_could_use_is_an_error_at_once(
    host: Host, disk: LocalTarget, answer: bytes, words: str
) -> None:
    with pytest.raises(PixxelDownloadError, match=words):
        present(host, disk, answer)
    assert disk.path.read_bytes() == PACKAGE


def test_an_address_that_isnt_asked_is_an_error_and_isnt_asked(host: Host, disk: LocalTarget) -> None:
    storage = StorageClient(settings_for("https://8.8.8.8"), 5.0)
    with pytest.raises(PixxelAddressError, match="this machine"):
        is_present(storage, SignedUrl(host.url.replace("http://", "https://")), disk)
    assert host.connections == 0


class Closed(MemoryFileSystem):
    """A store that says how long an object is, and gives it to nobody."""

    protocol = "closed"
    cachable = False
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    gives = 0

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb" or self.gives > 0:
            self.gives -= mode == "rb"
            return super().open(path, mode, **options)
        raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("gives", [0, 1])
@pytest.mark.parametrize("checksum", [True, False])
def test_what_a_store_lets_nobody_read_is_fetched(host: Host, gives: int, checksum: bool) -> None:
    fs = Closed()
    fs.store.clear()
    fs.pipe_file("/b/package.zip", PACKAGE)
    # Without a checksum it is read twice: for the sample and for its sum.
    fs.gives = gives if not checksum else 0
    place = StoreTarget(fs, "/b/package.zip", "closed://b/package.zip")
    headers = PROMISE if checksum else {}
    assert present(host, place, part(PACKAGE, **headers)) is None


def test_what_a_store_lets_nobody_see_is_fetched_and_nobody_is_asked(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError("Forbidden")

    fs = Closed()
    monkeypatch.setattr(fs, "info", refuse)
    assert present(host, StoreTarget(fs, "/b/package.zip", "closed://b/package.zip")) is None
    assert host.connections == 0


def test_a_file_without_rights_is_an_error_that_names_it(host: Host) -> None:
    with open_folder() as folder:
        place = LocalTarget(folder / "package.zip")
        place.path.write_bytes(PACKAGE)
        assert present(host, place, part(PACKAGE)) is not None
        place.path.chmod(0)
        words = r"package\.zip can't be read: Permission denied"
        with without_rights(), pytest.raises(PixxelDownloadError, match=words):
            present(host, place, part(PACKAGE))


def test_a_page_that_lies_there_isnt_the_package(host: Host, place: Place) -> None:
    page = b"<html><title>This link has expired</title></html>"
    put(place, page)
    assert present(host, place, reply(body=page, content_type="text/html")) is None
