"""A storage host is asked letter by letter, at an address that was judged, and every request has an end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from pixxel_provider.allowed_hosts import read_allowed_hosts
from tests.download.hosting import SIGNATURE, Host, failure, fetch, parts_of, storage_for
from tests.loopback import Raw, Reply, dripping, pouring, reply
from tests.support import FakeClock

MIB = 1024 * 1024


# ---------------------------------------------------------------------------------------- letter by letter

LETTERS = [
    "/package.zip?Policy=a%2Bb%3D&Signature=x%2Fy%3D",
    "/2026%2d01%2d02/package.zip?sig=abc%2fdef%3d",
    "/a%7Eb~/package.zip?hmac=exp%3D1%7Eacl%3D%2F%2A",
    "/jobs/./1/../2//package.zip?a=/../b",
    "//package.zip?sig=1",
    "/it's(1)*!;:@,/package.zip?a=b+c&empty=&flag&&=",
    "/%E2%82%AC%zz%?sig=%e2%82%ac%",
    '/[1]/{a|b}^`"<>/package.zip?q=[1]{a|b}^`"<>',
    "/back\\slash?q=a\\b",
    "/?",
    "/?a?b",
]


@pytest.mark.parametrize("path", LETTERS)
def test_a_signed_url_is_asked_letter_by_letter(host: Host, path: str) -> None:
    host.replies = [reply(body=b"whole")]
    assert fetch(storage_for(host.origin), f"{host.origin}{path}#fragment") == (200, b"whole")
    assert host.heads[0].split(" ")[1] == path
    assert host.asked("host") == [f"127.0.0.1:{host.port}"]


@pytest.mark.parametrize("path", LETTERS)
def test_so_is_what_a_redirect_leads_to(host: Host, path: str) -> None:
    host.replies = [reply("302 Found", location=f"{host.origin}{path}"), reply(body=b"whole")]
    if not path.startswith("//"):
        host.replies.insert(0, reply("302 Found", location=path))
    fetch(storage_for(host.origin), host.url)
    assert {head.split(" ")[1] for head in host.heads[1:]} == {path}


@pytest.mark.parametrize("path", LETTERS)
def test_so_is_what_a_proxy_is_asked_for(host: Host, path: str) -> None:
    host.replies = [reply(body=b"whole")]
    fetch(storage_for("http://10.0.0.5:8080", proxy=host.origin), f"http://10.0.0.5:8080{path}")
    assert host.heads[0].split(" ")[1] == f"http://10.0.0.5:8080{path}"
    assert host.asked("host") == ["10.0.0.5:8080"]


def a_tunnel_to(target: Host) -> Reply:
    """Open a tunnel as a proxy does, whatever place is asked for."""

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

    def connect(peer: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", target.port), 5) as beyond:
            back = threading.Thread(target=carry, args=(beyond, peer), daemon=True)
            back.start()
            carry(peer, beyond)
            back.join(5)

    return [b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n", connect]


def test_so_is_what_goes_through_a_tunnel(host: Host, secure: Host, certificate: Path) -> None:
    secure.replies = [reply(body=b"whole") for _ in LETTERS]
    host.replies = [a_tunnel_to(secure) for _ in LETTERS]
    storage = storage_for("https://127.0.0.1:7", proxy=host.origin, verify=str(certificate))
    for path in LETTERS:
        assert fetch(storage, f"https://127.0.0.1:{secure.port}{path}") == (200, b"whole")
    assert [head.split(" ")[1] for head in secure.heads] == LETTERS
    # What a tunnel carries, its proxy doesn't see.
    assert {head.split()[1] for head in host.heads} == {f"127.0.0.1:{secure.port}"}
    assert secure.asked("proxy-authorization") == [None] * len(LETTERS)


# ----------------------------------------------------------------------------------------- where it connects


def test_a_host_is_asked_at_that_of_its_addresses_that_may_be(
    secure: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(place: str, port: int, *_: Any, **__: Any) -> list[Any]:
        places = ["10.0.0.1", "169.254.169.254", "127.0.0.1"] if place == "storage.example" else [place]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in places]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    named = read_allowed_hosts("private_storage", "127.0.0.1")
    storage = storage_for("https://8.8.8.8", verify=False, private_storage=named)
    with pytest.warns(InsecureRequestWarning):
        assert fetch(storage, f"https://storage.example:{secure.port}/x") == (200, b"whole")


def test_storage_that_the_connection_names_is_asked(
    names: dict[str, list[str]], secure: Host, certificate: Path
) -> None:
    names.update({"api.example": ["8.8.8.8"], "storage.example": ["127.0.0.1"]})
    for text in ("*.example", "127.0.0.0/8"):
        secure.replies = [reply(body=b"whole")]
        named = read_allowed_hosts("private_storage", text)
        storage = storage_for("https://api.example", verify=False, private_storage=named)
        with pytest.warns(InsecureRequestWarning):
            assert fetch(storage, f"https://storage.example:{secure.port}/") == (200, b"whole")


# ------------------------------------------------------------------------------------- nothing without an end


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "drip"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 ", b"O"),
        (HEAD + b"X: ", b"x"),
        (HEAD, b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: /", b"x"),
        (CHUNKED, b"0"),
        (CHUNKED + b"5;", b"x"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: y\r\n"),
        (CHUNKED + b"5\r\nhello\r\n0\r\nX: ", b"y"),
    ],
)
def test_what_drips_without_a_byte_of_the_package_ends(host: Host, start: bytes, drip: bytes) -> None:
    host.replies = [dripping(start, drip)]
    error: Any = failure(storage_for(host.origin, stall_timeout=0.3), host.url)
    assert error.transient
    assert error.reason == "timeout"


def test_a_handshake_that_drips_ends_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.sendall(b"\x16\x03\x03\x40\x00")
            while not host.closing.wait(0.05):
                peer.sendall(b"\x02")

    monkeypatch.setattr(host, "_talk", answer)
    storage = storage_for(host.origin, stall_timeout=0.3)
    assert failure(storage, host.url.replace("http:", "https:")).transient


def test_a_proxy_that_drips_ends_too(host: Host) -> None:
    host.replies = [dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")]
    storage = storage_for("https://8.8.8.8", stall_timeout=0.3, proxy=host.origin)
    assert failure(storage, f"https://8.8.4.4/?signature={SIGNATURE}").transient


def test_redirects_have_no_time_of_their_own(host: Host, clock: FakeClock) -> None:
    def slowly(_: bytes) -> Iterator[bytes]:
        clock.sleep(2)
        yield reply("302 Found", location="/again")

    host.replies = [Raw(slowly)] * 4
    error: Any = failure(storage_for(host.origin, clock=clock), host.url)
    assert (error.reason, len(host.heads)) == ("timeout", 3)


def test_the_time_that_a_part_takes_to_be_written_isnt_the_hosts(host: Host, clock: FakeClock) -> None:
    host.replies = [reply(body=bytes(3 * MIB))]
    with storage_for(host.origin, clock=clock).get(host.signed, {}) as answer:
        for part in parts_of(answer):
            assert len(part) == MIB
            clock.sleep(60)


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
        (b"", b"HTTP/1.1 102 Processing\r\nX: " + b"y" * 50_000 + b"\r\n\r\n"),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 10_000),
        (HEAD, b"X: " + b"y" * 50_000 + b"\r\n"),
        (HEAD, b"X" * 10_000),
        (b"", b"x" * 10_000),
    ],
)
def test_a_flood_without_a_byte_of_the_package_is_cut_off(host: Host, start: bytes, part: bytes) -> None:
    def answer(_: bytes) -> Iterator[Any]:
        yield lambda peer: peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        yield start
        yield from repeat(part)

    host.replies = [Raw(answer)]
    error: Any = failure(storage_for(host.origin), host.url)
    assert error.reason in ("dropped", "other")
    assert host.sent < 32 * MIB


def test_the_body_of_an_error_isnt_read(host: Host) -> None:
    host.replies = [pouring(reply("403 Forbidden", content_length=str(1 << 40)), bytes(MIB))]
    with storage_for(host.origin).get(host.signed, {}) as answer:
        assert answer.status == 403


def test_informational_answers_come_before_the_answer(host: Host) -> None:
    early = ("100 Continue", "102 Processing", "103 Early Hints\r\nLink: </x>")
    head = "".join(f"HTTP/1.1 {line}\r\n\r\n" for line in early)
    host.replies = [head.encode() + reply(body=b"whole")]
    assert fetch(storage_for(host.origin), host.url) == (200, b"whole")


def test_while_the_package_comes_nothing_ends_it(host: Host) -> None:
    letters = [piece for letter in b"0123456789" for piece in (0.1, bytes([letter]))]
    host.replies = [[reply(content_length="10"), *letters]]
    assert fetch(storage_for(host.origin, stall_timeout=0.5), host.url) == (200, b"0123456789")
