"""Answers that never end: a triggerer that waited for one would lose the waits of everybody."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from pixxel_provider.api import calls
from pixxel_provider.hooks.pixxel import PixxelAsyncHook
from tests.hooks.conftest import Client
from tests.support import CANARY

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip(connection: socket.socket, gone: threading.Event) -> None:
    connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
    while not gone.wait(0.02):
        connection.sendall(b" ")


def send_a_broken_length(connection: socket.socket, gone: threading.Event) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    # By itself: what comes with the head is read otherwise.
    gone.wait(0.1)
    connection.sendall(b"ZZ\r\n")
    gone.wait(30)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    gone = threading.Event()
    threads: list[threading.Thread] = []

    def start(answer: Callable[[socket.socket, threading.Event], None]) -> None:
        listener = socket.create_server(("127.0.0.1", 0))

        def work() -> None:
            with listener, contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    answer(connection, gone)

        threads.append(threading.Thread(target=work))
        threads[0].start()
        times = {"connect_timeout": 0.2, "read_timeout": 0.2}
        connection = {"conn_type": "pixxel", "host": f"http://127.0.0.1:{listener.getsockname()[1]}"}
        monkeypatch.setenv(
            "AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps({**connection, "password": CANARY, "extra": times})
        )

    yield start
    gone.set()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("answer", [drip, send_a_broken_length])
def test_an_answer_that_never_ends_is_given_up(
    serve: Callable[..., None], answer: Callable[..., None]
) -> None:
    serve(answer)
    error = Client("async", []).error(calls.get_job("wf-succeeds", "job-finished"))
    assert error.transient
    assert "could not get an answer" in str(error)


def test_who_comes_together_reads_the_connection_once(
    pixxel: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from pixxel_provider.hooks import pixxel as module

    looked: list[str] = []
    look_up = module._look_up

    async def counted(conn_id: str) -> object:
        looked.append(conn_id)
        await asyncio.sleep(0)
        return await look_up(conn_id)

    monkeypatch.setattr(module, "_look_up", counted)

    async def work() -> None:
        hook = PixxelAsyncHook()
        found = await asyncio.gather(*(hook.get_settings() for _ in range(20)))
        assert len(set(map(id, found))) == 1

    asyncio.run(work())
    assert looked == ["pixxel_default"]
