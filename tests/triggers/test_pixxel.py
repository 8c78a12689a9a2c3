from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pixxel_provider.hooks import sessions
from pixxel_provider.triggers.pixxel import PixxelJobTrigger
from tests.support import RecordingLog

STORED = Path(__file__).parent / "stored"


class TestStorage:
    @pytest.mark.parametrize("file", sorted(STORED.glob("*.json")), ids=lambda file: file.stem)
    def test_what_a_released_version_stored_can_be_loaded(self, file: Path) -> None:
        stored = json.loads(file.read_text())
        trigger = PixxelJobTrigger(**stored["kwargs"])
        path, now = trigger.serialize()
        assert path == stored["classpath"]
        assert stored["kwargs"].items() <= now.items()

    def test_there_is_a_stored_version_to_load(self) -> None:
        assert sorted(STORED.glob("*.json"))


class TestWaiting:
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
        assert pixxel.key not in repr(PixxelJobTrigger("w", "j"))


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
