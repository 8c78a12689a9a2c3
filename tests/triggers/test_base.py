"""The triggers fire once, with how the wait ended, and may be run again."""

from __future__ import annotations

import asyncio
import copy
import inspect
import itertools
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.judges import PackagePoll
from pixxel_provider.api.polling import WaitPlan
from pixxel_provider.clock import Clock
from pixxel_provider.outcome import result_of, started_at
from pixxel_provider.triggers.base import PixxelWaitTrigger
from pixxel_provider.triggers.pixxel import PixxelJobTrigger
from tests.support import FakeClock

WAIT: dict[str, Any] = {
    "pixxel_conn_id": "other",
    "poke_interval": 3.0,
    "timeout": 4.0,
    "exponential_backoff": True,
    "max_wait": 6.0,
    "not_found_grace": 5.0,
    "silent_fail": True,
    "started_at": 1.5,
    "not_before": 2.5,
    "missing_since": 1.5,
}
FULL: dict[str, Any] = {
    "poll": "pixxel_provider.api.judges:PackagePoll",
    "target": {"workflow_id": "w", "job_id": "j", "pixxel_task_id": "t"},
    **WAIT,
}
JOB: dict[str, Any] = {
    "workflow_id": "w",
    "job_id": "j",
    "deferred_for": 3.5,
    "task_end": {"soft_fail": True},
    "success_statuses": ["fine"],
    "failure_statuses": ["bad"],
    **WAIT,
}
BOTH = pytest.mark.parametrize(("kind", "full"), [(PixxelWaitTrigger, FULL), (PixxelJobTrigger, JOB)])


@BOTH
def test_every_argument_survives_the_database(kind: type[PixxelWaitTrigger], full: dict[str, Any]) -> None:
    path, stored = kind(**full).serialize()
    assert path == f"{kind.__module__}.{kind.__name__}"
    assert stored == full
    assert kind(**json.loads(json.dumps(stored))).serialize() == (path, stored)


@BOTH
def test_the_round_trip_covers_every_argument(kind: type[PixxelWaitTrigger], full: dict[str, Any]) -> None:
    named = {name for each in {kind, PixxelWaitTrigger} for name in inspect.signature(each).parameters}
    named -= {"wait", "plan"} if kind is PixxelWaitTrigger else {"wait", "plan", "poll", "target"}
    assert named | {field.name for field in fields(WaitPlan)} == set(full)


def test_two_ids_are_enough() -> None:
    assert set(inspect.signature(PackagePoll).parameters) == set(FULL["target"])
    for trigger in (PixxelWaitTrigger(PackagePoll("w", "j")), PixxelJobTrigger("w", "j")):
        assert trigger.plan == WaitPlan()


Fire = Callable[..., dict[str, Any]]


@pytest.fixture(params=["job", "package"])
def what(request: pytest.FixtureRequest) -> str:
    """What is waited for."""
    return str(request.param)


@pytest.fixture
def fire(what: str, pixxel: Any, clock: FakeClock) -> Fire:
    """Run the trigger to its one event; return that after a trip through JSON."""
    pixxel.set_package(seconds=0)

    def run(job_id: str = "job-finished", **arguments: Any) -> dict[str, Any]:
        clock.on_sleep[:] = [pixxel.advance]
        now: Any = arguments.pop("clock", clock)
        wait = {"started_at": clock.now, **arguments}
        trigger = (
            PixxelJobTrigger("wf-succeeds", job_id, **wait)
            if what == "job"
            else PixxelWaitTrigger(PackagePoll("wf-succeeds", job_id), **wait)
        )
        trigger.clock = now

        async def collect() -> list[Any]:
            return [event.payload async for event in trigger.run()]

        (event,) = asyncio.run(collect())
        text = json.dumps(event, allow_nan=False)
        assert ("http" if what == "package" else "signed_url") not in text
        return json.loads(text)  # type: ignore[no-any-return]

    return run


@pytest.fixture
def waiting(what: str, pixxel: Any) -> Any:
    """Let the job, or its package, be ready in so many seconds; return the job's id."""

    def begin(seconds: float) -> str:
        pixxel.set_package(seconds=seconds)
        if what == "package":
            return "job-finished"
        pixxel.create_job("wf-succeeds", "job-1", seconds=seconds)
        return "job-1"

    return begin


def test_it_fires_once_when_the_wait_has_ended(what: str, waiting: Any, fire: Fire, clock: FakeClock) -> None:
    ended_as = "completed" if what == "job" else None
    began = clock.now
    event = fire(waiting(200), poke_interval=10)
    result = result_of(event)
    assert result is not None
    assert (result.kind, (result.metadata or {}).get("status")) == ("succeeded", ended_as)
    assert 200 <= sum(clock.slept) <= 220
    assert started_at(event) == began


def test_a_restarted_trigger_keeps_its_deadline_and_polls_before_giving_up(
    pixxel: Any, waiting: Any, fire: Fire, clock: FakeClock
) -> None:
    job = waiting(10_000)
    assert fire(job, timeout=600, started_at=clock.now - 500)["kind"] == "timed_out"
    assert sum(clock.slept) <= 101
    assert pixxel.requests() >= 1
    pixxel.set_package(seconds=0)
    assert fire(timeout=600, started_at=clock.now - 5000)["kind"] == "succeeded"


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_clock_that_jumps_moves_no_deadline(
    waiting: Any, fire: Fire, clock: FakeClock, jump: float
) -> None:
    wall = itertools.count(clock.now, jump)
    jumping = Clock(lambda: next(wall), clock.monotonic, async_sleep=clock.async_sleep)
    assert fire(waiting(10_000), timeout=600, clock=jumping)["kind"] == "timed_out"
    assert 599 <= sum(clock.slept) <= 602


def test_a_start_in_the_future_waits_no_longer_than_its_timeout(
    waiting: Any, fire: Fire, clock: FakeClock
) -> None:
    assert fire(waiting(10_000), started_at=clock.now + 9999, timeout=600)["kind"] == "timed_out"
    assert sum(clock.slept) <= 602


def test_first_polls_are_spread_over_an_interval(fire: Fire, clock: FakeClock) -> None:
    first = []
    for _ in range(60):
        clock.slept.clear()
        fire()
        first.append(clock.slept[0])
    assert len(set(first)) == 60
    assert max(first) <= 30
    assert min(first) < 10
    assert max(first) > 15


@pytest.mark.parametrize(("ahead", "seconds"), [(100, 100), (86_400, 900)])
def test_a_retry_after_holds_for_the_first_poll_but_no_longer_than_one_answer_may_ask_for(
    fire: Fire, clock: FakeClock, ahead: float, seconds: float
) -> None:
    assert fire(poke_interval=1, not_before=clock.now + ahead)["kind"] == "succeeded"
    assert clock.slept == [seconds]


@pytest.mark.parametrize("status", [401, 403, 400])
def test_a_refusal_ends_the_wait_at_once(pixxel: Any, fire: Fire, status: int) -> None:
    pixxel.fail_next(status=status, times=0)
    event = fire()
    assert event["kind"] == "error"
    assert str(status) in event["message"]
    assert pixxel.requests("download_job") + pixxel.requests("get_job") == 1


def test_transient_errors_are_retried(pixxel: Any, fire: Fire) -> None:
    pixxel.fail_next(status=503, times=4)
    assert fire()["kind"] == "succeeded"


def test_the_task_gets_an_event_whatever_breaks(
    what: str, fire: Fire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("pixxel_provider.hooks.pixxel.PixxelAsyncHook.send", broken)
    event = fire()
    assert event["kind"] == "error"
    # A poll that others share has the rest in its log.
    assert ("RuntimeError" if what == "job" else "RuntimeError: nobody thought of this") in event["message"]


def test_a_connection_that_can_not_be_read_now_is_read_later(
    fire: Fire, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat import connection

    read = []
    real = connection.get_async_connection

    async def flaky(conn_id: str) -> Any:
        read.append(conn_id)
        if len(read) < 3:
            raise OSError("the database is gone")
        return await real(conn_id)

    monkeypatch.setattr(connection, "get_async_connection", flaky)
    assert fire()["kind"] == "succeeded"
    assert len(read) == 3


@pytest.mark.parametrize(
    ("stored", "field"),
    [
        ({"poll": "os:system"}, "poll"),
        ({"poll": "builtins:dict"}, "poll"),
        ({"poll": "no.such:Judge"}, "poll"),
        ({"poll": "pixxel_provider.api.judges:Later"}, "poll"),
        ({"poll": ""}, "poll"),
        ({"poll": None}, "poll"),
        ({"poll": "pixxel_provider.api.polling:Poll"}, "target"),
        ({"target": {"workflow_id": "w", "job_id": "j", "later": 1}}, "target"),
        ({"target": ["w"]}, "target"),
    ],
)
def test_a_stored_judge_that_is_none_fails_its_trigger_and_not_the_triggerer(
    stored: dict[str, Any], field: str
) -> None:
    with pytest.raises(PixxelInputError) as caught:
        PixxelWaitTrigger(**{**FULL, **stored})
    assert caught.value.field == field
    # Airflow fails a trigger with this one alone; after any other its whole triggerer ends.
    assert isinstance(caught.value, TypeError)
    assert type(copy.copy(caught.value)) is type(caught.value)


@pytest.mark.parametrize("value", ["1", [1], float("nan"), True])
@pytest.mark.parametrize(
    "name", ["started_at", "not_before", "missing_since", "poke_interval", "timeout", "max_wait"]
)
def test_stored_seconds_that_are_none_end_the_wait_with_their_name(fire: Fire, name: str, value: Any) -> None:
    event = fire(**{name: value})
    assert event["kind"] == "error"
    assert event["error"]["field"] == name
    assert event["message"].startswith(f"{name} must be a number of seconds, not ")
