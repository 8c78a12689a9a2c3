"""A proxy stands between a request and what becomes of it: which of the two it was must not be guessed."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider.api import calls
from pixxel_provider.job_creation.reconcile import may_have_been_accepted
from tests.hooks.clients import connection_to
from tests.loopback import End, Part, Raw, RawServer, read_head, server_context
from tests.support import CANARY

JOB = calls.get_job("wf-succeeds", "job-finished")
CREATE = calls.create_job("wf-succeeds", "project-agriculture")


REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"


class Proxy(RawServer):
    """Hangs up when it has read a request, as one that is restarted; ``heard`` holds their first lines."""

    def __init__(self, certificate: Path, tunnel: bytes) -> None:
        super().__init__()
        self._inside, self._tunnel = server_context(certificate), tunnel
        self.answer_with(Raw(self._to, End.CLOSE if tunnel else End.HOLD))

    def _to(self, head: bytes) -> list[Part]:
        if b" 200 " not in self._tunnel:
            return [self._tunnel]
        return [self._tunnel, self._read_within] if head.startswith(b"CONNECT") else []

    def _read_within(self, peer: socket.socket) -> None:
        with self._inside.wrap_socket(peer, server_side=True) as within:
            self.requests.append(read_head(within))

    @property
    def lines(self) -> list[bytes]:
        return [head.split(b"\r\n")[0] for head in self.requests]

    @property
    def heard(self) -> list[bytes]:
        return [line for line in self.lines if not line.startswith(b"CONNECT")]

    @property
    def tunnels(self) -> int:
        return len(self.lines) - len(self.heard)


@pytest.fixture
def proxy(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Proxy]]:
    with contextlib.ExitStack() as started:

        def start(scheme: str, tunnel: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Proxy:
            found = Proxy(certificate, tunnel)
            started.enter_context(found)
            connection = json.loads(connection_to(found, 2, proxy=found.origin, verify=str(certificate)))
            connection["host"] = f"{scheme}://127.0.0.1:9"
            monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))
            return found

        yield start


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


@pytest.mark.parametrize(
    ("scheme", "answer", "asked", "reason", "sent"),
    [
        ("https", REFUSAL, (1, 0), "proxy", False),
        # Without a tunnel it has the request, and says the same.
        ("http", REFUSAL, (0, 1), "proxy", False),
        ("https", b"", (1, 0), "timeout", None),
    ],
    ids=["refuses a tunnel", "refuses a request", "never answers"],
)
def test_a_proxy_that_refuses_or_never_answers_has_passed_nothing_on(
    proxy: Callable[..., Proxy],
    client: Any,
    scheme: str,
    answer: bytes,
    asked: tuple[int, int],
    reason: str,
    sent: bool | None,
) -> None:
    found = proxy(scheme, answer)
    error = client.error(CREATE)
    assert (found.tunnels, len(found.heard)) == asked
    assert (error.reason, error.transient) == (reason, True)
    assert sent is None or error.sent is may_have_been_accepted(error) is sent
    assert ("the proxy can't be reached or refuses" in str(error)) is (reason == "proxy")


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
        connection["extra"]["proxy"] = found.origin.replace("//", f"//user:{PASSWORD}@")
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", json.dumps(connection))
    client.error(JOB)
    if through != "no proxy":
        assert found.heard
    printed = "".join(capfd.readouterr())
    for secret in (CANARY, PASSWORD, base64.b64encode(f"user:{PASSWORD}".encode()).decode()):
        assert secret not in printed
