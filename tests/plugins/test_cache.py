"""What is asked for many is asked once, and nobody waits longer than they want to."""

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
#: Seconds; nothing of what is waited for takes them.
LONG = 20.0
AT_ONCE = 0.001


class Question:
    """Asks Pixxel in a thread, which a closed one holds up; counts how often."""

    def __init__(self, *answers: Any, closed: bool = False) -> None:
        self.answers, self.asked = list(answers), 0
        self.begun, self.open = threading.Event(), threading.Event()
        if not closed:
            self.open.set()

    def __call__(self) -> Any:
        self.asked += 1
        self.begun.set()
        assert self.open.wait(LONG)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Desk:
    """AnswerCache, a clock of their own, and a short way to ask."""

    def __init__(self, threads: Threads, **options: Any) -> None:
        self.clock = FakeClock(1_000.0)
        options = {"keep": 8, "room": 1_000, "size": lambda _: 1, **options}
        self.answers: AnswerCache[Any] = AnswerCache(threads, clock=self.clock, **options)

    async def get(self, question: Question, key: Any = "k", *, lasts: float = 3, **options: Any) -> Any:
        return await self.answers.get(
            key, question, lambda _: lasts, **{"lane": None, "max_wait": LONG, **options}
        )

    async def after(self, question: Question, *pauses: float) -> list[Any]:
        """Ask after each pause; return the answers."""
        found = []
        for pause in pauses:
            self.clock.sleep(pause)
            found.append(await self.get(question))
        return found


@pytest.fixture
def threads() -> Threads:
    return Threads(at_once=2, waiting=32)


@pytest.fixture
def desk(threads: Threads) -> Desk:
    return Desk(threads)


def run(work: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, 2 * LONG)

    return asyncio.run(bounded())


async def has_begun(question: Question) -> None:
    assert await asyncio.to_thread(question.begun.wait, LONG)


async def settled(desk: Desk) -> None:
    """Wait until nothing is being asked."""
    while asking := [each.asking for each in desk.answers._entries.values() if each.asking is not None]:
        await asyncio.wait(asking)


def words(found: CachedAnswer[Any]) -> str:
    return repr(found) + str(found.trouble) + repr(vars(found.trouble) if found.trouble else "")


# ------------------------------------------------------------------------------------------ fresh and stale


def test_a_fresh_answer_comes_from_memory_and_a_stale_one_is_asked_for(desk: Desk) -> None:
    question = Question("first", "second")

    assert [found.value for found in run(desk.after(question, 0, 2.9, 0.1))] == ["first", "first", "second"]
    assert question.asked == 2


def test_each_answer_says_itself_how_long_it_lasts(desk: Desk) -> None:
    question = Question(60, 1)

    async def look() -> None:
        for pause in (0, 59, 1, 0.5):
            desk.clock.sleep(pause)
            await desk.answers.get("k", question, lambda seconds: seconds, lane=None, max_wait=LONG)

    run(look())
    assert question.asked == 2


def test_an_answer_says_when_it_was_given(desk: Desk) -> None:
    before = datetime.now(timezone.utc)
    found = run(desk.get(Question("x")))

    assert found.at is not None
    assert timedelta(0) <= found.at - before < timedelta(seconds=LONG)
    assert found.trouble is None


def test_an_answer_that_is_false_is_an_answer(desk: Desk) -> None:
    question = Question(0)

    assert [(found.value, found.trouble) for found in run(desk.after(question, 0, 0))] == [(0, None)] * 2
    assert question.asked == 1


def test_different_keys_are_different_questions(desk: Desk) -> None:
    one, other = Question("one"), Question("other")

    async def both() -> list[Any]:
        return [(await desk.get(one, "a")).value, (await desk.get(other, "b")).value]

    assert run(both()) == ["one", "other"]


# -------------------------------------------------------------------------------------------- many who look


def test_twenty_who_ask_at_once_cost_one_question(desk: Desk) -> None:
    question = Question("x", closed=True)

    async def crowd() -> list[CachedAnswer[Any]]:
        looks = [asyncio.ensure_future(desk.get(question)) for _ in range(20)]
        await has_begun(question)
        question.open.set()
        return await asyncio.gather(*looks)

    found = run(crowd())
    assert [each.value for each in found] == ["x"] * 20
    assert question.asked == 1


def test_a_slow_answer_holds_nobody_up_and_is_there_later(desk: Desk) -> None:
    question = Question("x", closed=True)

    async def look() -> list[CachedAnswer[Any]]:
        hurried = await desk.get(question, max_wait=AT_ONCE)
        again = await desk.get(question, max_wait=AT_ONCE)
        question.open.set()
        await settled(desk)
        return [hurried, again, await desk.get(question)]

    hurried, again, later = run(look())
    for found in (hurried, again):
        assert found.value is None
        assert isinstance(found.trouble, PixxelConnectionError)
        assert found.trouble.transient
        assert "hasn't answered yet" in str(found.trouble)
    assert later.value == "x"
    assert later.trouble is None
    assert question.asked == 1


def test_what_was_known_has_to_do_while_a_newer_answer_takes_its_time(desk: Desk) -> None:
    question = Question("old", "new")

    async def look() -> list[Any]:
        seen = [(await desk.get(question)).value]
        question.open.clear()
        desk.clock.sleep(3)
        seen.append((await desk.get(question, max_wait=AT_ONCE)).value)
        question.open.set()
        await settled(desk)
        seen.append((await desk.get(question)).value)
        return seen

    assert run(look()) == ["old", "old", "new"]


def test_each_answer_is_told_also_a_late_one(threads: Threads) -> None:
    told: list[Any] = []
    desk = Desk(threads, told=lambda *answer: told.append(answer))
    question = Question("x", PixxelError("no"), closed=True)

    async def look() -> CachedAnswer[Any]:
        assert (await desk.get(question, max_wait=AT_ONCE)).value is None
        question.open.set()
        await settled(desk)
        desk.clock.sleep(3)
        return await desk.get(question)

    found = run(look())
    assert isinstance(found.trouble, PixxelError)
    assert told == [("k", "x", found.at)]


@pytest.mark.parametrize("how", ["out of time", "gone"])
def test_whoever_gives_up_takes_the_answer_from_nobody(desk: Desk, how: str) -> None:
    question = Question("x", closed=True)

    async def look() -> Any:
        patient = asyncio.ensure_future(desk.get(question))
        await has_begun(question)
        if how == "gone":
            hurried = asyncio.ensure_future(desk.get(question))
            await asyncio.sleep(0)
            hurried.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hurried
        else:
            await desk.get(question, max_wait=AT_ONCE)
        question.open.set()
        return (await patient).value

    assert run(look()) == "x"
    assert question.asked == 1


def test_the_first_who_asked_may_go_too(desk: Desk) -> None:
    question = Question("x", closed=True)

    async def look() -> Any:
        first = asyncio.ensure_future(desk.get(question))
        await has_begun(question)
        second = asyncio.ensure_future(desk.get(question))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        question.open.set()
        return (await second).value

    assert run(look()) == "x"
    assert question.asked == 1


# -------------------------------------------------------------------------------------------------- trouble


def test_trouble_keeps_the_older_answer_beside_it(desk: Desk) -> None:
    trouble = PixxelServerError("overloaded", status_code=503)
    question = Question("old", trouble, "new")

    first, second, third = run(desk.after(question, 0, 5, 5))
    assert (second.value, second.at, second.trouble) == ("old", first.at, trouble)
    assert (third.value, third.trouble) == ("new", None)


def test_trouble_without_an_older_answer_is_all_there_is(desk: Desk) -> None:
    found = run(desk.get(Question(PixxelNotFoundError("no such job", status_code=404))))

    assert found.value is None
    assert found.at is None
    assert isinstance(found.trouble, PixxelNotFoundError)
    # It would keep whatever the frames hold: an answer of a megabyte, the key.
    assert found.trouble.__traceback__ is None


@pytest.mark.parametrize(
    ("wanted", "pause"),
    [(None, 5.0), (0.0, 5.0), (1.0, 5.0), (42.0, 42.0), (300.0, 300.0), (86_400.0, 300.0)],
)
def test_a_server_is_left_alone_for_as_long_as_it_asks_within_reason(
    desk: Desk, wanted: float | None, pause: float
) -> None:
    question = Question(PixxelRateLimitError("slow down", status_code=429, retry_after=wanted), "x")

    def asked_after(seconds: float) -> int:
        run(desk.after(question, seconds))
        return question.asked

    assert [asked_after(seconds) for seconds in (0, pause - 0.1, 0.1)] == [1, 1, 2]


@pytest.mark.parametrize("lost", [ValueError("sig=s3cret"), KeyError("s3cret"), MemoryError("s3cret")])
def test_the_unexpected_gives_no_words_away_and_is_logged(
    desk: Desk, lost: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    question = Question(lost, "x")

    with caplog.at_level(logging.ERROR, logger="pixxel_provider.plugins.cache"):
        first, second, third = run(desk.after(question, 0, 4.9, 0.1))

    assert isinstance(first.trouble, PixxelError)
    assert "s3cret" not in words(first)
    assert "log" in str(first.trouble)
    assert second.trouble is first.trouble
    assert third.value == "x"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is lost


def test_an_answer_whose_age_cannot_be_told_is_asked_for_again_later(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    question = Question("x")

    def lasts(_: Any) -> float:
        raise ZeroDivisionError

    async def look() -> None:
        for pause in (0, 4.9, 0.1):
            desk.clock.sleep(pause)
            await desk.answers.get("k", question, lasts, lane=None, max_wait=LONG)

    run(look())
    assert question.asked == 2


# --------------------------------------------------------------------------------------------------- bounds


def test_only_so_many_wait_for_a_thread() -> None:
    desk = Desk(Threads(at_once=1, waiting=1))
    held, other, third = Question("a", closed=True), Question("b", closed=True), Question("c")

    async def look() -> list[CachedAnswer[Any]]:
        first = [asyncio.ensure_future(desk.get(held, "a"))]
        await has_begun(held)
        first.append(asyncio.ensure_future(desk.get(other, "b")))
        await asyncio.sleep(0)
        refused = await desk.get(third, "c")
        assert third.asked == 0
        held.open.set()
        other.open.set()
        await asyncio.gather(*first)
        return [refused, await desk.get(third, "c")]

    refused, later = run(look())
    assert isinstance(refused.trouble, PixxelConnectionError)
    assert later.value == "c"


def test_a_server_that_hangs_holds_up_no_other(threads: Threads) -> None:
    desk = Desk(threads)
    hanging = [Question("x", closed=True) for _ in range(40)]

    async def look() -> tuple[CachedAnswer[Any], int]:
        looks = [asyncio.ensure_future(desk.get(each, at, lane="one")) for at, each in enumerate(hanging)]
        for each in hanging[:2]:
            await has_begun(each)
        found = await desk.get(Question("y"), "y", lane="other")
        at_once = sum(each.begun.is_set() for each in hanging)
        for each in hanging:
            each.open.set()
        await asyncio.gather(*looks)
        return found, at_once

    found, at_once = run(look())
    assert found.value == "y"
    assert at_once == 2


def test_a_full_house_gets_what_was_known() -> None:
    desk = Desk(Threads(at_once=1, waiting=1))
    known, slow, next_one = Question("old", "new"), Question("x", closed=True), Question("x", closed=True)

    async def look() -> Any:
        await desk.get(known, "known")
        desk.clock.sleep(3)
        waiting = [asyncio.ensure_future(desk.get(slow, "slow"))]
        await has_begun(slow)
        waiting.append(asyncio.ensure_future(desk.get(next_one, "next")))
        await asyncio.sleep(0)
        found = await desk.get(known, "known")
        slow.open.set()
        next_one.open.set()
        await asyncio.gather(*waiting)
        return found

    found = run(look())
    assert (found.value, found.trouble) == ("old", None)
    assert known.asked == 1


def test_answers_have_only_so_much_room_together(threads: Threads) -> None:
    desk = Desk(threads, room=100, size=len)

    async def look() -> list[Any]:
        for key, size in (("a", 40), ("b", 40), ("c", 30)):
            await desk.get(Question("x" * size), key)
        first = list(desk.answers._entries)
        # Too large by itself: whoever asked has it, and nobody later.
        found = await desk.get(Question("x" * 101), "d")
        return [first, list(desk.answers._entries), len(found.value)]

    assert run(look()) == [["b", "c"], [], 101]


def test_what_nobody_looks_at_is_forgotten_after_ten_minutes(threads: Threads) -> None:
    desk = Desk(threads)

    async def look() -> list[Any]:
        await desk.get(Question("a"), "a", lasts=10_000)
        desk.clock.sleep(599)
        await desk.get(Question("b"), "b")
        kept = list(desk.answers._entries)
        desk.clock.sleep(1)
        await desk.get(Question("b"), "b")
        return [kept, list(desk.answers._entries)]

    assert run(look()) == [["a", "b"], ["b"]]


def test_an_error_keeps_nothing_of_the_answer(threads: Threads) -> None:
    desk = Desk(threads)

    def ask() -> Any:
        try:
            raise ValueError("the whole answer")
        except ValueError:
            raise PixxelError("no")  # noqa: B904 - as careless code does

    found = run(desk.answers.get("k", ask, lambda _: 3, lane=None, max_wait=LONG))

    assert found.trouble is not None
    assert (found.trouble.__context__, found.trouble.__traceback__) == (None, None)


def test_what_nobody_looked_at_for_longest_is_forgotten(threads: Threads) -> None:
    desk = Desk(threads, keep=2)
    questions = {key: Question(key) for key in "abc"}

    async def look() -> dict[str, int]:
        for key in "abac" + "a":
            await desk.get(questions[key], key, lasts=1_000)
        before = {key: each.asked for key, each in questions.items()}
        await desk.get(questions["b"], "b", lasts=1_000)
        assert len(desk.answers._entries) == 2
        return before

    assert run(look()) == {"a": 1, "b": 1, "c": 1}
    assert questions["b"].asked == 2


def test_what_is_being_asked_is_not_forgotten(threads: Threads) -> None:
    desk = Desk(threads, keep=1)
    slow, quick = Question("slow", closed=True), Question("quick")

    async def look() -> list[Any]:
        first = asyncio.ensure_future(desk.get(slow, "slow"))
        await has_begun(slow)
        seen = [(await desk.get(quick, "quick")).value]
        again = asyncio.ensure_future(desk.get(slow, "slow"))
        await asyncio.sleep(0)
        slow.open.set()
        return [*seen, (await first).value, (await again).value]

    assert run(look()) == ["quick", "slow", "slow"]
    assert slow.asked == 1
