"""Answers are requested once for all callers, and no caller waits longer than its limit."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest

from pixxel_provider.api.errors import (
    PixxelConnectionError,
    PixxelError,
    PixxelNotFoundError,
    PixxelRateLimitError,
    PixxelServerError,
)
from pixxel_provider.plugins.cache import AnswerCache, CachedAnswer
from pixxel_provider.plugins.threads import Threads
from tests.support import FakeClock

T = TypeVar("T")
#: Seconds: a limit that nothing here reaches, and one that nothing meets.
LONG = 20.0
AT_ONCE = 0.001


class Request:
    """A request to Pixxel in a thread, which waits while ``go`` isn't set; counts how often it was sent."""

    def __init__(self, *answers: Any, held: bool = False) -> None:
        self.answers, self.sent = list(answers), 0
        self.begun, self.go = threading.Event(), threading.Event()
        if not held:
            self.go.set()

    def __call__(self) -> Any:
        self.sent += 1
        self.begun.set()
        assert self.go.wait(LONG)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, LONG)


class Cache:
    """An AnswerCache with a clock of its own, for any requests with one connection."""

    def __init__(
        self, at_once: int = 2, waiting: int = 32, lifetime: Any = lambda _: 3, **options: Any
    ) -> None:
        self.clock = FakeClock(1_000.0)
        self.requests: dict[Any, Any] = {}
        self.answers: AnswerCache[Any, Any] = AnswerCache(
            Threads(at_once=at_once, waiting=waiting),
            lambda key: self.requests[key](),
            lifetime,
            **{"keep": 8, "room": 1_000, "size": lambda _: 1, "clock": self.clock, **options},
        )

    async def get(self, request: Any, key: str = "k", *, max_wait: float = LONG, conn_id: str = "c") -> Any:
        self.requests[conn_id, key] = request
        return await self.answers.get((conn_id, key), max_wait)

    def start(self, request: Any, key: str = "k", **options: Any) -> Any:
        return asyncio.ensure_future(self.get(request, key, **options))

    async def after(self, request: Any, *pauses: float) -> list[Any]:
        """Return the answers after each pause."""
        found = []
        for pause in pauses:
            self.clock.sleep(pause)
            found.append(await self.get(request))
        return found

    async def settled(self) -> None:
        """Wait until no request runs."""
        while running := [
            each.request for each in self.answers._entries.values() if each.request is not None
        ]:
            await asyncio.wait(running)

    def keys(self) -> list[str]:
        return [key for _, key in self.answers._entries]


@pytest.fixture
def cache() -> Cache:
    return Cache()


def run(work: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, 2 * LONG)

    return asyncio.run(bounded())


# -------------------------------------------------------------------------------------- fresh and stale


def test_a_fresh_answer_is_cached_and_a_stale_one_requested_again(cache: Cache) -> None:
    request = Request("first", "second")

    assert [each.value for each in run(cache.after(request, 0, 2.9, 0.1))] == ["first", "first", "second"]
    assert request.sent == 2


def test_each_answer_has_its_own_lifetime() -> None:
    cache, request = Cache(lifetime=lambda seconds: seconds), Request(60, 1)

    run(cache.after(request, 0, 59, 1, 0.5))
    assert request.sent == 2


def test_an_answer_has_the_time_at_which_it_was_given(cache: Cache) -> None:
    before = datetime.now(timezone.utc)
    answer = run(cache.get(Request("x")))

    assert timedelta(0) <= answer.at - before < timedelta(seconds=LONG)
    assert answer.error is None


def test_a_false_answer_is_cached_too(cache: Cache) -> None:
    request = Request(0)

    assert [(each.value, each.error) for each in run(cache.after(request, 0, 0))] == [(0, None)] * 2
    assert request.sent == 1


# ------------------------------------------------------------------------------- many callers, slow answers


def test_twenty_callers_at_once_cost_one_request(cache: Cache) -> None:
    request = Request("x", held=True)

    async def callers() -> list[CachedAnswer[Any]]:
        calls = [cache.start(request) for _ in range(20)]
        await request.has_begun()
        request.go.set()
        return await asyncio.gather(*calls)

    assert [each.value for each in run(callers())] == ["x"] * 20
    assert request.sent == 1


def test_a_slow_answer_blocks_nobody_and_is_cached_later() -> None:
    answers: list[Any] = []
    cache = Cache(on_answer=lambda *answer: answers.append(answer))
    request = Request("x", PixxelError("no"), held=True)

    async def calls() -> list[CachedAnswer[Any]]:
        early = [await cache.get(request, max_wait=AT_ONCE) for _ in range(2)]
        request.go.set()
        await cache.settled()
        later = await cache.get(request)
        cache.clock.sleep(3)
        return [*early, later, await cache.get(request)]

    *early, later, failed = run(calls())
    for answer in early:
        assert answer.value is None
        assert isinstance(answer.error, PixxelConnectionError)
        assert answer.error.transient
        assert "hasn't answered yet" in str(answer.error)
    assert (later.value, later.error) == ("x", None)
    assert isinstance(failed.error, PixxelError)
    assert request.sent == 2
    # Also of an answer that nobody waited for any more.
    assert answers == [(("c", "k"), "x", later.at)]


def test_the_cached_answer_is_returned_while_a_newer_one_is_slow(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixxel_provider.plugins.cache.KNOWN_WAIT", AT_ONCE)
    request = Request("old", "new")

    async def calls() -> list[Any]:
        first = await cache.get(request)
        request.go.clear()
        cache.clock.sleep(3)
        late = await cache.get(request, max_wait=LONG)
        request.go.set()
        await cache.settled()
        return [first, late, await cache.get(request)]

    first, late, new = run(calls())
    assert (first.value, first.error) == ("old", None)
    assert (late.value, late.at) == ("old", first.at)
    assert "hasn't answered yet" in str(late.error)
    assert (new.value, new.error) == ("new", None)


@pytest.mark.parametrize("who", ["first", "second", "timed out"])
def test_a_caller_that_gives_up_cancels_the_request_of_nobody_else(cache: Cache, who: str) -> None:
    request = Request("x", held=True)

    async def calls() -> Any:
        first = cache.start(request)
        await request.has_begun()
        second = cache.start(request, max_wait=AT_ONCE if who == "timed out" else LONG)
        await asyncio.sleep(0)
        leaving, staying = (first, second) if who == "first" else (second, first)
        if who == "timed out":
            await leaving
        else:
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        request.go.set()
        return (await staying).value

    assert run(calls()) == "x"
    assert request.sent == 1


# --------------------------------------------------------------------------------------------------- errors


def test_an_error_keeps_the_older_answer(cache: Cache) -> None:
    error = PixxelServerError("overloaded", status_code=503)

    first, second, third = run(cache.after(Request("old", error, "new"), 0, 5, 5))
    assert (second.value, second.at, second.error) == ("old", first.at, error)
    assert (third.value, third.error) == ("new", None)


def test_an_error_keeps_nothing_of_the_answer(cache: Cache) -> None:
    def request() -> Any:
        try:
            raise ValueError("the whole answer")
        except ValueError:
            raise PixxelNotFoundError("no such job", status_code=404)  # noqa: B904 - as careless code does

    answer = run(cache.get(request))

    assert (answer.value, answer.at) == (None, None)
    assert isinstance(answer.error, PixxelNotFoundError)
    # Frames would keep what they hold: an answer of a megabyte, the key.
    assert (answer.error.__context__, answer.error.__traceback__) == (None, None)


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [(None, 5.0), (0.0, 5.0), (1.0, 5.0), (42.0, 42.0), (300.0, 300.0), (86_400.0, 300.0)],
)
def test_retry_after_is_respected_within_limits(
    cache: Cache, retry_after: float | None, pause: float
) -> None:
    request = Request(PixxelRateLimitError("slow down", status_code=429, retry_after=retry_after), "x")

    def sent_after(seconds: float) -> int:
        run(cache.after(request, seconds))
        return request.sent

    assert [sent_after(seconds) for seconds in (0, pause - 0.1, 0.1)] == [1, 1, 2]


@pytest.mark.parametrize("lost", [ValueError("sig=s3cret"), KeyError("s3cret"), MemoryError("s3cret")])
def test_an_unexpected_error_is_quoted_in_the_log_alone(
    cache: Cache, lost: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="pixxel_provider.plugins.cache"):
        first, second, third = run(cache.after(Request(lost, "x"), 0, 4.9, 0.1))

    assert isinstance(first.error, PixxelError)
    assert "s3cret" not in repr(first) + str(first.error) + repr(vars(first.error))
    assert "log" in str(first.error)
    assert second.error is first.error
    assert third.value == "x"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is lost


def test_an_answer_whose_lifetime_fails_is_requested_again_later() -> None:
    cache, request = Cache(lifetime=lambda value: 1 / 0), Request("x")

    run(cache.after(request, 0, 4.9, 0.1))
    assert request.sent == 2


# --------------------------------------------------------------------------------------------------- limits


def test_only_so_many_requests_are_queued_and_others_get_the_cached_answer() -> None:
    cache = Cache(at_once=1, waiting=1)
    known, new = Request("old", "new"), Request("first")
    running, queued = Request("x", held=True), Request("x", held=True)

    async def calls() -> list[CachedAnswer[Any]]:
        await cache.get(known, "known")
        cache.clock.sleep(3)
        waiting = [cache.start(running, "running")]
        await running.has_begun()
        waiting.append(cache.start(queued, "queued"))
        await asyncio.sleep(0)
        refused = [await cache.get(known, "known"), await cache.get(new, "new")]
        assert (known.sent, new.sent) == (1, 0)
        running.go.set()
        queued.go.set()
        await asyncio.gather(*waiting)
        return [*refused, await cache.get(new, "new")]

    cached, missing, later = run(calls())
    assert (cached.value, cached.error) == ("old", None)
    assert isinstance(missing.error, PixxelConnectionError)
    assert later.value == "first"


def test_a_server_that_hangs_blocks_no_other(cache: Cache) -> None:
    hanging = [Request("x", held=True) for _ in range(40)]

    async def calls() -> tuple[CachedAnswer[Any], int]:
        started = [cache.start(each, str(number)) for number, each in enumerate(hanging)]
        for each in hanging[:2]:
            await each.has_begun()
        answer = await cache.get(Request("y"), conn_id="other")
        at_once = sum(each.begun.is_set() for each in hanging)
        for each in hanging:
            each.go.set()
        await asyncio.gather(*started)
        return answer, at_once

    answer, at_once = run(calls())
    assert answer.value == "y"
    assert at_once == 2


def test_answers_have_only_so_much_room_together() -> None:
    cache = Cache(room=100, size=len)

    async def calls() -> list[Any]:
        for key, size in (("a", 40), ("b", 40), ("c", 30)):
            await cache.get(Request("x" * size), key)
        first = cache.keys()
        # Too large by itself: its caller has it, and nobody later.
        answer = await cache.get(Request("x" * 101), "d")
        return [first, cache.keys(), len(answer.value)]

    assert run(calls()) == [["b", "c"], [], 101]


def test_an_answer_that_nobody_requests_is_dropped_after_ten_minutes() -> None:
    cache = Cache(lifetime=lambda _: 10_000)

    async def calls() -> list[Any]:
        await cache.get(Request("a"), "a")
        cache.clock.sleep(599)
        await cache.get(Request("b"), "b")
        kept = cache.keys()
        cache.clock.sleep(1)
        await cache.get(Request("b"), "b")
        return [kept, cache.keys()]

    assert run(calls()) == [["a", "b"], ["b"]]


def test_the_least_recently_requested_answer_is_dropped_first() -> None:
    cache = Cache(keep=2, lifetime=lambda _: 1_000)
    requests = {key: Request(key) for key in "abc"}

    async def calls() -> list[dict[str, int]]:
        counts = []
        for keys in ("abaca", "b"):
            for key in keys:
                assert (await cache.get(requests[key], key)).value == key
            counts.append({key: each.sent for key, each in requests.items()})
        assert len(cache.keys()) == 2
        return counts

    assert run(calls()) == [{"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 2, "c": 1}]


def test_an_entry_whose_request_runs_is_not_dropped() -> None:
    cache = Cache(keep=1)
    slow, quick = Request("slow", held=True), Request("quick")

    async def calls() -> list[Any]:
        first = cache.start(slow, "slow")
        await slow.has_begun()
        values = [(await cache.get(quick, "quick")).value]
        again = cache.start(slow, "slow")
        await asyncio.sleep(0)
        slow.go.set()
        return [*values, (await first).value, (await again).value]

    assert run(calls()) == ["quick", "slow", "slow"]
    assert slow.sent == 1
