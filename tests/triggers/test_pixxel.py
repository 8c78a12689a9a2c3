from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelAuthError
from pixxel_provider.api.job import Job
from pixxel_provider.api.judges import EndedJobPoll
from pixxel_provider.clock import Clock
from pixxel_provider.hooks import sessions
from pixxel_provider.triggers.pixxel import PixxelEndedJobTrigger, PixxelJobTrigger
from tests.poller_support import Script, ending, has_ended, run, wait_for
from tests.support import RecordingLog


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


# Jobs of the script ended so many seconds after this moment.
MOMENT = "2026-11-01T00:00:00+00:00"


class DatedScript(Script):
    """A server whose jobs have an end, as far as they have ended."""

    def job(self, name: str, *, full: bool) -> Job:
        found = super().job(name, full=full)
        end = datetime.fromisoformat(MOMENT) + timedelta(seconds=self.ends[name] - 1000)
        return Job.read({**found.raw, "finished_at": end.isoformat() if has_ended(found) else None})


@pytest.fixture
def dated(monkeypatch: pytest.MonkeyPatch) -> DatedScript:
    found = DatedScript()
    found.serve(monkeypatch)
    return found


async def first_ended(**arguments: Any) -> tuple[dict[str, Any], float]:
    """Wait as the triggerer does; return the event's payload, and when it came."""
    loop = asyncio.get_running_loop()
    poll = EndedJobPoll(**{"workflow_id": "w", "ended_after": MOMENT, **arguments})
    path, stored = PixxelEndedJobTrigger(poll, pixxel_conn_id="c").serialize()
    assert path == "pixxel_provider.triggers.pixxel.PixxelEndedJobTrigger"
    trigger = PixxelEndedJobTrigger(**{**json.loads(json.dumps(stored)), "started_at": loop.time()})
    trigger.clock = Clock(time=loop.time, monotonic=loop.time)
    events = trigger.run()
    try:
        return (await anext(events)).payload, loop.time()
    finally:
        await events.aclose()


class TestEndedJob:
    def test_the_event_names_the_job_and_the_wait_goes_on_from_its_start(self, dated: DatedScript) -> None:
        dated.ends = {"late": 1500.0, "old": 900.0, "first": 1200.0}
        payload, at = run(first_ended)
        assert (payload["kind"], payload["metadata"]) == ("identified", {"id": "first"})
        assert payload["started_at"] == 1000.0
        assert payload["message"] == (
            "Pixxel job first of workflow w is the first listed one that ended after 2026-11-01T00:00:00Z"
        )
        assert 1200 <= at <= 1200 + 31
        assert dated.asked["get_job"] == 0

    def test_forty_waits_cost_one_list_an_interval(self, dated: DatedScript) -> None:
        dated.ends = {"old": 900.0, **ending(1, 3000)}

        async def work() -> None:
            found = await asyncio.gather(*(first_ended() for _ in range(40)))
            assert {payload["metadata"]["id"] for payload, _ in found} == {"job-0"}

        run(work)
        # 3,000 s by 24 to 30 s; if each threw its own dice, the earliest of forty would make it 125.
        assert 100 <= dated.asked["list_jobs"] <= 119
        assert set(dated.asked) == {"list_jobs"}

    def test_they_share_the_lists_of_the_waits_by_id(self, dated: DatedScript) -> None:
        dated.ends = ending(40, 3000)

        async def work() -> None:
            await asyncio.gather(
                *(wait_for(name) for name in dated.ends), *(first_ended() for _ in range(40))
            )

        run(work)
        assert 100 <= dated.asked["list_jobs"] <= 119
        assert dated.asked["get_job"] == 40

    def test_a_key_that_may_not_read_the_list_ends_each_wait_after_one_request(
        self, dated: DatedScript
    ) -> None:
        dated.list_error = PixxelAuthError("no lists", status_code=403)

        async def work() -> None:
            found = await asyncio.gather(*(first_ended() for _ in range(40)))
            assert {payload["error"]["status_code"] for payload, _ in found} == {403}

        run(work)
        assert dated.asked == {"list_jobs": 1}
