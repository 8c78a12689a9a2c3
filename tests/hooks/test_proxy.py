"""A proxy stands between a request and what becomes of it: which of the two it was must not be guessed."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.api import calls
from pixxel_provider.job_creation.reconcile import may_have_been_accepted
from tests.support import CANARY

JOB = calls.get_job("wf-succeeds", "job-finished")
CREATE = calls.create_job("wf-succeeds", "project-agriculture")


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and (part := connection.recv(65536)):
        head += part
    return head


class Proxy:
    """Hangs up when it has read a request, as one that is restarted; ``heard`` holds their first lines."""

    def __init__(self, certificate: Path, tunnel: bytes) -> None:
        self.heard: list[bytes] = []
        self.tunnels = 0
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._tunnel = tunnel
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(10)
                    self._answer(connection)
            except OSError:
                if self._listener.fileno() < 0:
                    return

    def _answer(self, connection: socket.socket) -> None:
        head = read_head(connection)
        if head.startswith(b"CONNECT"):
            self.tunnels += 1
            if not self._tunnel:
                # Until the client has given up.
                connection.recv(1)
                return
            connection.sendall(self._tunnel)
            if b" 200 " not in self._tunnel:
                return
            with self._tls.wrap_socket(connection, server_side=True) as inside:
                self.heard.append(read_head(inside).split(b"\r\n")[0])
        elif head:
            self.heard.append(head.split(b"\r\n")[0])
            if b" 200 " not in self._tunnel:
                connection.sendall(self._tunnel)

    def stop(self) -> None:
        # Closing alone doesn't wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def proxy(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Proxy]]:
    started: list[Proxy] = []

    def start(scheme: str, tunnel: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Proxy:
        started.append(Proxy(certificate, tunnel))
        extra = {
            "proxy": started[-1].url,
            "verify": str(certificate),
            "connect_timeout": 2,
            "read_timeout": 2,
        }
        connection = {"conn_type": "pixxel", "host": f"{scheme}://127.0.0.1:9", "password": CANARY}
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps({**connection, "extra": extra}))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_that_went_through_a_proxy_is_not_sent_again(
    proxy: Callable[..., Proxy], client: Any, scheme: str
) -> None:
    found = proxy(scheme)
    error = client.error(CREATE, retry_for=60)
    assert len(found.heard) == 1
    assert found.heard[0].startswith(b"POST ")
    assert (error.reason, error.sent) == ("dropped", True)
    assert may_have_been_accepted(error)


def test_a_proxy_that_refuses_the_tunnel_has_passed_nothing_on(
    proxy: Callable[..., Proxy], client: Any
) -> None:
    found = proxy("https", b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    error = client.error(CREATE)
    assert (found.tunnels, found.heard) == (1, [])
    assert (error.reason, error.sent) == ("proxy", False)
    assert not may_have_been_accepted(error)


def test_a_proxy_that_refuses_a_request_without_a_tunnel_says_the_same(
    proxy: Callable[..., Proxy], client: Any
) -> None:
    found = proxy("http", b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    error = client.error(CREATE)
    assert len(found.heard) == 1
    assert (error.reason, error.sent, error.transient) == ("proxy", False, True)
    assert "the proxy can't be reached or refuses" in str(error)


def test_a_proxy_that_never_answers_is_given_up(proxy: Callable[..., Proxy], client: Any) -> None:
    found = proxy("https", b"")
    error = client.error(CREATE)
    assert (found.tunnels, found.heard) == (1, [])
    assert error.reason == "timeout"


PASSWORD = "the-proxys-own-password"


@pytest.mark.parametrize("through", ["no proxy", "a proxy", "a tunnel"])
def test_http_client_prints_no_key_and_no_password(
    proxy: Callable[..., Proxy],
    pixxel: Any,
    client: Any,
    through: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # As many a debugging session sets it, for all of a process.
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    if through == "no proxy":
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", pixxel.connection_json())
        assert client.send(JOB).id == "job-finished"
        # An echo in the head of an answer would be printed as well.
        pixxel.fail_next("get_job", status=401, body="echo")
    else:
        found = proxy("https" if through == "a tunnel" else "http")
        connection = json.loads(os.environ["AIRFLOW_CONN_PIXXEL_DEFAULT"])
        connection["extra"]["proxy"] = found.url.replace("//", f"//user:{PASSWORD}@")
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))
    client.error(JOB)
    if through != "no proxy":
        assert found.heard
    printed = "".join(capfd.readouterr())
    for secret in (CANARY, PASSWORD, base64.b64encode(f"user:{PASSWORD}".encode()).decode()):
        assert secret not in printed
