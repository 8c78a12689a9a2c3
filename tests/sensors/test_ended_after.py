"""A wait for the first job of a workflow that ends after a moment: its id is known only then."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.assets import create_asset
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from pixxel_provider.sensors.start_trigger_args import needs_worker
from tests.sensors.waiting import Runner

#: When the time of tests begins.
NOW = "2026-09-21T14:13:20Z"
#: Without an id. What the simulator has from the start ended before.
ANY: dict[str, Any] = {"job_id": ..., "ended_after": NOW, "poke_interval": 90}
TIMEOUT = 600.0


def succeeds(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-2", seconds=400)
    pixxel.create_job("wf-succeeds", "job-1", seconds=200)


def has_succeeded(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=1)
    pixxel.advance(2)


def fails(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-fails", seconds=200)


def none_ends(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-endless")


def ends_in_an_unknown_status(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", course="wf-odd-ended", seconds=100)


def no_access_to_the_list(pixxel: Any) -> None:
    succeeds(pixxel)
    pixxel.fail_next("list_jobs", status=403, times=0)


def no_access_to_the_list_later(pixxel: Any) -> None:
    succeeds(pixxel)
    pixxel.fail_next("list_jobs", status=403, times=0, after=1)


def no_list(pixxel: Any) -> None:
    pixxel.fail_next("list_jobs", status=404, times=0)


def no_access_to_the_job(pixxel: Any) -> None:
    succeeds(pixxel)
    pixxel.fail_next("get_job", status=403, times=0)


def the_job_is_missing(pixxel: Any) -> None:
    succeeds(pixxel)
    pixxel.fail_next("get_job", status=404, times=0)


def unreachable(pixxel: Any) -> None:
    pixxel.fail_next("list_jobs", status=503, times=0)


#: How it ends, what the message has, and whether the id became known.
CASES: dict[Callable[[Any], None], tuple[str, str, bool]] = {
    succeeds: ("success", "", True),
    has_succeeded: ("success", "", True),
    fails: ("PixxelJobFailedError", "task 'Crop stress index' failed in block spectral-index 3.0.1", True),
    none_ends: (
        "AirflowSensorTimeout",
        "The list of jobs of workflow wf-succeeds had no job that ended after 2026-09-21T14:13:20Z when the "
        "timeout of 600 s was over; it was 3 jobs long.",
        False,
    ),
    ends_in_an_unknown_status: ("PixxelUnknownStatusError", "success_statuses or failure_statuses", True),
    no_access_to_the_list: ("PixxelAuthError", "HTTP 403", False),
    no_access_to_the_list_later: ("PixxelAuthError", "HTTP 403", False),
    no_list: ("PixxelNotFoundError", "HTTP 404", False),
    no_access_to_the_job: ("PixxelAuthError", "HTTP 403", True),
    the_job_is_missing: (
        "PixxelNotFoundError",
        "GET /v0/workflows/wf-succeeds/jobs/job-1",
        True,
    ),
    unreachable: ("AirflowSensorTimeout", "HTTP 503", False),
}
SOFT = {"PixxelJobFailedError", "AirflowSensorTimeout"}


@pytest.mark.parametrize("flag", ["", "soft_fail", "never_fail", "silent_fail"])
@pytest.mark.parametrize("arrange", CASES, ids=lambda case: case.__name__)
def test_every_mode_ends_the_same(in_every_mode: Any, arrange: Callable[[Any], None], flag: str) -> None:
    kind, words, known = CASES[arrange]
    found = in_every_mode(arrange, timeout=TIMEOUT, **ANY, **({flag: True} if flag else {}))
    seen = found["poke"]
    assert [mode for mode, ended in found.items() if not ended.tells_as(seen)] == []
    if (flag == "never_fail" and kind != "success") or (flag == "soft_fail" and kind in SOFT):
        kind = "AirflowSkipException"
    elif flag == "silent_fail" and kind not in {"success", *SOFT}:
        kind = "AirflowSensorTimeout"
        words = "archived" if arrange is ends_in_an_unknown_status else words
    assert (seen.kind, words in seen.message) == (kind, True), seen.message
    assert seen.xcoms["workflow_id"] == "wf-succeeds"
    assert seen.xcoms["pixxel_conn_id"] == "pixxel_default"
    assert seen.xcoms.get("job_id") == ("job-1" if known else None)
    assert seen.xcoms.get("_link_PixxelJobLink") == ("https://aurora.pixxel.space/" if known else None)
    if kind == "success":
        # Read in full: a list has no tasks.
        assert (seen.returned["id"], len(seen.returned["tasks"])) == ("job-1", 5)
        assert (seen.xcoms["status"], seen.xcoms["cost"]) == ("completed", seen.returned["cost"])


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("list_jobs", {"status": 503, "times": 3}),
        ("list_jobs", {"status": 404, "times": 2}),
        ("list_jobs", {"json": {"jobs": None}, "times": 2}),
        ("get_job", {"status": 503, "times": 3}),
        ("get_job", {"status": 404, "times": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("job", [succeeds, has_succeeded])
def test_a_transient_error_never_ends_a_wait(
    all_succeed: Any, job: Callable[[Any], None], route: str, fault: dict[str, Any]
) -> None:
    def arrange(pixxel: Any) -> None:
        job(pixxel)
        pixxel.fail_next(route, **fault)

    all_succeed(arrange, timeout=3600, **ANY)


def is_listed_as_ended_too_early(pixxel: Any) -> None:
    pixxel.create_job("wf-succeeds", "job-1", seconds=600)
    entry = {"id": "job-1", "workflow_id": "wf-succeeds", "status": "completed"}
    entry["finished_at"] = "2026-09-21T14:13:25Z"
    pixxel.fail_next("list_jobs", json={"jobs": [entry]}, times=1)


def test_a_list_that_shows_an_end_too_early_is_a_hint_and_the_job_is_waited_for(all_succeed: Any) -> None:
    all_succeed(is_listed_as_ended_too_early, timeout=3600, **ANY)


@pytest.mark.parametrize("arrange", [succeeds, is_listed_as_ended_too_early])
def test_the_events_of_outlets_hold_the_job_that_was_identified(
    pixxel: Any, runner: Runner, arrange: Callable[[Any], None]
) -> None:
    arrange(pixxel)
    outlet = create_asset(workflow_id="wf-succeeds")
    runner.run(timeout=3600, outlets=[outlet], **ANY)
    assert runner.outlet_events[outlet].extra["job_id"] == "job-1"


def test_filters_mean_the_same_in_every_mode(in_every_mode: Any) -> None:
    def arrange(pixxel: Any) -> None:
        pixxel.create_job("wf-succeeds", "theirs", seconds=100)
        pixxel.create_job("wf-succeeds", "broken", course="wf-fails", created_by="me", seconds=100)
        pixxel.create_job("wf-succeeds", "mine", created_by="me", seconds=300)

    how = {**ANY, "created_by": "me", "statuses": ["Completed"], "timeout": 3600}
    for mode, ended in in_every_mode(arrange, **how).items():
        assert (ended.kind, ended.xcoms["job_id"]) == ("success", "mine"), mode


ARGUMENTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a datetime": ({"ended_after": datetime(2026, 9, 21, 14, 13, 20, tzinfo=timezone.utc)}, "success", ""),
    "no job id": ({"job_id": None}, "success", ""),
    "no zone": ({"ended_after": "2026-09-21T14:13:20"}, "PixxelInputError", "ended_after needs a time zone"),
    "a date": ({"ended_after": "2026-09-21"}, "PixxelInputError", "ended_after needs a time zone"),
    "no moment": ({"ended_after": "soon"}, "PixxelInputError", "ended_after must be an ISO 8601 time"),
    "no user": ({"created_by": " "}, "PixxelInputError", "created_by is empty"),
    "a word for a list": ({"statuses": "failed"}, "PixxelInputError", "statuses must be a list"),
    "a moment to come": ({"ended_after": "2027-01-01T00:00:00Z"}, "AirflowSensorTimeout", "2027-01-01"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "kind", "words"), ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_arguments_mean_the_same_in_every_mode(
    in_every_mode: Any, arguments: dict[str, Any], kind: str, words: str
) -> None:
    found = in_every_mode(succeeds, **{**ANY, "timeout": TIMEOUT, **arguments})
    seen = found["poke"]
    assert (seen.kind, words in seen.message) == (kind, True), seen.message
    assert [mode for mode, ended in found.items() if not ended.tells_as(seen)] == []


# ------------------------------------------------------------------------------------------------- requests


def test_a_job_that_has_ended_never_defers_and_costs_one_list_and_one_read(
    pixxel: Any, runner: Runner
) -> None:
    has_succeeded(pixxel)
    assert runner.run(**ANY).kind == "success"
    assert (runner.deferrals, runner.workers) == ([], 1)
    assert (pixxel.requests("list_jobs"), pixxel.requests("get_job")) == (1, 1)


def test_a_deferred_wait_takes_two_short_worker_runs_and_reads_the_job_once(
    pixxel: Any, runner: Runner
) -> None:
    succeeds(pixxel)
    assert runner.run(timeout=3600, **ANY).kind == "success"
    lists = pixxel.requests("list_jobs")
    assert runner.workers == {"poke": 1, "reschedule": lists}.get(runner.mode, 2)
    assert pixxel.requests("get_job") == 1
    assert 200 / 90 < lists < 200 / 72 + 3


def test_the_id_is_pushed_before_the_job_is_read(pixxel: Any, context: Any) -> None:
    has_succeeded(pixxel)
    pixxel.fail_next("get_job", status=401, times=0)
    with pytest.raises(Exception, match="401"):
        PixxelJobSensor(task_id="wait", workflow_id="wf-succeeds", **ANY).execute(context)
    assert context["ti"].xcoms["job_id"] == "job-1"


def test_a_job_that_is_listed_late_is_waited_for(all_succeed: Any) -> None:
    def arrange(pixxel: Any) -> None:
        pixxel.create_job("wf-succeeds", "job-1", seconds=100, list_delay=500)

    all_succeed(arrange, timeout=3600, **ANY)


# ------------------------------------------------------------------------------------------- the constructor


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "job_id"),
        ({"job_id": "j", "ended_after": NOW}, "ended_after"),
        ({"job_id": "", "ended_after": NOW}, "ended_after"),
        ({"job_id": "j", "created_by": "me"}, "created_by"),
        ({"job_id": "j", "statuses": ["failed"]}, "statuses"),
    ],
)
def test_a_wait_is_for_one_job_or_for_the_first_after_a_moment(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(PixxelInputError) as caught:
        PixxelJobSensor(task_id="wait", workflow_id="w", **arguments)
    assert caught.value.field == field


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow before 3.3 starts every wait on a worker")
def test_a_worker_starts_it_and_the_reason_is_said() -> None:
    sensor = PixxelJobSensor(task_id="wait", workflow_id="w", start_from_trigger=True, **ANY)
    assert (sensor.start_from_trigger, sensor.start_trigger_args) == (False, None)
    assert "ended_after" in needs_worker(sensor)
    assert sensor.deferrable


def test_a_moment_that_a_template_renders_to_nothing_is_named(pixxel: Any, context: Any) -> None:
    sensor = PixxelJobSensor(task_id="wait", workflow_id="w", ended_after="{{ params.since }}")
    # As a DAG that renders native objects does.
    sensor.ended_after = None
    with pytest.raises(PixxelInputError, match="ended_after must be an ISO 8601 time, not None"):
        sensor.execute(context)
    assert pixxel.counters.total == 0


def test_another_run_of_the_same_sensor_finds_its_own_job(pixxel: Any, context: Any) -> None:
    sensor = PixxelJobSensor(task_id="wait", workflow_id="wf-succeeds", **ANY)
    has_succeeded(pixxel)
    assert sensor.execute(context)["id"] == "job-1"
    pixxel.reset()
    pixxel.create_job("wf-succeeds", "job-2", seconds=1)
    pixxel.advance(2)
    assert sensor.execute(context)["id"] == "job-2"


def test_a_job_that_ended_unseen_is_not_lost_with_its_triggerer(pixxel: Any, runner: Runner) -> None:
    succeeds(pixxel)
    runner.lose_trigger = True
    ended = runner.run(timeout=TIMEOUT, **ANY)
    assert (ended.kind, ended.xcoms["job_id"]) == ("success", "job-1")


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="DAGs are stored in another way before")
def test_it_survives_the_database_with_the_dag() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    moment = datetime(2026, 9, 21, tzinfo=timezone.utc)
    with DAG("d", schedule=None) as dag:
        PixxelJobSensor(task_id="text", workflow_id="w", ended_after=NOW)
        PixxelJobSensor(task_id="moment", workflow_id="w", ended_after=moment, statuses={"failed"})
        PixxelJobSensor.partial(task_id="mapped", workflow_id="w").expand(ended_after=[NOW])
    again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert again.get_task("text").ended_after == NOW
    assert again.get_task("moment").start_trigger_args is None
    assert again.get_task("mapped").is_mapped
