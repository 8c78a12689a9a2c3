"""A server or a proxy that drips before the request is sent is given up like one that drips its answer."""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from typing import Any

import pytest

from pixxel_provider.hooks.pixxel import PixxelHook
from tests.hooks.answers import CALL
from tests.hooks.clients import CLIENTS, Asking, connection_to
from tests.loopback import RawServer, dripping, pouring
from tests.support import CANARY

#: Seconds that an exchange may take longer than it should, on a machine that is busy.
MARGIN = 5.0


def outcomes(monkeypatch: pytest.MonkeyPatch, connection: str) -> list[Any]:
    """Return what each client makes of a connection, once it has ended in time."""
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection)
    deadline = PixxelHook().settings.exchange_timeout
    asking = [Asking(partial(client, [CALL])) for client in CLIENTS.values()]
    return [each.result(deadline + MARGIN)[0] for each in asking]


@pytest.mark.parametrize("pause", [0.03, 0.0])
def test_a_handshake_without_an_end_is_given_up(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    def answer(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            # A record of TLS with a long message, byte by byte or as fast as it goes.
            peer.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            while not server.closing.wait(pause):
                peer.sendall(b"\x02" * (1 if pause else 4_096))

    monkeypatch.setattr(server, "_talk", answer)
    secure = connection_to(server, 0.3).replace("http://", "https://")
    for outcome in outcomes(monkeypatch, secure):
        assert outcome.kind == "PixxelConnectionError", outcome
        assert outcome.transient
        assert outcome.reason in ("timeout", "tls")
        assert CANARY not in repr(outcome)
    assert not any(CANARY.encode() in head for head in server.requests)


@pytest.mark.parametrize("reply", [dripping, pouring])
def test_a_proxy_whose_answer_has_no_end_is_given_up(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, reply: Any
) -> None:
    server.answer_with(reply(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"))
    proxied = connection_to(server, 0.3, proxy=server.origin).replace(
        f'"host": "{server.origin}"', '"host": "api.example"'
    )
    for outcome in outcomes(monkeypatch, proxied):
        assert outcome.kind == "PixxelConnectionError", outcome
        assert outcome.transient
    # The key goes through the tunnel alone.
    assert server.requests
    assert not any(CANARY.encode() in head for head in server.requests)
