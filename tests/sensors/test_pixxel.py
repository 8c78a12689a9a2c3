"""How the sensor behaves in each mode, beyond how it ends."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from pixxel_provider.api.polling import SHORTEST_DELAY, PollResult
from pixxel_provider.assets import create_asset
from pixxel_provider.outcome import UNSTARTED, event_of
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from pixxel_provider.triggers.pixxel import PixxelJobTrigger
from tests.sensors.waiting import Runner


def sensor(**arguments: Any) -> PixxelJobSensor:
    return PixxelJobSensor(
        **{"task_id": "wait", "workflow_id": "wf-succeeds", "job_id": "job-1", **arguments}
    )


def test_a_job_that_has_ended_never_defers_and_is_asked_for_once(pixxel: Any, runner: Runner) -> None:
    assert runner.run(job_id="job-finished").kind == "success"
    assert runner.deferrals == []
    assert runner.workers == (0 if runner.ends_unaided else 1)
    assert pixxel.requests("get_job") == 1


def test_a_deferred_wait_takes_two_short_worker_runs_and_one_started_in_the_triggerer_one_or_none(
    pixxel: Any, runner: Runner
) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=600)
    assert runner.run(timeout=3600).kind == "success"
    expected = {
        "poke": 1,
        "deferred": 2,
        "reschedule": pixxel.requests("get_job"),
        "started": 1,
        "unaided": 0,
    }
    if not AIRFLOW_V_3_3_PLUS:
        expected |= {"started": 2, "unaided": 2}
    assert runner.workers == expected[runner.mode]


def test_the_events_of_outlets_hold_the_job_in_every_mode(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=600)
    mine, other = create_asset(workflow_id="wf-succeeds"), create_asset(workflow_id="other")
    assert runner.run(timeout=3600, outlets=[mine]).kind == "success"
    # Also where an end without a worker was requested: only a worker's success is an event.
    assert runner.workers > 0
    assert runner.outlet_events[mine].extra == {
        "workflow_id": "wf-succeeds",
        "job_id": "job-1",
        "status": "completed",
        "cost": 120,
    }
    assert len(runner.outlet_events) == 1
    assert runner.outlet_events[other].extra == {}


def test_a_timeout_that_is_set_after_the_sensor_was_made_holds(
    pixxel: Any, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tightened(PixxelJobSensor):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            # As a cluster policy does.
            self.timeout = timedelta(minutes=10)  # type: ignore[assignment]
            self.poke_interval = timedelta(minutes=1)  # type: ignore[assignment]
            self.max_wait = 30  # type: ignore[assignment]

    monkeypatch.setattr("tests.sensors.waiting.PixxelJobSensor", Tightened)
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
    ended = runner.run(timeout=10**6, exponential_backoff=True)
    assert "the timeout of 600 s was over" in ended.message
    assert 600 <= sum(runner.clock.slept) <= 602
    assert max(runner.clock.slept) <= 30


def test_a_poll_comes_every_interval_at_the_most_and_not_much_sooner(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=3000)
    assert runner.run(timeout=7200, poke_interval=30).kind == "success"
    gaps = runner.clock.slept[1:]
    assert max(gaps) <= 30
    assert min(gaps) >= 24
    assert 100 <= pixxel.requests("get_job") <= 127


def test_thirty_seconds_is_the_interval_unless_one_is_given() -> None:
    task = sensor()
    assert task.poke_interval == 30


def test_an_interval_of_nothing_does_not_flood_the_api(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=20)
    assert runner.run(timeout=60, poke_interval=0).kind == "success"
    assert pixxel.requests("get_job") <= 20 / SHORTEST_DELAY + 3


def test_gaps_grow_with_the_wait_up_to_max_wait(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=4000)
    arguments = {"exponential_backoff": True, "max_wait": timedelta(seconds=600), "poke_interval": 10}
    assert runner.run(timeout=7200, **arguments).kind == "success"
    assert max(runner.clock.slept) <= 600
    assert pixxel.requests("get_job") < 20


def test_a_retry_after_is_waited_for(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=10)
    pixxel.fail_next("get_job", status=429, retry_after=333)
    assert runner.run(timeout=3600).kind == "success"
    # A wait that begins in the triggerer comes to its first look a moment after its start.
    assert max(runner.clock.slept[:2]) >= 333 - 1e-3


def test_a_retry_after_beyond_the_deadline_leaves_one_last_look(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=10)
    pixxel.fail_next("get_job", status=429, retry_after=3600)
    assert runner.run(timeout=100).kind == "success"
    assert pixxel.requests("get_job") == 2
    assert sum(runner.clock.slept) <= 100 + 2 * SHORTEST_DELAY


def test_the_last_look_comes_at_the_deadline_not_an_interval_later(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
    found = runner.run(timeout=100, poke_interval=60)
    assert (found.state, "had not ended" in found.message) == ("failed", True)
    assert sum(runner.clock.slept) <= 100 + 2 * SHORTEST_DELAY


# Each look in reschedule mode is a process of its own, which remembers nothing.
REMEMBERING = pytest.mark.parametrize("runner", ["poke", "deferred"], indirect=True)


@REMEMBERING
def test_the_log_has_a_line_for_each_change_and_none_for_a_poll(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
    pixxel.advance(10_000)
    runner.run(timeout=1000, poke_interval=10)
    assert pixxel.requests("get_job") > 99
    # The worker that defers and the trigger say it once each.
    assert len(runner.said) == (2 if runner.mode == "deferred" else 1), runner.said


@REMEMBERING
def test_trouble_is_said_once_and_its_end_too(pixxel: Any, runner: Runner) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=400)
    pixxel.fail_next("get_job", status=503, after=3, times=10)
    assert runner.run(timeout=7200, poke_interval=10).kind == "success"
    assert sum("HTTP 503" in line for line in runner.said) == 1
    assert sum("can be read again" in line for line in runner.said) == 1


def test_a_triggerer_that_is_gone_loses_no_job_that_has_ended(
    pixxel: Any, monkeypatch: pytest.MonkeyPatch, clock: Any, context: Any
) -> None:
    runner = Runner("deferred", pixxel, clock, monkeypatch, context["ti"])
    pixxel.create_job("wf-succeeds", "job-1", seconds=50)
    runner.lose_trigger = True
    ended = runner.run(timeout=600)
    assert ended.kind == "success"
    assert runner.clock.slept == [600 + 120]


@pytest.mark.parametrize(
    ("soft_fail", "kind"), [(False, "AirflowSensorTimeout"), (True, "AirflowSkipException")]
)
def test_a_triggerer_that_is_gone_ends_the_wait_at_its_deadline(
    pixxel: Any, monkeypatch: pytest.MonkeyPatch, clock: Any, context: Any, soft_fail: bool, kind: str
) -> None:
    runner = Runner("deferred", pixxel, clock, monkeypatch, context["ti"])
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
    runner.lose_trigger = True
    ended = runner.run(timeout=600, soft_fail=soft_fail)
    assert ended.kind == kind
    assert "timeout of 600 s" in ended.message


def test_a_trigger_that_airflow_could_not_run_fails_the_task(pixxel: Any, context: Any) -> None:
    task = sensor(soft_fail=True)
    with pytest.raises(Exception, match="Trigger failure") as caught:
        task.resume_execution("__fail__", {"error": "Trigger failure", "traceback": ["boom"]}, context)
    assert type(caught.value).__name__ == "TaskDeferralError"


def test_a_trigger_that_broke_loses_no_job_that_has_ended(pixxel: Any, context: Any) -> None:
    task = sensor(job_id="job-finished")
    assert task.resume_execution("__fail__", {"error": "Trigger failure"}, context)["status"] == "completed"


def test_never_fail_covers_a_trigger_that_broke(pixxel: Any, context: Any) -> None:
    task = sensor(never_fail=True)
    with pytest.raises(Exception, match="never_fail is set: The trigger could not be run") as caught:
        task.resume_execution("__fail__", {"error": "Trigger failure"}, context)
    assert type(caught.value).__name__ == "AirflowSkipException"


@pytest.mark.parametrize(
    ("airflow_3", "start", "seconds"),
    [(True, False, 600), (True, True, 60 if AIRFLOW_V_3_3_PLUS else 600), (False, False, 60)],
)
def test_a_deferral_names_the_limit_that_ended_it(
    pixxel: Any, context: Any, monkeypatch: pytest.MonkeyPatch, airflow_3: bool, start: bool, seconds: int
) -> None:
    monkeypatch.setattr("pixxel_provider.waiting.base.EXECUTION_TIMEOUT_ENDS_DEFERRAL", not airflow_3)
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
    task = sensor(
        timeout=600,
        execution_timeout=timedelta(seconds=60),
        start_from_trigger=start,
    )
    with pytest.raises(Exception, match=f"timeout of {seconds} s was over"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)


@pytest.mark.parametrize(
    "event", [None, {}, "done", {"status": "success"}, {"version": 99, "kind": "succeeded"}]
)
def test_an_event_of_another_version_makes_the_sensor_look_again(
    pixxel: Any, context: Any, event: Any
) -> None:
    task = sensor(job_id="job-finished", deferrable=True)
    assert task.execute_complete(context, event)["status"] == "completed"
    assert pixxel.requests("get_job") == 1


def test_a_wait_that_the_triggerer_leaves_to_a_worker_keeps_its_deadline(pixxel: Any, context: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")
    task = sensor(deferrable=True, timeout=600)
    began, event = time.time() - 500, event_of(PollResult(UNSTARTED, "why"))
    with pytest.raises(TaskDeferred) as deferral:
        task.execute_complete(context, {**event, "started_at": began})
    trigger = deferral.value.trigger
    assert isinstance(trigger, PixxelJobTrigger)
    assert trigger.started_at == pytest.approx(began, abs=5)
    with pytest.raises(AirflowSensorTimeout):
        task.execute_complete(context, {**event, "started_at": began - 200})


def test_poke_can_be_called_by_itself(pixxel: Any, context: Any) -> None:
    task = sensor(job_id="job-finished")
    assert task.poke(context).xcom_value["status"] == "completed"
    waiting = sensor()
    pixxel.create_job("wf-succeeds", "job-1")
    assert waiting.poke(context) is False


def test_airflows_execution_timeout_stays_what_it_is(
    pixxel: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat.sdk import AirflowSkipException, AirflowTaskTimeout

    def too_late(*_: Any, **__: Any) -> None:
        raise AirflowTaskTimeout("Timeout")

    for soft_fail, kind in ((False, AirflowTaskTimeout), (True, AirflowSkipException)):
        task = sensor(deferrable=False, soft_fail=soft_fail)
        monkeypatch.setattr(PixxelJobSensor, "_ask", too_late)
        with pytest.raises(kind):
            task.execute(context)


def test_init_asks_nothing_and_checks_nothing(pixxel: Any) -> None:
    for job_id in ("", None, "{{ var.value.job }}", 7):
        PixxelJobSensor(task_id="wait", workflow_id="", job_id=job_id, success_statuses="completed")  # type: ignore[arg-type]
    assert pixxel.counters.total == 0


def test_soft_fail_and_never_fail_exclude_each_other() -> None:
    with pytest.raises(Exception, match="mutually exclusive"):
        sensor(soft_fail=True, never_fail=True)


def test_template_fields_are_a_tuple_of_attributes() -> None:
    task = sensor()
    assert isinstance(task.template_fields, tuple)
    assert all(hasattr(task, name) for name in task.template_fields)


def test_the_configuration_decides_whether_waits_are_deferred() -> None:
    import subprocess
    import sys

    code = (
        "from pixxel_provider.sensors.pixxel import PixxelJobSensor;"
        "print(PixxelJobSensor(task_id='w', workflow_id='w', job_id='j').deferrable)"
    )
    import os

    environment = {**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout.strip().splitlines()[-1] == "True"
