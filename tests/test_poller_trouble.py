"""The shared poll where somebody leaves, or something fails."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixxel_provider import poller
from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelConnectionError,
    PixxelError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelResponseError,
)
from pixxel_provider.api.job import Job
from pixxel_provider.clock import Clock
from pixxel_provider.triggers.pixxel import PixxelJobTrigger
from tests.poller_support import Script, ending, has_ended, run, settings_of, subscribed, wait_for
from tests.support import HISTORIES


def test_a_job_that_exists_nowhere_is_told_as_such(script: Script) -> None:
    script.ends = ending(3, 60)

    async def work() -> Any:
        async def lost() -> Any:
            async with subscribed(
                "c", "w", "nowhere", ended=has_ended, monotonic=asyncio.get_running_loop().time
            ) as jobs:
                return await jobs.next_answer(10)

        return (await asyncio.gather(lost(), *(wait_for(name) for name in script.ends)))[0]

    assert isinstance(run(work), PixxelNotFoundError)


def test_a_list_that_can_not_be_had_is_asked_for_once_and_said_once(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.ends = ending(10, 300)
    script.list_error = PixxelAuthError("not for you", status_code=403)

    async def work() -> None:
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    assert script.asked["list_jobs"] == 1
    assert sum("one by one" in line for line in caplog.messages) == 1


def unreadable_until(script: Script, seconds: float) -> Any:
    script.list_error = PixxelResponseError("the answer isn't JSON")

    async def work() -> None:
        asyncio.get_running_loop().call_later(seconds, setattr, script, "list_error", None)
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    return work


def test_a_list_that_is_missing_is_asked_for_less_and_less(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.ends = ending(10, 6_000)
    script.list_error = PixxelNotFoundError("no route", status_code=404)

    async def work() -> None:
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    # After 60, 120, 240, ... s.
    assert 5 <= script.asked["list_jobs"] <= 8
    assert sum("one by one" in line for line in caplog.messages) == script.asked["list_jobs"]


def test_a_list_that_was_missing_for_a_moment_is_shared_again(script: Script) -> None:
    script.ends = ending(50, 3_000)
    script.list_error = PixxelNotFoundError("no route", status_code=404)

    async def work() -> None:
        asyncio.get_running_loop().call_later(50, setattr, script, "list_error", None)
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    assert script.asked["list_jobs"] > 90
    assert script.asked["get_job"] <= 50 * 6


def test_a_list_that_can_not_be_read_is_asked_for_less_and_less(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.ends = ending(10, 6_000)
    run(unreadable_until(script, 7_000))
    said = sum("one by one" in line for line in caplog.messages)
    # Two that tell it isn't by chance; then after 60, 120, 240, ... s.
    assert script.asked["list_jobs"] == said + 1
    assert 5 <= said <= 8


def test_a_list_that_can_be_read_again_is_what_all_hear_of(script: Script) -> None:
    script.ends = ending(50, 3_000)
    run(unreadable_until(script, 100))
    assert script.asked["list_jobs"] > 90
    # Rounds one by one for 60 s, and perhaps for 120 more; and each once at its end.
    assert script.asked["get_job"] <= 50 * 11


@pytest.mark.parametrize("seconds", [20, 35])
def test_one_list_that_can_not_be_read_costs_nothing(script: Script, seconds: float) -> None:
    script.ends = ending(50, 3_000)
    script.list_error = PixxelResponseError("the answer isn't JSON")

    async def work() -> None:
        async def mend() -> None:
            while not script.asked["list_jobs"]:
                await asyncio.sleep(1)
            await asyncio.sleep(1)
            script.list_error = None

        await asyncio.gather(mend(), *(wait_for(name, first=seconds) for name in script.ends))

    run(work)
    assert script.asked["get_job"] == 50


def test_a_page_that_stands_for_every_answer_makes_no_flood(script: Script) -> None:
    script.ends = ending(100, 3_000)
    script.outage = (1000.0, 1900.0)
    script.error = PixxelResponseError("the answer isn't JSON but text/html ('We'll be back soon')")

    async def work() -> None:
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    meanwhile = sum(at < 1900 for at in script.times)
    # One list and one job in each interval.
    assert 50 <= meanwhile <= 80
    assert script.asked["get_job"] < 100 + 45


def test_where_filtered_lists_can_not_be_read_the_jobs_are(script: Script) -> None:
    script.ends = ending(poller.MANY, 300)
    script.list_error = PixxelResponseError("the answer isn't JSON")

    async def work() -> None:
        await asyncio.gather(*(wait_for(n, workflow_id=f"w-{i}") for i, n in enumerate(script.ends)))

    run(work)
    assert script.asked["get_job"] >= poller.MANY


def test_a_wrong_key_is_told_to_all(script: Script) -> None:
    script.ends = ending(10, 300)
    script.list_error = PixxelAuthError("who are you", status_code=401)

    async def work() -> list[Any]:
        async def next_answer(name: str) -> Any:
            loop = asyncio.get_running_loop()
            async with subscribed("c", "w", name, ended=has_ended, monotonic=loop.time) as jobs:
                return await jobs.next_answer(5)

        return await asyncio.gather(*(next_answer(name) for name in script.ends))

    assert {type(answer) for answer in run(work)} == {PixxelAuthError}
    assert script.asked == {"list_jobs": 1}


def test_one_that_leaves_changes_nothing_for_the_others(script: Script) -> None:
    script.ends = ending(5, 300)

    async def work() -> Any:
        waits = [asyncio.ensure_future(wait_for(name)) for name in script.ends]
        await asyncio.sleep(50)
        waits[0].cancel()
        waits[1].cancel()
        return await asyncio.gather(*waits, return_exceptions=True)

    found = run(work)
    assert [isinstance(each, asyncio.CancelledError) for each in found] == [True, True, False, False, False]


def test_the_last_that_leaves_stops_the_poll(script: Script) -> None:
    script.ends = ending(5, 1e9)

    async def work() -> None:
        waits = [asyncio.ensure_future(wait_for(name)) for name in script.ends]
        await asyncio.sleep(100)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        before = script.asked.total()
        await asyncio.sleep(1000)
        assert script.asked.total() == before

    run(work)


def test_leaving_in_the_middle_of_a_request_leaves_nothing(script: Script) -> None:
    script.ends = ending(5, 1e9)
    script.latency = 50

    async def work() -> None:
        waits = [asyncio.ensure_future(wait_for(name, first=1)) for name in script.ends]
        await asyncio.sleep(20)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    run(work)
    assert script.under_way == 0


def test_an_outage_reaches_all_and_costs_few_requests(script: Script) -> None:
    script.ends = ending(300, 1800)
    script.outage = (1200, 1800)

    async def work() -> None:
        async def wait(name: str) -> Any:
            trigger = PixxelJobTrigger("w", name, timeout=9000)
            trigger.clock = Clock(monotonic=asyncio.get_running_loop().time)
            return [event.payload["kind"] async for event in trigger.run()]

        assert await asyncio.gather(*map(wait, script.ends)) == [["succeeded"]] * 300

    logging.disable(logging.CRITICAL)
    run(work)
    logging.disable(logging.NOTSET)
    during = [at for at in script.times if 1200 <= at < 1800]
    assert 20 < len(during) < 150


def test_a_retry_after_is_honoured_for_all(script: Script) -> None:
    script.ends = ending(50, 1800)
    script.outage = (1100, 1101)
    script.error = PixxelRateLimitError("slow down", status_code=429, retry_after=250)

    async def work() -> None:
        async def asker() -> None:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(1100.5 - loop.time())
            await wait_for("job-0", first=0)

        await asyncio.gather(asker(), *(wait_for(name) for name in script.ends))

    run(work)
    turned_away = max(at for at in script.times if at < 1102)
    assert not [at for at in script.times if turned_away < at < turned_away + 250]


@pytest.mark.parametrize("wished", [400, 900, 86_400])
def test_one_answer_keeps_those_who_did_not_get_it_quiet_for_minutes_at_most(
    script: Script, wished: float
) -> None:
    script.ends = ending(2, 50)
    script.outage = (1000, 1010)
    script.error = PixxelRateLimitError("slow down", status_code=429, retry_after=wished)

    async def work() -> float:
        loop = asyncio.get_running_loop()
        async with subscribed("c", "w", "job-0", ended=has_ended, monotonic=loop.time) as jobs:
            assert isinstance(await jobs.next_answer(1), PixxelRateLimitError)
            await wait_for("job-1", first=0)
        return loop.time()

    assert run(work) == pytest.approx(1001 + poller.RETRY_AFTER_LIMIT, abs=5)


def test_a_retry_after_beyond_somebodys_deadline_leaves_one_last_look(script: Script) -> None:
    script.ends = ending(3, 50)
    script.outage = (1000, 1010)
    script.error = PixxelRateLimitError("slow down", status_code=429, retry_after=4000)

    async def work() -> float:
        loop = asyncio.get_running_loop()
        async with subscribed("c", "w", "job-0", ended=has_ended, monotonic=loop.time) as jobs:
            assert isinstance(await jobs.next_answer(1), PixxelRateLimitError)
            assert isinstance(await jobs.next_answer(20, at_most=100), Job)
        return loop.time()

    assert run(work) == pytest.approx(1101, abs=1)
    assert script.asked.total() == 2


def test_a_slow_answer_for_one_job_holds_up_no_other(script: Script) -> None:
    script.ends = ending(2, 100)
    script.list_bytes = 10**9
    slow = script.send

    async def send(hook: Any, call: Call[Any], **words: Any) -> Any:
        if call.path.endswith("job-0"):
            await asyncio.sleep(1000)
        return await slow(hook, call, **words)

    async def work() -> list[float]:
        script.send = send  # type: ignore[method-assign]
        loop = asyncio.get_running_loop()

        async def until_ended(name: str) -> float:
            await wait_for(name)
            return loop.time()

        return await asyncio.gather(*(until_ended(name) for name in script.ends))

    slow_end, quick_end = run(work)
    assert quick_end <= 1000 + 140
    assert slow_end >= 2000


def test_a_bug_in_the_poll_is_told_to_all(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(poller.SharedPoller, "_list_is_smaller", broken)

    async def work() -> Any:
        loop = asyncio.get_running_loop()
        async with subscribed("c", "w", "job-0", ended=has_ended, monotonic=loop.time) as jobs:
            return await jobs.next_answer(1)

    answer = run(work)
    assert isinstance(answer, PixxelError)
    assert "ZeroDivisionError" in str(answer)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["subscribe", "cancel", "fail", "finish", "hide", "restart", "refuse", "move", "unread"]
        ),
        st.integers(0, 7),
        st.floats(0, 90),
    ),
    max_size=25,
)


@settings(max_examples=HISTORIES, deadline=None)
@given(operations=OPERATIONS, seed=st.integers(0, 2**32), many_polls=st.booleans(), filters=st.booleans())
def test_whatever_happens_every_event_comes_once_and_nothing_stays(
    operations: list[tuple[str, int, float]], seed: int, many_polls: bool, filters: bool
) -> None:
    script = Script(ends={f"job-{n}": 1e9 for n in range(8)}, filters=filters)
    random.seed(seed)
    patch = pytest.MonkeyPatch()
    patch.setattr(poller, "MANY", 1 if many_polls else 33)
    script.serve(patch)
    logging.disable(logging.CRITICAL)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        waits: list[tuple[str, asyncio.Task[Any]]] = []

        def start(name: str) -> None:
            trigger = PixxelJobTrigger("w", name, poke_interval=10, timeout=1e7, not_found_grace=1e7)
            trigger.clock = Clock(monotonic=loop.time)

            async def events() -> list[Any]:
                return [event.payload async for event in trigger.run()]

            waits.append((name, asyncio.ensure_future(events())))

        for kind, number, pause in operations:
            name = f"job-{number}"
            if kind == "subscribe":
                start(name)
            elif kind == "cancel" and waits:
                waits[number % len(waits)][1].cancel()
            elif kind == "fail":
                script.outage = (loop.time(), loop.time() + pause)
            elif kind == "finish":
                script.ends[name] = min(script.ends[name], loop.time())
            elif kind == "hide":
                script.hidden ^= {name}
            elif kind == "restart":
                # A triggerer that goes takes its triggers along, and another begins them again.
                left = [(job, wait) for job, wait in waits if not wait.done()]
                for _, wait in left:
                    wait.cancel()
                await asyncio.gather(*(wait for _, wait in left), return_exceptions=True)
                for job, _ in left:
                    start(job)
            elif kind == "move":
                script.settings = settings_of(name)
            elif kind == "unread":
                script.unread = None if script.unread else PixxelConnectionError("vault", sent=False)
            elif kind == "refuse":
                script.list_error = PixxelAuthError("not for you", status_code=403)
            await asyncio.sleep(pause)
        for name in script.ends:
            script.ends[name] = min(script.ends[name], loop.time())
        for (_, wait), events in zip(
            waits, await asyncio.gather(*(w for _, w in waits), return_exceptions=True), strict=True
        ):
            if not wait.cancelled():
                assert [event["kind"] for event in events] == ["succeeded"]
                assert events[0]["metadata"]["tasks"], "told before it was read in full"

    try:
        run(work)
    finally:
        logging.disable(logging.NOTSET)
        patch.undo()
