"""The shared poll, with a clock that jumps and a server that is a script: requests are counted exactly."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixxel_provider import watch
from pixxel_provider.api.calls import Call
from pixxel_provider.api.errors import (
    PixxelAuthError,
    PixxelError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelResponseError,
    PixxelServerError,
)
from pixxel_provider.api.job import Job
from pixxel_provider.api.status import Verdict
from pixxel_provider.hooks.pixxel import PixxelAsyncHook
from pixxel_provider.triggers.pixxel import PixxelJobTrigger


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: with nothing ready, its clock jumps to the next timer."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self.now = max(self.now, min(timers))
        super()._run_once()  # type: ignore[misc]


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run in a jumping loop; nothing may be left over at the end."""
    loop = JumpingLoop()
    try:
        result = loop.run_until_complete(asyncio.wait_for(work(), 10_000_000))
        for _ in range(5):
            loop.run_until_complete(asyncio.sleep(0))
        assert not asyncio.all_tasks(loop)
        assert not watch._CONNECTIONS
        return result
    finally:
        loop.close()


@dataclass
class Script:
    """A server in this process. ``ends`` holds when each job ends; a list tells what the jobs do."""

    ends: dict[str, float] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    list_error: PixxelError | None = None
    list_bytes: int = 1_000
    job_bytes: int = 8_000
    outage: tuple[float, float] = (0, 0)
    error: PixxelError = field(default_factory=lambda: PixxelServerError("busy", status_code=503))
    latency: float = 0.01
    asked: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0

    async def send(self, _: Any, call: Call[Any], *, patience: float = 0, weigh: Any = None) -> Any:
        loop = asyncio.get_running_loop()
        self.asked[call.name] += 1
        self.times.append(loop.time())
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.under_way -= 1
        if self.outage[0] <= loop.time() < self.outage[1]:
            raise self.error
        if call.name == "list_jobs":
            if self.list_error is not None:
                raise self.list_error
            weigh(self.list_bytes)
            return [self.job(name, full=False) for name in self.ends if name not in self.hidden]
        weigh(self.job_bytes)
        name = call.path.rsplit("/", 1)[-1]
        if name not in self.ends:
            raise PixxelNotFoundError("no such job", status_code=404)
        return self.job(name, full=True)

    def job(self, name: str, *, full: bool) -> Job:
        ended = asyncio.get_running_loop().time() >= self.ends[name]
        answer: dict[str, Any] = {"id": name, "status": "completed" if ended else "running"}
        if full:
            answer["tasks"] = [{"name": "one", "status": answer["status"]}]
        return Job.read(answer)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    found = Script()
    monkeypatch.setattr(PixxelAsyncHook, "send", lambda hook, call, **words: found.send(hook, call, **words))
    return found


def has_ended(job: Job) -> bool:
    return job.verdict() is not Verdict.WAITING


async def wait_for(job_id: str, interval: float = 30, first: float | None = None) -> tuple[Job, list[float]]:
    """Wait as a trigger does; return the job and when each look came."""
    loop = asyncio.get_running_loop()
    looks = []
    async with watch.subscribe("c", "w", job_id, ended=has_ended, monotonic=loop.time) as jobs:
        delay = interval * random.random() if first is None else first
        while True:
            answer = await jobs.look(delay)
            looks.append(loop.time())
            if isinstance(answer, Job) and has_ended(answer):
                return answer, looks
            delay = interval * (0.8 + 0.2 * jobs.chance())


def ending(count: int, at: float) -> dict[str, float]:
    return {f"job-{n}": 1000.0 + at for n in range(count)}


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


def test_who_shares_lists_shares_the_jitter_and_nobody_else(script: Script) -> None:
    script.ends = ending(20, 3000)

    async def chances() -> list[float]:
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            all_of_them = [
                await stack.enter_async_context(
                    watch.subscribe("c", "w", name, ended=has_ended, monotonic=loop.time)
                )
                for name in script.ends
            ]
            found = []
            for _ in range(2):
                await asyncio.gather(*(jobs.look(1) for jobs in all_of_them))
                found.append({jobs.chance() for jobs in all_of_them})
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
            async with watch.subscribe("c", "w", name, ended=has_ended, monotonic=loop.time) as jobs:
                await jobs.look(1)
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


def test_a_job_that_is_missing_from_the_list_is_asked_for_by_id(script: Script) -> None:
    script.ends = ending(10, 600)
    script.hidden = {"job-3"}

    async def work() -> None:
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    assert script.asked["list_jobs"] >= 20
    assert 9 + 20 <= script.asked["get_job"] <= 9 + 30


def test_a_job_that_exists_nowhere_is_told_as_such(script: Script) -> None:
    script.ends = ending(3, 60)

    async def work() -> Any:
        async def lost() -> Any:
            async with watch.subscribe(
                "c", "w", "nowhere", ended=has_ended, monotonic=asyncio.get_running_loop().time
            ) as jobs:
                return await jobs.look(10)

        return (await asyncio.gather(lost(), *(wait_for(name) for name in script.ends)))[0]

    assert isinstance(run(work), PixxelNotFoundError)


@pytest.mark.parametrize(
    "error",
    [
        PixxelAuthError("not for you", status_code=403),
        PixxelNotFoundError("no list here", status_code=404),
        PixxelResponseError("the answer isn't JSON"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_list_that_can_not_be_had_is_asked_for_once_and_said_once(
    script: Script, error: PixxelError, caplog: pytest.LogCaptureFixture
) -> None:
    script.ends = ending(10, 300)
    script.list_error = error

    async def work() -> None:
        await asyncio.gather(*(wait_for(name) for name in script.ends))

    run(work)
    assert script.asked["list_jobs"] == 1
    assert sum("one by one" in line for line in caplog.messages) == 1


def test_a_wrong_key_is_told_to_all(script: Script) -> None:
    script.ends = ending(10, 300)
    script.list_error = PixxelAuthError("who are you", status_code=401)

    async def work() -> list[Any]:
        async def look(name: str) -> Any:
            loop = asyncio.get_running_loop()
            async with watch.subscribe("c", "w", name, ended=has_ended, monotonic=loop.time) as jobs:
                return await jobs.look(5)

        return await asyncio.gather(*(look(name) for name in script.ends))

    assert {type(answer) for answer in run(work)} == {PixxelAuthError}
    assert script.asked == {"list_jobs": 1}


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
            trigger._monotonic = asyncio.get_running_loop().time  # type: ignore[method-assign]
            return [event.payload["kind"] async for event in trigger.run()]

        assert await asyncio.gather(*map(wait, script.ends)) == [["succeeded"]] * 300

    logging.disable(logging.CRITICAL)
    run(work)
    logging.disable(logging.NOTSET)
    during = [at for at in script.times if 1200 <= at < 1800]
    assert 20 < len(during) < 150


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


def test_a_retry_after_is_honoured_for_all(script: Script) -> None:
    script.ends = ending(50, 1800)
    script.outage = (1100, 1101)
    script.error = PixxelRateLimitError("slow down", status_code=429, retry_after=400)

    async def work() -> None:
        async def asker() -> None:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(1100.5 - loop.time())
            await wait_for("job-0", first=0)

        await asyncio.gather(asker(), *(wait_for(name) for name in script.ends))

    run(work)
    turned_away = max(at for at in script.times if at < 1102)
    assert not [at for at in script.times if turned_away < at < turned_away + 400]


def test_a_retry_after_beyond_somebodys_deadline_leaves_one_last_look(script: Script) -> None:
    script.ends = ending(3, 50)
    script.outage = (1000, 1010)
    script.error = PixxelRateLimitError("slow down", status_code=429, retry_after=4000)

    async def work() -> float:
        loop = asyncio.get_running_loop()
        async with watch.subscribe("c", "w", "job-0", ended=has_ended, monotonic=loop.time) as jobs:
            assert isinstance(await jobs.look(1), PixxelRateLimitError)
            assert isinstance(await jobs.look(20, at_most=100), Job)
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

    monkeypatch.setattr(watch.JobWatcher, "_list_is_lighter", broken)

    async def work() -> Any:
        loop = asyncio.get_running_loop()
        async with watch.subscribe("c", "w", "job-0", ended=has_ended, monotonic=loop.time) as jobs:
            return await jobs.look(1)

    answer = run(work)
    assert isinstance(answer, PixxelError)
    assert "ZeroDivisionError" in str(answer)


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


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["subscribe", "cancel", "fail", "finish", "hide", "restart", "refuse"]),
        st.integers(0, 7),
        st.floats(0, 90),
    ),
    max_size=25,
)


@settings(max_examples=500, deadline=None)
@given(operations=OPERATIONS, seed=st.integers(0, 2**32))
def test_whatever_happens_every_event_comes_once_and_nothing_stays(
    operations: list[tuple[str, int, float]], seed: int
) -> None:
    script = Script(ends={f"job-{n}": 1e9 for n in range(8)})
    random.seed(seed)
    patch = pytest.MonkeyPatch()
    patch.setattr(PixxelAsyncHook, "send", lambda hook, call, **words: script.send(hook, call, **words))
    logging.disable(logging.CRITICAL)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        waits: list[tuple[str, asyncio.Task[Any]]] = []

        def start(name: str) -> None:
            trigger = PixxelJobTrigger("w", name, poke_interval=10, timeout=1e7, not_found_grace=1e7)
            trigger._monotonic = loop.time  # type: ignore[method-assign]

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
