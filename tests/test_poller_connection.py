"""The shared poll where the connection is changed meanwhile, or can't be read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelConnectionError, PixxelInputError, PixxelNotFoundError
from pixxel_provider.clock import Clock
from pixxel_provider.hooks.pixxel import PixxelAsyncHook
from tests.poller_support import Script, ending, has_ended, run, settings_of, subscribed, wait_for

ONE, TWO = "https://one", "https://two"


def test_many_who_come_together_read_the_connection_once(script: Script) -> None:
    script.ends = ending(200, 300)

    async def work() -> None:
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    assert len(script.read_at) == 1


def test_a_newcomer_uses_the_connection_as_it_is_now_and_disturbs_nobody(script: Script) -> None:
    script.ends = ending(2, 300)

    async def work() -> None:
        first = asyncio.ensure_future(wait_for("job-0", interval=10))
        await asyncio.sleep(100)
        assert set(script.hosts) == {ONE}
        script.settings = settings_of("two")
        script.hosts.clear()
        await asyncio.gather(first, wait_for("job-1", interval=10))

    run(work)
    # Both had 200 seconds left, and each was asked for where its wait began.
    assert abs(script.hosts[ONE] - script.hosts[TWO]) <= 6
    assert set(script.hosts) == {ONE, TWO}


def test_a_newcomer_who_reads_the_same_joins_the_poll_that_is_there(script: Script) -> None:
    script.ends = ending(2, 300)

    async def work() -> bool:
        first = asyncio.ensure_future(wait_for("job-0"))
        await asyncio.sleep(100)
        second = asyncio.ensure_future(wait_for("job-1"))
        await asyncio.sleep(1)
        one, two = await asyncio.gather(first, second)
        return bool(one and two)

    assert run(work)
    assert script.asked["list_jobs"] > 0
    assert len(script.read_at) == 2


def test_those_for_whom_it_fails_take_over_what_a_newcomer_has_read(
    pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Real hooks, whose clock stands still: by itself the first one wouldn't read its connection again.
    good = pixxel.connection_json()
    monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", good.replace(pixxel.url, "http://127.0.0.1:9"))
    now = 1000.0

    async def first_answer(answered: asyncio.Event, again: asyncio.Event) -> Any:
        async with subscribed(
            "pixxel_default", "wf-succeeds", "job-finished", ended=has_ended, monotonic=lambda: now
        ) as jobs:
            answer = await jobs.next_answer(0)
            answered.set()
            if isinstance(answer, PixxelConnectionError):
                await again.wait()
                answer = await jobs.next_answer(0)
            return jobs.poller.hook, answer

    async def work() -> Any:
        failed, succeeded = asyncio.Event(), asyncio.Event()
        old = asyncio.ensure_future(first_answer(failed, succeeded))
        await failed.wait()
        monkeypatch.setenv("AIRFLOW_CONN_PIXXEL_DEFAULT", good)
        new = await first_answer(succeeded, asyncio.Event())
        return new, await old

    (new_hook, new), (old_hook, old) = asyncio.run(asyncio.wait_for(work(), 20))
    assert new_hook is old_hook
    assert has_ended(new)
    assert has_ended(old)


@pytest.mark.parametrize(
    "error",
    [PixxelConnectionError("the vault is away", sent=False), PixxelInputError("pixxel_conn_id", "is 'c'")],
)
def test_a_connection_that_can_not_be_read_is_told_as_what_may_pass(script: Script, error: Any) -> None:
    script.ends = ending(1, 0)
    script.error, script.outage = error, (0, 1e9)
    script.unread = error

    async def work() -> Any:
        loop = asyncio.get_running_loop()
        async with subscribed("c", "w", "job-0", ended=has_ended, monotonic=loop.time) as jobs:
            return await jobs.next_answer(1)

    answer = run(work)
    assert answer.transient
    assert str(error) == str(answer)


def test_who_joins_others_while_it_can_not_be_read_is_told(script: Script) -> None:
    script.ends = ending(2, 300)
    away = PixxelConnectionError("the vault is away", reason="definition", sent=False)

    async def work() -> Any:
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(wait_for("job-0"))
        await asyncio.sleep(100)
        script.unread = away
        async with subscribed("c", "w", "job-1", ended=has_ended, monotonic=loop.time) as jobs:
            unread, answer = jobs.unread, await jobs.next_answer(1)
        await first
        return unread, answer

    unread, answer = run(work)
    assert str(unread) == "the vault is away"
    assert answer.id == "job-1"


def test_a_job_that_is_missing_is_no_reason_to_move_others(script: Script) -> None:
    script.ends = ending(1, 300)

    async def work() -> None:
        first = asyncio.ensure_future(wait_for("job-0", interval=10))
        loop = asyncio.get_running_loop()
        async with subscribed("c", "w", "job-missing", ended=has_ended, monotonic=loop.time) as jobs:
            await asyncio.sleep(50)
            assert isinstance(await jobs.next_answer(1), PixxelNotFoundError)
            script.settings = settings_of("two")
            script.hosts.clear()
            async with subscribed("c", "w", "job-0", ended=has_ended, monotonic=loop.time) as others:
                await others.next_answer(1)
        await first

    run(work)
    assert script.hosts[ONE] > 10
    assert script.hosts[TWO] == 1


def test_who_leaves_while_the_connection_is_read_leaves_nothing(script: Script) -> None:
    script.latency = 50

    async def work() -> None:
        waits = [asyncio.ensure_future(wait_for("job-0")) for _ in range(3)]
        await asyncio.sleep(10)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    # It looks for tasks and connections that are left over.
    run(work)
    assert len(script.read_at) == 1


def test_a_connection_without_a_reading_is_asked_for_by_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a shared poll asks while the vault is away, the vault is asked now and then."""
    from pixxel_provider.api import calls
    from pixxel_provider.hooks import pixxel_async as module

    now, read_at = [1000.0], []

    async def away(conn_id: str) -> Any:
        read_at.append(now[0])
        raise PixxelConnectionError("the vault is away", sent=False)

    monkeypatch.setattr(module, "look_up_async", away)

    async def work() -> None:
        hook = PixxelAsyncHook("c", clock=Clock(monotonic=lambda: now[0]))
        for _ in range(600):
            with pytest.raises(PixxelConnectionError, match="the vault is away"):
                await hook.send(calls.get_job("w", "j"), retry_for=0)
            now[0] += 1

    asyncio.run(work())
    assert [round(moment - 1000) for moment in read_at][:7] == [0, 1, 2, 3, 5, 8, 12]
    assert len(read_at) == 20
