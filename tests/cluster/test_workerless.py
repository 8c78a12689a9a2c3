"""Waits that begin in the triggerer, and end there or on a worker, in a running Airflow."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest

from tests.cluster.conftest import KEY, LINK, Run, asked_once_more, eventually, kill_the_triggerers

CAN = tuple(int(part) for part in metadata.version("apache-airflow").split(".")[:2]) >= (3, 3)
needs_3_3 = pytest.mark.skipif(not CAN, reason="Airflow before 3.3 starts every wait on a worker")
KNOWN = {"workflow_id": "wf-succeeds", "pixxel_conn_id": "pixxel_default", "_link_PixxelJobLink": LINK}
WORKERS = {"deferred": 2, "started": 1, "unaided": 0}
WAYS = ("started", "unaided")
USED = {"job": "dict", "id": "job-long", "cost": 120}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Started in the triggerer and ended on a worker, or ended in the triggerer too."""
    return str(request.param)


@pytest.fixture(params=["deferred", *(pytest.param(way, marks=needs_3_3) for way in WAYS)])
def any_way(request: pytest.FixtureRequest) -> str:
    """The same, and started on a worker that defers."""
    return str(request.param)


def workers(run: Run, task_id: str = "wait", attempt: int = 1) -> int:
    """Count the processes that ran a try of a task on a worker: each reads the DAG file, and says so."""
    return run.log(task_id, attempt).count("DAG bundles loaded")


def test_a_wait_takes_as_many_workers_as_promised_and_logs_the_same(
    trigger: Any, finish: Any, pixxel: Any, job: str, any_way: str
) -> None:
    run: Run = trigger(f"{any_way}_gate", job_id=job)
    run.until("deferred")
    asked_once_more(pixxel, job)
    # While it waits: the button works, and it is known which job this is.
    assert run.links() == {"Pixxel job": LINK}
    assert run.xcoms() == {"job_id": job, **KNOWN}
    finish(job)

    assert run.until("success")["try_number"] == 1
    xcoms = run.xcoms()
    found = xcoms.pop("return_value")
    assert (found["id"], found["status"], found["cost"], len(found["tasks"])) == (job, "completed", 120, 5)
    assert xcoms == {"job_id": job, **KNOWN, "status": "completed", "cost": 120}
    assert run.links() == {"Pixxel job": LINK}
    log = run.log()
    assert f"Pixxel job {job} of workflow wf-succeeds: " in log
    assert f"Pixxel job {job} of workflow wf-succeeds has ended: completed, for 120 credits" in log
    assert KEY not in log
    assert workers(run) == WORKERS[any_way]
    run.until("success", task_id="use")
    assert run.xcoms("use")["return_value"] == USED


@pytest.mark.skipif(CAN, reason="from Airflow 3.3 on the triggerer starts the wait")
def test_before_3_3_a_worker_starts_the_wait_and_says_so_once(trigger: Any, pixxel: Any) -> None:
    run: Run = trigger("unaided_gate")
    run.until("success")
    assert run.log().count("This wait starts on a worker: Airflow before 3.3 needs one.") == 1


@needs_3_3
def test_ids_may_come_from_other_tasks(trigger: Any, pixxel: Any, way: str) -> None:
    run: Run = trigger(f"{way}_chained")
    for task_id in ("by_argument", "by_pull"):
        run.until("success", task_id=task_id)
        assert workers(run, task_id) == WORKERS[way]
    # What the triggerer can't render, a worker does.
    run.until("success", task_id="by_first")
    why = "A worker takes over: a template could not be rendered: UndefinedError"
    assert why in run.log("by_first")
    assert workers(run, "by_first") == 1


@needs_3_3
@pytest.mark.parametrize(
    ("dag", "why"),
    [
        ("macro", "A worker takes over: a template could not be rendered: UndefinedError: 'our_job'"),
        ("pooled", "This wait starts on a worker: pools count only tasks that a worker starts"),
    ],
)
def test_what_the_triggerer_would_get_wrong_starts_on_a_worker(
    trigger: Any, pixxel: Any, way: str, dag: str, why: str
) -> None:
    run: Run = trigger(f"{way}_{dag}")
    run.until("success")
    assert why in run.log()
    assert run.xcoms()["job_id"] == "job-finished"


@needs_3_3
def test_mapped_waits_start_on_workers(trigger: Any, airflow: Any, pixxel: Any, way: str) -> None:
    run: Run = trigger(f"{way}_mapped", workflow_id="wf-succeeds")
    path = f"{run.path}/taskInstances"

    def ended() -> list[Any] | None:
        found = sorted(airflow.get(path)["task_instances"], key=lambda task: task["map_index"])
        return found if [task["state"] for task in found] == ["success", "success"] else None

    assert eventually(ended, "both mapped tasks")
    log = airflow.get(f"{path}/wait/logs/1?full_content=true&map_index=0")
    assert "This wait starts on a worker: Airflow starts mapped tasks" in str(log)


@needs_3_3
def test_callbacks_and_outlets_are_never_lost(trigger: Any, airflow: Any, pixxel: Any, way: str) -> None:
    run: Run = trigger(f"{way}_called")
    run.until("success")
    # A callback runs after the state was set.
    eventually(lambda: run.xcoms().get("called"), "the callback")

    def event() -> bool:
        events = airflow.get("/api/v2/assets/events?limit=100")["asset_events"]
        return any(each["source_run_id"] == run.run_id for each in events)

    eventually(event, "the asset's event")


@pytest.mark.parametrize(
    "dag",
    [
        "deferred_gate",
        *(pytest.param(f"{way}_{dag}", marks=needs_3_3) for way in WAYS for dag in ("gate", "final")),
    ],
)
def test_a_failed_job_fails_the_task_in_words_and_is_not_tried_again(
    trigger: Any, begin: Any, finish: Any, dag: str
) -> None:
    run: Run = trigger(dag, workflow_id="wf-fails", job_id=begin("job-breaks", "wf-fails"))
    run.until("deferred")
    finish("job-breaks")
    assert run.until("failed")["try_number"] == 1
    log = run.log()
    assert "task 'Crop stress index' failed in block spectral-index 3.0.1" in log
    assert "band 112 (870 nm) holds no valid pixel inside the area of interest" in log
    xcoms = run.xcoms()
    assert (xcoms["job_id"], xcoms["status"]) == ("job-breaks", "failed")
    assert "return_value" not in xcoms
    assert KEY not in log
    # A TaskFailedEvent would be tried again where retries are left: only then a worker has to say no.
    assert workers(run) == {"deferred_gate": 2, "unaided_final": 0}.get(dag, 1)


def test_a_failed_job_skips_a_gate_with_soft_fail_and_what_follows(
    trigger: Any, airflow: Any, pixxel: Any, any_way: str
) -> None:
    run: Run = trigger(f"{any_way}_soft", workflow_id="wf-fails", job_id="job-failed")
    run.until("skipped")
    run.until("skipped", task_id="use")
    logged = run.log()
    if any_way == "unaided":
        assert workers(run) == 0
        # On a busy machine the last lines of a trigger that ends at once are in the triggerer's log alone.
        logged += airflow.log.read_text(encoding="utf-8")
    assert "soft_fail is set: Pixxel job job-failed of workflow wf-fails failed" in logged


@pytest.mark.parametrize(("dag", "limit"), [("impatient", 3), ("limited", 8)])
def test_a_wait_that_takes_too_long_fails_with_what_was_seen_last(
    trigger: Any, pixxel: Any, job: str, any_way: str, dag: str, limit: int
) -> None:
    if (any_way, dag) == ("deferred", "limited"):
        pytest.skip("execution_timeout doesn't end a deferral that a worker began")
    run: Run = trigger(f"{any_way}_{dag}", job_id=job)
    assert run.until("failed")["try_number"] == 1
    words = f"Pixxel job {job} of workflow wf-succeeds had not ended when the timeout of {limit} s was over"
    log = run.log()
    assert words in log
    assert dag == "limited" or "0 of 5 tasks done" in log


@needs_3_3
def test_an_error_is_tried_again_from_the_start(
    trigger: Any, begin: Any, finish: Any, pixxel: Any, way: str
) -> None:
    # A job of its own: a trigger that is being cancelled may still look at that of the test before.
    job = begin(f"job-refused-{way}")
    pixxel.fail_next("get_job", status=403, times=1, job_id=job)
    run: Run = trigger(f"{way}_gate", job_id=job)
    eventually(lambda: run.task()["try_number"] == 2, "a second try")
    assert "HTTP 403" in run.log(attempt=1)
    assert run.until("deferred")["try_number"] == 2
    asked_once_more(pixxel, job)
    assert workers(run, attempt=2) == 0
    assert run.xcoms() == {"job_id": job, **KNOWN}
    finish(job)
    run.until("success")


@needs_3_3
def test_a_cleared_wait_begins_anew_and_forgets_what_it_had_found(
    trigger: Any, airflow: Any, begin: Any, finish: Any, pixxel: Any, job: str, way: str
) -> None:
    run: Run = trigger(f"{way}_gate", job_id=job)
    run.until("deferred")
    finish(job)
    # Only then: Airflow loses a task that is cleared at the moment in which its run ends.
    eventually(lambda: airflow.get(run.path)["state"] == "success", "the end of the run")
    pixxel.reset()
    begin()
    body = {"dry_run": False, "task_ids": ["wait"], "dag_run_id": run.run_id, "only_failed": False}
    airflow.ask("POST", f"/api/v2/dags/{run.dag_id}/clearTaskInstances", {**body, "include_downstream": True})
    eventually(lambda: run.task()["try_number"] == 2, "a second try")
    run.until("deferred")
    asked_once_more(pixxel, job)
    assert run.xcoms() == {"job_id": job, **KNOWN}
    finish(job)
    run.until("success", task_id="use")
    assert run.xcoms()["return_value"]["status"] == "completed"


@needs_3_3
def test_a_wait_that_somebody_marks_as_failed_asks_no_more(
    trigger: Any, airflow: Any, pixxel: Any, job: str, way: str
) -> None:
    run: Run = trigger(f"{way}_gate", job_id=job)
    run.until("deferred")
    asked_once_more(pixxel, job)
    path = f"{run.path}/taskInstances/wait"
    airflow.ask("PATCH", path, {"new_state": "failed"})
    run.until("failed")
    eventually(lambda: "trigger completed" in run.log(), "the end of the trigger")
    asked = pixxel.requests("get_job", job)
    # Another wait's requests are the clock: three of its intervals, and none of the first one's.
    pixxel.create_job("wf-succeeds", "job-other", seconds=600)
    other: Run = trigger(f"{way}_gate", job_id="job-other")
    eventually(lambda: pixxel.requests("get_job", "job-other") >= 3, "the other wait's requests")
    assert pixxel.requests("get_job", job) == asked
    pixxel.finish_job("job-other")
    other.until("success")


def test_a_wait_outlives_its_triggerer(
    trigger: Any, finish: Any, pixxel: Any, airflow: Any, job: str, any_way: str
) -> None:
    run: Run = trigger(f"{any_way}_gate", job_id=job)
    run.until("deferred")
    asked_once_more(pixxel, job)
    kill_the_triggerers(airflow)
    finish(job)
    airflow.adopt(airflow.spawn("triggerer", airflow.home / f"triggerer-after-{any_way}.log"))
    assert run.until("success")["try_number"] == 1
    assert run.xcoms()["status"] == "completed"
    assert workers(run) == WORKERS[any_way]
