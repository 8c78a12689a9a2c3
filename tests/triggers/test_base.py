"""The trigger of a package fires once, with no more than that it is ready, and may be run again."""

from __future__ import annotations

import asyncio
import inspect
import json
from dataclasses import fields
from typing import Any

import pytest

from pixxel_provider.api.judges import PackagePoll
from pixxel_provider.api.polling import WaitPlan
from pixxel_provider.outcome import result_of, started_at
from pixxel_provider.triggers.base import PixxelWaitTrigger

FULL: dict[str, Any] = {
    "poll": "pixxel_provider.api.judges:PackagePoll",
    "target": {"workflow_id": "w", "job_id": "j", "pixxel_task_id": "t"},
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


def fire(pixxel: Any, clock: Any, **arguments: Any) -> Any:
    """Run a trigger; return the result that its one event tells of, after a trip through JSON."""
    trigger = PixxelWaitTrigger(
        PackagePoll("wf-succeeds", "job-finished"), **{"started_at": clock.now, **arguments}
    )
    trigger.clock = clock
    clock.on_sleep.append(pixxel.advance)

    async def collect() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(collect())
    text = json.dumps(event, allow_nan=False)
    assert "http" not in text
    return result_of(json.loads(text))


def test_every_argument_survives_the_database() -> None:
    path, stored = PixxelWaitTrigger(**FULL).serialize()
    assert path == "pixxel_provider.triggers.base.PixxelWaitTrigger"
    assert stored == FULL
    assert PixxelWaitTrigger(**json.loads(json.dumps(stored))).serialize() == (path, stored)


def test_the_round_trip_covers_every_argument_and_two_ids_are_enough() -> None:
    parameters = set(inspect.signature(PixxelWaitTrigger).parameters) - {"plan"}
    assert parameters | {field.name for field in fields(WaitPlan)} == set(FULL)
    assert set(inspect.signature(PackagePoll).parameters) == set(FULL["target"])
    assert PixxelWaitTrigger(PackagePoll("w", "j")).plan == WaitPlan()


def test_it_fires_once_when_the_package_is_ready(pixxel: Any, clock: Any) -> None:
    pixxel.set_package(seconds=100)
    assert fire(pixxel, clock, poke_interval=10).kind == "succeeded"
    assert 100 <= sum(clock.slept) <= 120


def test_the_event_says_when_the_wait_began(pixxel: Any, clock: Any) -> None:
    pixxel.set_package(seconds=0)
    trigger = PixxelWaitTrigger(PackagePoll("wf-succeeds", "job-finished"), started_at=clock.now - 50)
    trigger.clock = clock  # type: ignore[assignment]

    async def first() -> Any:
        return [event.payload async for event in trigger.run()]

    (event,) = json.loads(json.dumps(asyncio.run(first())))
    assert started_at(event) == clock.now - sum(clock.slept) - 50
    assert result_of(event).kind == "succeeded"  # type: ignore[union-attr]


def test_first_looks_are_spread_over_one_gap(pixxel: Any, clock: Any) -> None:
    pixxel.set_package(seconds=0)
    firsts = set()
    for _ in range(10):
        clock.slept.clear()
        clock.on_sleep.clear()
        fire(pixxel, clock)
        firsts.add(clock.slept[0])
    assert len(firsts) == 10
    assert all(0 <= first <= 30 for first in firsts)


def test_the_servers_wish_holds_for_the_first_look(pixxel: Any, clock: Any) -> None:
    pixxel.set_package(seconds=0)
    fire(pixxel, clock, poke_interval=1, not_before=clock.now + 90)
    assert clock.slept[0] >= 90


def test_a_moment_far_ahead_keeps_no_trigger_quiet_for_longer_than_one_answer_may(
    pixxel: Any, clock: Any
) -> None:
    pixxel.set_package(seconds=0)
    assert fire(pixxel, clock, poke_interval=1, not_before=clock.now + 86_400).kind == "succeeded"
    assert clock.slept == [900]


def test_a_restarted_trigger_keeps_its_deadline_and_looks_before_giving_up(pixxel: Any, clock: Any) -> None:
    pixxel.set_package(seconds=10_000)
    assert fire(pixxel, clock, timeout=100, started_at=clock.now - 90).kind == "timed_out"
    assert pixxel.requests("download_job") >= 1
    pixxel.set_package(seconds=0)
    assert fire(pixxel, clock, timeout=100, started_at=clock.now - 5000).kind == "succeeded"


@pytest.mark.parametrize(("status", "cause"), [(401, "401"), (403, "403"), (400, "400")])
def test_a_refusal_is_told_at_once(pixxel: Any, clock: Any, status: int, cause: str) -> None:
    pixxel.fail_next("download_job", status=status, times=0)
    result = fire(pixxel, clock)
    assert result.kind == "error"
    assert cause in result.message
    assert pixxel.requests("download_job") == 1


def test_trouble_is_waited_out(pixxel: Any, clock: Any) -> None:
    pixxel.set_package(seconds=0)
    pixxel.fail_next("download_job", status=503, times=4)
    assert fire(pixxel, clock).kind == "succeeded"


def test_whatever_breaks_the_task_is_told(pixxel: Any, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("pixxel_provider.hooks.pixxel.PixxelAsyncHook.send", broken)
    result = fire(pixxel, clock)
    assert result.kind == "error"
    assert "RuntimeError: nobody thought of this" in result.message
