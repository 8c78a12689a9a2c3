"""Answers that never end: a triggerer that waited for one would lose the waits of everybody."""

from __future__ import annotations

import asyncio

import pytest

from pixxel_provider.api import calls
from pixxel_provider.hooks.pixxel import PixxelAsyncHook
from tests.hooks.clients import connection_to
from tests.hooks.conftest import Client
from tests.loopback import End, Raw, RawServer, dripping

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS = {
    "a body that drips": dripping(HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    # By itself: what comes with the head is read otherwise.
    "a broken length": Raw((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 0.1, b"ZZ\r\n"), End.HOLD),
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch, answer: Raw) -> None:
    with RawServer() as server:
        server.answer_with(answer)
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", connection_to(server, 0.2))
        error = Client("async", []).error(calls.get_job("wf-succeeds", "job-finished"))
    assert error.transient
    assert "could not get an answer" in str(error)


def test_who_comes_together_reads_the_connection_once(
    pixxel: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixxel_provider.hooks import pixxel_async as module

    looked: list[str] = []
    look_up = module.look_up_async

    async def counted(conn_id: str) -> object:
        looked.append(conn_id)
        await asyncio.sleep(0)
        return await look_up(conn_id)

    monkeypatch.setattr(module, "look_up_async", counted)

    async def work() -> None:
        hook = PixxelAsyncHook()
        found = await asyncio.gather(*(hook.get_settings() for _ in range(20)))
        assert len(set(map(id, found))) == 1

    asyncio.run(work())
    assert looked == ["pixxel_default"]
