"""The shared poll where all goes well: requests are counted exactly."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from typing import Any

import pytest

from pixxel_provider import poller
from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelResponseError,
    PixxelServerError,
)
from pixxel_provider.api.job import Job
from tests.poller_support import Script, ending, has_ended, run, subscribed, wait_for


def test_a_thousand_jobs_cost_one_request_an_interval(script: Script) -> None:
    script.ends = ending(1000, 3000)

    async def work() -> None:
        found = await asyncio.gather(*(wait_for(name) for name in script.ends))
        assert all(job.tasks for job, _ in found)

    run(work)
    # 3,000 s by 24 to 30 s; if each threw its own dice, the earliest of a thousand would make it 125.
    # And each job in full once, when it has ended.
    assert 100 <= script.asked["list_jobs"] <= 119
    assert script.asked["get_job"] == 1000


def test_all_who_want_the_whole_list_share_it(script: Script) -> None:
    script.ends = ending(2, 0)

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        async with subscribed("c", "w", None, ended=has_ended, monotonic=loop.time) as jobs:
            delay = 30 * random.random()
            while loop.time() < 4000:
                assert len(await jobs.next_answer(delay)) == 2  # type: ignore[arg-type]
                delay = 30 * (0.8 + 0.2 * jobs.jitter())

    async def work() -> None:
        await asyncio.gather(*(wait() for _ in range(1000)))

    run(work)
    assert 100 <= script.asked["list_jobs"] <= 120
    assert script.asked["get_job"] == 0


def test_who_shares_lists_shares_the_jitter_and_nobody_else(script: Script) -> None:
    script.ends = ending(20, 3000)

    async def chances() -> list[float]:
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            all_of_them = [
                await stack.enter_async_context(
                    subscribed("c", "w", name, ended=has_ended, monotonic=loop.time)
                )
                for name in script.ends
            ]
            found = []
            for _ in range(2):
                await asyncio.gather(*(jobs.next_answer(1) for jobs in all_of_them))
                found.append({jobs.jitter() for jobs in all_of_them})
            return found

    first, second = run(chances)
    assert len(first) == len(second) == 1
    assert first != second
    script.list_error = PixxelAuthError("no lists", status_code=403)
    for each in run(chances):
        assert len(each) == 20


def test_the_news_of_a_long_list_leave_the_loop_time_for_others(script: Script) -> None:
    script.ends = ending(200, 3000)
    told: Counter[int] = Counter()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        turn = 0

        def tick() -> None:
            nonlocal turn
            turn += 1
            if sum(told.values()) < 200:
                loop.call_soon(tick)

        async def one(name: str) -> None:
            async with subscribed("c", "w", name, ended=has_ended, monotonic=loop.time) as jobs:
                await jobs.next_answer(1)
                if not told:
                    # Not before: this loop's clock jumps only when nothing is ready.
                    tick()
                told[turn] += 1

        await asyncio.gather(*(one(name) for name in script.ends))

    run(work)
    assert sum(told.values()) == 200
    assert max(told.values()) <= 25


def test_one_watched_job_is_one_get(script: Script) -> None:
    script.ends = ending(1, 300)
    run(lambda: wait_for("job-0"))
    assert script.asked["list_jobs"] == 0
    # The first at any moment, then one in 24 s at the most.
    assert script.asked["get_job"] <= 1 + 300 / 24 + 1


def test_several_who_watch_the_same_job_are_one_get(script: Script) -> None:
    script.ends = ending(1, 300)

    async def work() -> None:
        await asyncio.gather(*(wait_for("job-0", first=5) for _ in range(20)))

    run(work)
    assert script.asked["list_jobs"] == 0
    # The earliest of twenty decides: one in 24 s.
    assert script.asked["get_job"] <= 1 + 300 / 24 + 1


async def watch_one_job_of_each(script: Script) -> list[tuple[Job, list[float]]]:
    return await asyncio.gather(
        *(wait_for(name, workflow_id=f"w-{number}") for number, name in enumerate(script.ends))
    )


def test_few_jobs_watched_alone_are_read_in_full_each_time(script: Script) -> None:
    script.ends = ending(poller.MANY - 1, 300)
    run(lambda: watch_one_job_of_each(script))
    assert set(script.asked) == {"get_job"}


def test_many_jobs_watched_alone_are_read_in_full_only_once_they_look_ended(script: Script) -> None:
    script.ends = ending(poller.MANY + 10, 300)
    found = run(lambda: watch_one_job_of_each(script))
    assert all(job.tasks for job, _ in found)
    assert script.asked["get_job"] == len(script.ends)
    # The same looks as ever, by a filtered list; the last that are left aren't many any more.
    looks = sum(len(times) for _, times in found)
    assert looks - (poller.MANY - 1) <= script.asked["list_jobs"] <= looks


def test_where_the_list_is_not_filtered_each_workflow_finds_out_once(script: Script) -> None:
    script.ends = ending(poller.MANY, 300)
    script.filters, script.list_bytes = False, 500_000
    run(lambda: watch_one_job_of_each(script))
    assert script.asked["list_jobs"] == len(script.ends)


def test_where_the_filtered_list_has_no_such_job_it_is_not_asked_again(script: Script) -> None:
    script.ends = ending(poller.MANY, 300)
    script.hidden = set(script.ends)
    found = run(lambda: watch_one_job_of_each(script))
    assert script.asked["list_jobs"] == len(script.ends)
    assert script.asked["get_job"] == sum(len(looks) for _, looks in found)


def test_where_lists_are_refused_each_workflow_is_told_so_once(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.ends = ending(poller.MANY, 300)
    script.list_error = PixxelAuthError("not for you", status_code=403)
    run(lambda: watch_one_job_of_each(script))
    assert script.asked["list_jobs"] == len(script.ends)
    assert sum("one by one" in line for line in caplog.messages) == len(script.ends)


def test_an_outage_is_told_without_a_second_request(script: Script) -> None:
    script.ends = ending(poller.MANY, 3000)
    script.outage = (0.0, 2000.0)

    async def work() -> list[Any]:
        async def next_answer(number: int, name: str) -> Any:
            loop = asyncio.get_running_loop()
            async with subscribed("c", f"w-{number}", name, ended=has_ended, monotonic=loop.time) as it:
                return await it.next_answer(5)

        return await asyncio.gather(*(next_answer(*job) for job in enumerate(script.ends)))

    assert {type(answer) for answer in run(work)} == {PixxelServerError}
    assert script.asked == {"list_jobs": len(script.ends)}


def test_a_job_that_is_missing_from_the_list_is_asked_for_by_id(script: Script) -> None:
    script.ends = ending(10, 600)
    script.hidden = {"job-3"}

    async def work() -> None:
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    assert script.asked["list_jobs"] >= 20
    assert 9 + 20 <= script.asked["get_job"] <= 9 + 30


def test_a_long_history_is_not_downloaded_for_two_jobs(script: Script) -> None:
    script.ends = ending(2, 3000)
    script.list_bytes = 500_000

    async def work() -> None:
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    assert script.asked["list_jobs"] == 1
    assert script.asked["get_job"] >= 200


def test_each_is_served_at_least_as_often_as_it_asked(script: Script) -> None:
    script.ends = ending(6, 600)
    intervals = dict(zip(script.ends, (5, 20, 60, 60, 60, 60), strict=True))

    async def work() -> list[Any]:
        return await asyncio.gather(*(wait_for(name, interval) for name, interval in intervals.items()))

    for interval, (_, looks) in zip(intervals.values(), run(work), strict=True):
        gaps = [b - a for a, b in itertools.pairwise(looks)]
        assert max(gaps) <= interval + 0.1


def test_a_job_is_asked_for_once_at_a_time(script: Script) -> None:
    script.ends = {**ending(3, 1000), "job-0": 1100}
    quick = script.send
    of_job_0 = []

    async def send(hook: Any, call: Call[Any], **words: Any) -> Any:
        if call.path.endswith("job-0"):
            of_job_0.append(call)
            await asyncio.sleep(400)
        return await quick(hook, call, **words)

    async def work() -> None:
        script.send = send  # type: ignore[method-assign]

        async def latecomer() -> Any:
            await asyncio.sleep(200)
            return await wait_for("job-0", first=5)

        await asyncio.gather(latecomer(), *(wait_for(name) for name in script.ends))

    run(work)
    assert len(of_job_0) == 1
    assert script.asked["list_jobs"] < 50


def test_a_poll_writes_into_nobodys_task_log(script: Script) -> None:
    import contextvars

    task_log: contextvars.ContextVar[str] = contextvars.ContextVar("task_log", default="nobody's")
    seen = []
    slow = script.send

    async def send(hook: Any, call: Call[Any], **words: Any) -> Any:
        seen.append(task_log.get())
        return await slow(hook, call, **words)

    script.send = send  # type: ignore[method-assign]
    script.ends = ending(3, 60)

    async def work() -> None:
        async def as_a_task(name: str) -> None:
            task_log.set(name)
            await wait_for(name)

        await asyncio.gather(*(asyncio.ensure_future(as_a_task(name)) for name in script.ends))

    run(work)
    assert set(seen) == {"nobody's"}


# --------------------------------------------------------------------------------------- who wants the list


async def lists(times: int, interval: float = 30) -> list[Any]:
    """Ask for the list so many times, as a watcher does."""
    loop = asyncio.get_running_loop()
    async with subscribed("c", "w", None, ended=has_ended, monotonic=loop.time) as jobs:
        return [await jobs.next_answer(interval) for _ in range(times)]


def test_a_watcher_of_the_list_alone_costs_one_list_an_interval(script: Script) -> None:
    script.ends = ending(3, 3000)
    found = run(lambda: lists(5))
    assert [sorted(job.id for job in each) for each in found] == [["job-0", "job-1", "job-2"]] * 5
    assert script.asked == {"list_jobs": 5}


def test_one_sensor_and_one_watcher_share_the_list(script: Script) -> None:
    script.ends = ending(1, 300)

    async def work() -> None:
        await asyncio.gather(lists(14), wait_for("job-0", first=30))

    run(work)
    assert script.asked["get_job"] == 1
    assert script.asked["list_jobs"] == 14


@pytest.mark.parametrize("status", [403, 404])
def test_a_key_that_may_not_list_jobs_is_told_to_watchers_and_waits_go_on(
    script: Script, status: int
) -> None:
    script.ends = ending(2, 300)
    script.list_error = PixxelAuthError("no lists", status_code=status)

    async def work() -> list[Any]:
        found, *_ = await asyncio.gather(lists(5), *(wait_for(name) for name in script.ends))
        return list(found)

    assert run(work) == [script.list_error] * 5
    assert script.asked["get_job"] >= 2


def test_lists_that_can_not_be_read_are_told_to_watchers_each_time(script: Script) -> None:
    script.ends = ending(2, 400)
    script.list_error = PixxelResponseError("not JSON")

    async def work() -> list[Any]:
        found, *_ = await asyncio.gather(lists(8), *(wait_for(name) for name in script.ends))
        return list(found)

    assert run(work) == [script.list_error] * 8
