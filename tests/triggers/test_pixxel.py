from __future__ import annotations

import asyncio
import inspect
import itertools
import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pixxel_provider.api.polling import WaitPlan
from pixxel_provider.clock import Clock
from pixxel_provider.hooks import sessions
from pixxel_provider.hooks.pixxel import PixxelAsyncHook
from pixxel_provider.outcome import result_of
from pixxel_provider.triggers.base import PixxelWaitTrigger
from pixxel_provider.triggers.pixxel import PixxelJobTrigger
from tests.support import RecordingLog

STORED = Path(__file__).parent / "stored"


def fire(trigger: PixxelJobTrigger, clock: Any, pixxel: Any = None) -> dict[str, Any]:
    """Run a trigger to its one event and return what that carries, after a trip through JSON."""
    trigger.clock = clock
    if pixxel is not None:
        clock.on_sleep.append(pixxel.advance)

    async def collect() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    events = asyncio.run(collect())
    assert len(events) == 1
    return json.loads(json.dumps(events[0], allow_nan=False))


FULL: dict[str, Any] = {
    "workflow_id": "w",
    "job_id": "j",
    "pixxel_conn_id": "other",
    "started_at": 1.5,
    "not_before": 2.5,
    "missing_since": 1.5,
    "deferred_for": 3.5,
    "task_end": {"soft_fail": True},
    "success_statuses": ["fine"],
    "failure_statuses": ["bad"],
    "poke_interval": 3.0,
    "timeout": 4.0,
    "exponential_backoff": True,
    "max_wait": 5.0,
    "not_found_grace": 6.0,
    "silent_fail": True,
}


class TestStorage:
    def test_every_argument_survives_the_database(self) -> None:
        path, stored = PixxelJobTrigger(**FULL).serialize()
        assert stored == FULL
        again = PixxelJobTrigger(**json.loads(json.dumps(stored)))
        assert again.serialize() == (path, stored)

    def test_the_round_trip_covers_every_argument_there_is(self) -> None:
        parameters = (inspect.signature(kind).parameters for kind in (PixxelJobTrigger, PixxelWaitTrigger))
        named = set().union(*parameters) - {"wait", "plan", "poll", "target"}
        assert named | {field.name for field in fields(WaitPlan)} == set(FULL)

    def test_two_ids_are_all_it_needs(self) -> None:
        for name, parameter in inspect.signature(PixxelJobTrigger).parameters.items():
            if name not in ("workflow_id", "job_id", "wait"):
                assert parameter.default is not parameter.empty, f"{name} has no default"
        assert PixxelJobTrigger("w", "j").plan.poke_interval == 30

    @pytest.mark.parametrize("file", sorted(STORED.glob("*.json")), ids=lambda file: file.stem)
    def test_what_a_released_version_stored_can_be_loaded(self, file: Path) -> None:
        stored = json.loads(file.read_text())
        trigger = PixxelJobTrigger(**stored["kwargs"])
        path, now = trigger.serialize()
        assert path == stored["classpath"]
        assert stored["kwargs"].items() <= now.items()

    def test_there_is_a_stored_version_to_load(self) -> None:
        assert sorted(STORED.glob("*.json"))

    def test_the_path_is_importable(self) -> None:
        assert PixxelJobTrigger("w", "j").serialize()[0] == "pixxel_provider.triggers.pixxel.PixxelJobTrigger"


class TestWaiting:
    def test_it_fires_once_when_the_job_has_ended(self, pixxel: Any, clock: Any) -> None:
        pixxel.create_job("wf-succeeds", "job-1", seconds=200)
        event = fire(PixxelJobTrigger("wf-succeeds", "job-1", started_at=clock.now), clock, pixxel)
        result = result_of(event)
        assert result is not None
        assert result.kind == "succeeded"
        assert result.metadata["status"] == "completed"
        assert "signed_url" not in json.dumps(event)

    def test_a_restarted_triggerer_goes_on_with_the_same_deadline(self, pixxel: Any, clock: Any) -> None:
        pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
        trigger = PixxelJobTrigger("wf-succeeds", "job-1", started_at=clock.now - 500, timeout=600)
        assert fire(trigger, clock, pixxel)["kind"] == "timed_out"
        assert sum(clock.slept) <= 101

    def test_a_job_that_ended_while_no_triggerer_ran_has_ended(self, pixxel: Any, clock: Any) -> None:
        trigger = PixxelJobTrigger("wf-succeeds", "job-finished", started_at=clock.now - 5000, timeout=600)
        assert fire(trigger, clock)["kind"] == "succeeded"

    @pytest.mark.parametrize("jump", [-7200.0, 7200.0])
    def test_a_clock_that_jumps_moves_no_deadline(self, pixxel: Any, clock: Any, jump: float) -> None:
        pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
        trigger = PixxelJobTrigger("wf-succeeds", "job-1", started_at=clock.now, timeout=600)
        clock.on_sleep.append(pixxel.advance)
        wall = itertools.count(clock.now, jump)
        jumping = Clock(lambda: next(wall), clock.monotonic, async_sleep=clock.async_sleep)
        assert fire(trigger, jumping)["kind"] == "timed_out"
        assert 599 <= sum(clock.slept) <= 602

    def test_a_start_in_the_future_waits_no_longer_than_its_timeout(self, pixxel: Any, clock: Any) -> None:
        pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
        trigger = PixxelJobTrigger("wf-succeeds", "job-1", started_at=clock.now + 9999, timeout=600)
        assert fire(trigger, clock, pixxel)["kind"] == "timed_out"
        assert sum(clock.slept) <= 602

    def test_first_looks_are_spread_over_an_interval(self, pixxel: Any) -> None:
        from tests.support import FakeClock

        first = []
        for _ in range(60):
            clock = FakeClock()
            fire(PixxelJobTrigger("wf-succeeds", "job-finished", started_at=clock.now), clock)
            first.append(clock.slept[0])
        assert max(first) <= 30
        assert min(first) < 10
        assert max(first) > 15

    def test_it_leaves_the_server_alone_until_the_moment_it_named(self, pixxel: Any, clock: Any) -> None:
        trigger = PixxelJobTrigger(
            "wf-succeeds", "job-finished", started_at=clock.now, not_before=clock.now + 100
        )
        assert fire(trigger, clock)["kind"] == "succeeded"
        assert clock.slept == [100]

    def test_a_moment_far_ahead_keeps_it_quiet_for_no_longer_than_one_answer_may(
        self, pixxel: Any, clock: Any
    ) -> None:
        trigger = PixxelJobTrigger("wf-succeeds", "job-finished", not_before=clock.now + 86_400)
        trigger.started_at = clock.now
        assert fire(trigger, clock)["kind"] == "succeeded"
        assert clock.slept == [900]

    def test_a_bug_still_tells_the_task(
        self, pixxel: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError("by nothing")

        monkeypatch.setattr(PixxelAsyncHook, "send", broken)
        event = fire(PixxelJobTrigger("w", "j"), clock)
        assert event["kind"] == "error"
        assert "ZeroDivisionError" in event["message"]

    def test_a_connection_that_can_not_be_looked_up_now_is_looked_up_later(
        self, pixxel: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow.providers.common.compat import connection

        looked_up = []
        real = connection.get_async_connection

        async def flaky(conn_id: str) -> Any:
            looked_up.append(conn_id)
            if len(looked_up) < 3:
                raise OSError("the database is gone")
            return await real(conn_id)

        monkeypatch.setattr(connection, "get_async_connection", flaky)
        assert fire(PixxelJobTrigger("wf-succeeds", "job-finished"), clock)["kind"] == "succeeded"
        assert len(looked_up) == 3

    def test_a_cancelled_trigger_fires_nothing_and_leaves_the_others_alone(self, pixxel: Any) -> None:
        async def run() -> tuple[Any, bool]:
            cancelled = PixxelJobTrigger("wf-succeeds", "job-1")
            other = PixxelJobTrigger("wf-succeeds", "job-finished", poke_interval=0)
            task = asyncio.ensure_future(anext(cancelled.run()))
            event = asyncio.ensure_future(anext(other.run()))
            await asyncio.sleep(0)
            task.cancel()
            return (await event).payload, (await asyncio.gather(task, return_exceptions=True))[0]

        pixxel.create_job("wf-succeeds", "job-1")
        payload, result = asyncio.run(run())
        assert payload["kind"] == "succeeded"
        assert isinstance(result, asyncio.CancelledError)

    def test_many_triggers_that_wait_for_one_job_ask_once(self, pixxel: Any) -> None:
        async def run() -> None:
            triggers = [PixxelJobTrigger("wf-succeeds", "job-finished", poke_interval=0) for _ in range(30)]
            events = await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))
            assert {event.payload["kind"] for event in events} == {"succeeded"}

        asyncio.run(run())
        assert pixxel.counters.total == 1

    def test_the_last_that_leaves_releases_the_session(self, pixxel: Any) -> None:
        async def run() -> None:
            triggers = [PixxelJobTrigger(w, j, poke_interval=0) for w, j in ended_jobs]
            waits = [asyncio.ensure_future(anext(trigger.run())) for trigger in triggers]
            waits.append(asyncio.ensure_future(anext(PixxelJobTrigger("wf-succeeds", "job-1").run())))
            await asyncio.gather(*waits[:2])
            assert [key for key in sessions._HOLDERS if key[0] is asyncio.get_running_loop()]
            waits[2].cancel()
            await asyncio.gather(waits[2], return_exceptions=True)
            assert not [key for key in sessions._HOLDERS if key[0] is asyncio.get_running_loop()]

        ended_jobs = [("wf-succeeds", "job-finished"), ("wf-fails", "job-failed")]
        pixxel.create_job("wf-succeeds", "job-1")
        asyncio.run(run())

    def test_the_repr_shows_no_secret(self, pixxel: Any) -> None:
        assert pixxel.key not in repr(PixxelJobTrigger(**FULL))


class TestOnKill:
    GOES_ON = "Pixxel job j of workflow w goes on running: Pixxel can't cancel a job"

    def killed(self, monkeypatch: pytest.MonkeyPatch, states: Any = None, map_index: int = -1) -> list[str]:
        """Return what a trigger says whose task is in one of these states, by Airflow's answer."""
        said: list[str] = []
        monkeypatch.setattr(PixxelJobTrigger, "log", RecordingLog(said, levels=False))
        trigger = PixxelJobTrigger("w", "j")
        if states is not None:
            task_runner = pytest.importorskip("airflow.sdk.execution_time.task_runner")
            monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_task_states", staticmethod(states))
            trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]
                dag_id="d", task_id="t", run_id="r", map_index=map_index
            )
        asyncio.run(trigger.on_kill())
        return said

    def test_a_wait_that_a_person_ended_says_that_the_job_goes_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.killed(monkeypatch) == [self.GOES_ON]

    @pytest.mark.parametrize("state", ["failed", "success", "skipped", None])
    def test_so_it_does_by_what_airflow_says_of_the_task(
        self, monkeypatch: pytest.MonkeyPatch, state: str | None
    ) -> None:
        assert self.killed(monkeypatch, lambda **_: {"r": {"t": state}}) == [self.GOES_ON]

    @pytest.mark.parametrize("state", ["deferred", "scheduled", "queued", "running"])
    def test_a_trigger_that_another_triggerer_has_taken_over_says_nothing(
        self, monkeypatch: pytest.MonkeyPatch, state: str
    ) -> None:
        asked: list[dict[str, Any]] = []

        def states(**about: Any) -> dict[str, Any]:
            asked.append(about)
            return {"r": {"t": "failed", "t_3": state}}

        assert self.killed(monkeypatch, states, map_index=3) == []
        assert asked == [{"dag_id": "d", "task_ids": ["t"], "run_ids": ["r"], "map_index": 3}]

    def test_where_airflow_does_not_answer_it_says_so_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(**_: Any) -> None:
            raise RuntimeError("the supervisor is gone")

        assert self.killed(monkeypatch, broken) == [self.GOES_ON]
