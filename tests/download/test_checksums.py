"""Checksums are taken from every header that is well-formed, and worked out over exactly what came."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from pixxel_provider.download.checksums import DEPTH, MAKERS, Checksums, differing, promised

DATA = b"the bytes of a package"


def b64(algorithm: str, data: bytes = DATA) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


def read(headers: dict[str, str], *, whole: bool = True) -> dict[str, bytes]:
    return promised(CaseInsensitiveDict(headers), whole=whole)


def of(*algorithms: str) -> dict[str, bytes]:
    return {name: hashlib.new(name, DATA).digest() for name in algorithms}


# ------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("header", "value", "algorithm"),
    [
        ("Digest", f"sha-256={b64('sha256')}", "sha256"),
        ("Digest", f"SHA-256={b64('sha256')}", "sha256"),
        ("Digest", f"SHA-512={b64('sha512')}", "sha512"),
        ("Digest", f"SHA={b64('sha1')}", "sha1"),
        ("Digest", f"MD5={b64('md5')}", "md5"),
        ("Repr-Digest", f"sha-256=:{b64('sha256')}:", "sha256"),
        ("Repr-Digest", f"sha-512=:{b64('sha512')}:", "sha512"),
        ("x-goog-hash", f"md5={b64('md5')}", "md5"),
        ("X-GOOG-HASH", f"crc32c=n03x6A==,md5={b64('md5')}", "md5"),
        ("x-ms-blob-content-md5", b64("md5"), "md5"),
        ("Content-Digest", f"sha-256=:{b64('sha256')}:", "sha256"),
        ("Content-MD5", b64("md5"), "md5"),
        ("x-amz-checksum-sha256", b64("sha256"), "sha256"),
    ],
)
def test_each_kind_of_header_is_read(header: str, value: str, algorithm: str) -> None:
    assert read({header: value}) == of(algorithm)


@pytest.mark.parametrize("header", ["Content-Digest", "Content-MD5", "x-amz-checksum-sha256"])
def test_a_header_about_a_part_promises_nothing_of_the_whole(header: str) -> None:
    value = {"Content-Digest": f"sha-256=:{b64('sha256')}:", "Content-MD5": b64("md5")}
    assert read({header: value.get(header, b64("sha256"))}, whole=False) == {}


@pytest.mark.parametrize("header", ["Digest", "Repr-Digest", "x-goog-hash", "x-ms-blob-content-md5"])
def test_a_header_about_the_whole_holds_in_the_answer_with_a_part(header: str) -> None:
    value = b64("md5") if header.startswith("x-ms") else f"md5={b64('md5')}"
    assert read({header: value}, whole=False) == of("md5")


def test_several_checksums_in_one_header_and_in_several_are_all_read() -> None:
    headers = {
        "Digest": f" md5={b64('md5')} ,\tsha-256={b64('sha256')}, unixsum=30637",
        "Repr-Digest": f"sha-512=:{b64('sha512')}:",
        "x-goog-hash": "crc32c=n03x6A==",
    }
    assert read(headers) == of("md5", "sha256", "sha512")


def test_of_two_checksums_of_a_kind_the_one_about_the_whole_package_holds() -> None:
    headers = {"Content-MD5": b64("md5", b"else"), "x-goog-hash": f"md5={b64('md5')}"}
    assert read(headers) == of("md5")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Digest", ""),
        ("Digest", ","),
        ("Digest", "sha-256"),
        ("Digest", "sha-256="),
        ("Digest", "=abc"),
        ("Digest", "sha-256=::"),
        ("Digest", f"sha-256={b64('md5')}"),
        ("Digest", f"sha-256={b64('sha256')[:-2]}"),
        ("Digest", f"sha-256={hashlib.sha256(DATA).hexdigest()}"),
        ("Digest", "sha-256=####"),
        ("Digest", "sha-256=é"),
        ("Digest", f"crc32c={b64('md5')}"),
        ("Digest", f"sha-3={b64('sha256')}"),
        ("Content-MD5", hashlib.md5(DATA, usedforsecurity=False).hexdigest()),
        ("Content-MD5", "not base64 at all"),
        ("Content-MD5", b64("sha256")),
        ("x-ms-blob-content-md5", "\ud800"),
        # What S3 says of an object that came there in parts: the checksum of the parts' checksums.
        ("x-amz-checksum-sha256", f"{b64('sha256')}-3"),
        ("ETag", f'"{hashlib.md5(DATA, usedforsecurity=False).hexdigest()}"'),
        ("x-amz-meta-sha256", b64("sha256")),
    ],
)
def test_what_isnt_a_checksum_promises_nothing(header: str, value: str) -> None:
    assert read({header: value}) == {}


@given(
    st.sampled_from(["digest", "repr-digest", "x-goog-hash", "content-md5", "x-amz-checksum-sha256"]),
    st.text(max_size=80),
)
def test_no_header_breaks_the_reading_or_promises_half_a_checksum(header: str, value: str) -> None:
    lengths = {"sha512": 64, "sha256": 32, "sha1": 20, "md5": 16}
    assert all(len(digest) == lengths[name] for name, digest in read({header: value}).items())


def test_a_checksum_differs_where_another_came_or_none() -> None:
    assert differing(of("sha256", "md5"), of("md5", "sha256")) == []
    assert differing(of("sha256"), {}) == []
    wrong = {"sha256": of("sha256")["sha256"], "md5": b"x" * 16, "sha1": b"y" * 20}
    assert differing(of("sha256", "md5"), wrong) == ["md5", "sha1"]


# ---------------------------------------------------------------------------------------------- working out


@pytest.fixture
def digests() -> Iterator[Checksums]:
    with Checksums() as found:
        yield found


# Each example starts a thread, which takes long on a busy machine.
@settings(deadline=None)
@given(parts=st.lists(st.binary(max_size=50), max_size=20))
def test_parts_give_the_checksum_of_the_whole(parts: list[bytes]) -> None:
    with Checksums() as digests:
        digests.start(["md5", "sha256"])
        for part in parts:
            digests.add(part)
        came = digests.finish()
    whole = b"".join(parts)
    assert came == {name: hashlib.new(name, whole).digest() for name in ("sha256", "md5")}


def test_sha256_is_always_worked_out(digests: Checksums) -> None:
    digests.start()
    digests.add(DATA)
    assert digests.finish() == of("sha256")


def test_a_new_start_forgets_what_came_before(digests: Checksums) -> None:
    digests.start(["md5"])
    digests.add(b"of another package")
    digests.start(["sha1"])
    digests.add(DATA)
    assert digests.finish() == of("sha256", "sha1")


class Slow:
    """A hash that waits for its start, and keeps the parts that it gets."""

    def __init__(self) -> None:
        self.go, self.parts = threading.Event(), list[bytes]()

    def __call__(self) -> Slow:
        return self

    def update(self, part: bytes) -> None:
        self.go.wait(10)
        self.parts.append(part)

    def digest(self) -> bytes:
        return b"".join(self.parts)


def test_a_new_start_waits_for_what_is_still_worked_out(
    digests: Checksums, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()
    monkeypatch.setitem(MAKERS, "slow", slow)
    digests.start(["slow"])
    digests.add(b"of another")
    digests.add(b"package")
    starter = threading.Thread(target=digests.start, daemon=True)
    starter.start()
    starter.join(0.1)
    slow.go.set()
    starter.join(10)
    digests.add(DATA)
    assert digests.finish() == of("sha256")


def test_parts_wait_for_the_thread_and_never_more_than_a_few(
    digests: Checksums, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()
    monkeypatch.setitem(MAKERS, "slow", slow)
    digests.start(["slow"])
    ahead: list[int] = []

    def feed() -> None:
        for number in range(DEPTH + 3):
            digests.add(bytes([number]))
            ahead.append(number)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    feeder.join(0.1)
    assert len(ahead) <= DEPTH
    assert slow.parts == []
    slow.go.set()
    feeder.join(10)
    digests.finish()
    assert slow.parts == [bytes([number]) for number in range(DEPTH + 3)]


def test_an_error_in_the_thread_isnt_lost(digests: Checksums) -> None:
    digests.start()
    wrong: Any = "no bytes"
    digests.add(wrong)
    with pytest.raises(TypeError):
        digests.finish()


def test_the_thread_ends_with_the_block() -> None:
    def running() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if each.name.startswith("pixxel-digest")}

    before = running()

    def fail() -> None:
        with Checksums() as digests:
            digests.start()
            digests.add(DATA)
            assert len(running() - before) == 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert running() - before == set()
