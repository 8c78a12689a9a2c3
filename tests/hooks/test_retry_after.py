"""Retry-After from servers whose clocks aren't ours: both clients hand on the same pause."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from pixxel_provider.api import calls
from tests.hooks.conftest import Client
from tests.support import CANARY


@pytest.fixture
def headers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The headers with which a server turns a request away."""
    lines: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def work() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            head = ["HTTP/1.1 429 Too Many Requests", "Content-Length: 0", "Connection: close", *lines]
            connection.sendall("".join(f"{line}\r\n" for line in [*head, ""]).encode())

    thread = threading.Thread(target=work)
    thread.start()
    connection = {"conn_type": "pixxel", "host": f"http://127.0.0.1:{listener.getsockname()[1]}"}
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps({**connection, "password": CANARY}))
    yield lines
    thread.join()


@pytest.mark.parametrize("ahead", [-86_400, 86_400])
@pytest.mark.parametrize("form", ["date", "seconds", "milliseconds"])
def test_a_moment_is_read_by_the_clock_of_the_server_that_names_it(
    client: Client, headers: list[str], ahead: int, form: str
) -> None:
    theirs = int(time.time()) + ahead
    moment = {
        "date": formatdate(theirs + 40, usegmt=True),
        "seconds": str(theirs + 40),
        "milliseconds": str((theirs + 40) * 1000),
    }
    headers += [f"Date: {formatdate(theirs, usegmt=True)}", f"Retry-After: {moment[form]}"]
    assert client.error(calls.get_job("w", "j")).retry_after == 40


def test_a_moment_is_read_by_our_clock_where_the_server_tells_no_date(
    client: Client, headers: list[str]
) -> None:
    headers += [f"Retry-After: {int(time.time()) + 40}"]
    assert 30 <= (client.error(calls.get_job("w", "j")).retry_after or 0) <= 40
