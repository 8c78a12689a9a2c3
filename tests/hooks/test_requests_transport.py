"""The session with which a worker sends."""

from __future__ import annotations

import pytest

from pixxel_provider.api import calls
from pixxel_provider.hooks.pixxel import PixxelHook
from tests.hooks.answers import sized
from tests.hooks.clients import connection_to
from tests.loopback import RawServer

JOB = calls.get_job("w", "j")
BODY = b'{"id":"j","status":"running"}'


def test_the_session_keeps_no_cookies(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server))
    server.answer_with(sized(BODY, b"Set-Cookie: session=abc; Path=/; Max-Age=3600"))
    hook = PixxelHook()
    for _ in range(2):
        assert hook.send(JOB, retry_for=0).id == "j"
    assert list(hook.get_conn().cookies) == []
    hook.close()
    assert not any(b"abc" in request for request in server.requests)
