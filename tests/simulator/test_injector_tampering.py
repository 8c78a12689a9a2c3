"""Real answers that are cut off, stall, drip, or announce another length than they have."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from pixxel_provider.simulator import serve
from pixxel_provider.simulator.clock import frozen
from pixxel_provider.simulator.packages import CHUNK, made_up
from pixxel_provider.simulator.server import Simulator
from tests.simulator.client import DOWNLOAD, Client, ping, whole

SIZE = CHUNK + 1000
CONTENT = whole(made_up(SIZE))


@pytest.fixture
def url(pixxel: Simulator, client: Client) -> str:
    pixxel.set_package(size=SIZE, seconds=0)
    return client.signed_url()


def received(url: str, limit: float = 10.0, **headers: str) -> tuple[dict[str, str], bytes, bool]:
    """The answer's headers, the bytes that came, and whether they were all that were announced."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=limit)
    got = bytearray()
    with contextlib.closing(connection):
        connection.request("GET", f"{place.path}?{place.query}", headers=headers)
        answer = connection.getresponse()
        named = {"status": str(answer.status), **{key.lower(): value for key, value in answer.getheaders()}}
        with contextlib.suppress(OSError):
            while part := answer.read1(1 << 16):
                got += part
    return named, bytes(got), len(got) == int(named.get("content-length", len(got)))


@pytest.mark.parametrize("kept", [0, 1, 1000, CHUNK, CHUNK + 1, SIZE - 1, SIZE, 10 * SIZE])
def test_a_download_is_cut_off_after_so_many_bytes(pixxel: Simulator, url: str, kept: int) -> None:
    pixxel.fail_next("download_file", truncate=kept)
    headers, got, complete = received(url)
    assert headers["content-length"] == str(SIZE)
    assert (got, complete) == (CONTENT[: min(kept, SIZE - 1)], False)
    assert received(url)[1:] == (CONTENT, True)


@pytest.mark.parametrize("kept", [SIZE // 4, SIZE // 4 + 7])
def test_a_client_that_resumes_gets_to_the_end(pixxel: Simulator, url: str, kept: int) -> None:
    pixxel.fail_next("download_file", truncate=kept, times=0)
    got, parts = received(url)[1], 1
    while len(got) < SIZE:
        headers, part, _ = received(url, Range=f"bytes={len(got)}-")
        assert headers["status"] == "206"
        assert part
        got, parts = got + part, parts + 1
    assert (got, parts) == (CONTENT, 4)


def test_a_cut_off_package_of_terabytes_ends_soon(pixxel: Simulator, client: Client) -> None:
    pixxel.set_package(size=1 << 44, seconds=0)
    pixxel.fail_next("download_file", truncate=5)
    assert received(client.signed_url())[1:] == (whole(made_up(5)), False)


@pytest.mark.parametrize(
    ("announced", "length", "content", "complete"),
    [
        (str(SIZE + 5), SIZE + 5, CONTENT, False),
        ("+5", SIZE + 5, CONTENT, False),
        (SIZE - 5, SIZE - 5, CONTENT[:-5], True),
        ("-5", SIZE - 5, CONTENT[:-5], True),
        ("none", None, CONTENT, True),
    ],
)
def test_an_announced_length_can_be_wrong_or_absent(
    pixxel: Simulator, url: str, announced: Any, length: int | None, content: bytes, complete: bool
) -> None:
    pixxel.fail_next("download_file", announce=announced, times=2)
    headers, *got = received(url)
    assert headers.get("content-length") == (None if length is None else str(length))
    assert got == [content, complete]
    # All of it is sent, without a length in chunks.
    assert length is None or wire(url).endswith(CONTENT)


def test_the_length_of_a_part_is_what_is_changed(pixxel: Simulator, url: str) -> None:
    pixxel.fail_next("download_file", announce="+1")
    headers, got, complete = received(url, Range="bytes=-10")
    assert (headers["content-length"], got, complete) == ("11", CONTENT[-10:], False)


def test_a_length_can_be_wrong_on_any_route(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("ping", announce=3)
    assert client.get("/ping").content == b'"po'


def test_a_stalled_download_sends_nothing_more_and_blocks_nobody(
    pixxel: Simulator, client: Client, url: str
) -> None:
    pixxel.fail_next("download_file", stall=100)
    _, got, complete = received(url, limit=1)
    assert (got, complete) == (CONTENT[:100], False)
    while pixxel.counters.snapshot()["in_flight"]:
        client.get("/ping")


@pytest.mark.parametrize(
    ("fault", "end"), [({"stall": 3}, b'"po'), ({"pause": 600, "chunk": 1}, b'"')], ids=["stalled", "slow"]
)
def test_a_stalled_or_slow_answer_doesnt_delay_the_servers_end(fault: dict[str, Any], end: bytes) -> None:
    with serve(clock=frozen()) as pixxel:
        pixxel.fail_next("ping", **fault)
        sock = ping(pixxel)
        while not sock.recv(1000).endswith(end):
            pass
    with sock, pytest.raises(ConnectionResetError):
        sock.recv(1000)


@pytest.mark.parametrize(
    ("fault", "limit", "content"),
    [
        ({"pause": 0.001, "chunk": SIZE // 5}, 10, CONTENT),
        # It pauses after each part.
        ({"pause": 600, "chunk": 1000}, 1, CONTENT[:1000]),
        ({"pause": 0.001, "chunk": 300, "truncate": 1000}, 10, CONTENT[:1000]),
    ],
)
def test_a_download_can_be_slow_and_cut_off_too(
    pixxel: Simulator, url: str, fault: dict[str, Any], limit: float, content: bytes
) -> None:
    pixxel.fail_next("download_file", **fault)
    assert received(url, limit=limit)[1:] == (content, content == CONTENT)


def test_a_late_answer_can_be_tampered_with(pixxel: Simulator, client: Client) -> None:
    pixxel.fail_next("ping", latency=0.01, carried_out=True, truncate=2)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.get("/ping")


def test_downloads_at_once_share_the_server(pixxel: Simulator, client: Client) -> None:
    pixxel.set_package(size=1 << 44, seconds=0)
    url = client.signed_url()
    leave = threading.Event()

    def drain() -> None:
        with requests.get(url, stream=True, timeout=10) as answer:
            while not leave.is_set():
                answer.raw.read(CHUNK)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        while not pixxel.requests("download_file"):
            client.get("/ping")
        assert client.job("job-finished").status_code == 200
    finally:
        leave.set()
        thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_store_of_files_answers_errors_in_xml(pixxel: Simulator, url: str, status: int) -> None:
    pixxel.fail_next("download_file", status=status, body="xml", message="Request has expired")
    answer = requests.get(url, timeout=10)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/xml")
    assert "<Message>Request has expired</Message>" in answer.text
    assert requests.get(url, timeout=10).content == CONTENT


@pytest.mark.parametrize(
    "signed_url", ["file:///etc/hostname", "http://169.254.169.254/x", "https://user:word@host/", "", None, 7]
)
def test_a_package_can_have_any_url(pixxel: Simulator, client: Client, signed_url: Any) -> None:
    pixxel.fail_next("download_job", json={"id": "job-finished", "status": "ready", "signed_url": signed_url})
    assert client("PUT", DOWNLOAD).json()["signed_url"] == signed_url


def wire(url: str) -> bytes:
    """Everything the server sends until it closes the connection."""
    place = urlsplit(url)
    got = bytearray()
    with socket.create_connection((place.hostname, place.port), timeout=10) as sock:
        sock.sendall(f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while part := sock.recv(1 << 16):
            got += part
    return bytes(got)
