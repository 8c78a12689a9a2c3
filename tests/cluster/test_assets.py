"""Assets in a running Airflow: what their events hold, and the examples that they start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS, AIRFLOW_V_3_3_PLUS

from pixxel_provider.assets import asset_uri
from tests.cluster.conftest import Run, eventually

DAG_ID = "pixxel_on_job_end"


def events(airflow: Any, **filters: str) -> list[dict[str, Any]]:
    """Return the asset events that Airflow has stored."""
    return airflow.get(f"/api/v2/assets/events?{urlencode(filters)}")["asset_events"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "dag_id", ["rescheduled_described", "deferred_described", "started_called", "unaided_called"]
)
def test_the_event_of_an_outlet_holds_the_job(
    airflow: Any, trigger: Callable[..., Run], finish: Callable[[str], None], job: str, dag_id: str
) -> None:
    run = trigger(dag_id, job_id=job)
    run.until("deferred", "up_for_reschedule")
    finish(job)
    run.until("success")
    (event,) = events(airflow, source_run_id=run.run_id, source_dag_id=dag_id)
    expected = {"workflow_id": "wf-succeeds", "job_id": job, "status": "completed", "cost": 120}
    assert event["extra"] == expected


@pytest.fixture
def unpaused(airflow: Any, pixxel: Any) -> Iterator[None]:
    """The example is active, and its watcher knows which jobs are old."""

    def pause(paused: bool) -> None:
        airflow.ask("PATCH", f"/api/v2/dags/{DAG_ID}", {"is_paused": paused})

    eventually(lambda: DAG_ID in {each["dag_id"] for each in airflow.get("/api/v2/dags")["dags"]}, DAG_ID)
    pause(False)
    before = pixxel.requests("list_jobs")
    eventually(lambda: pixxel.requests("list_jobs") >= before + 2, "two lists for the watcher", 180)
    yield
    pause(True)


@pytest.mark.usefixtures("unpaused")
def test_the_example_uses_each_job_once_although_its_event_is_repeated(
    airflow: Any, begin: Callable[..., str], finish: Callable[[str], None]
) -> None:
    def runs() -> list[Run]:
        found = airflow.get(f"/api/v2/dags/{DAG_ID}/dagRuns?order_by=run_after")["dag_runs"]
        return [Run(airflow, DAG_ID, each["dag_run_id"]) for each in found]

    earlier = len(runs())
    job = begin("job-of-somebody")
    finish(job)
    eventually(lambda: len(runs()) == earlier + 1, "a run of the example")
    first = runs()[-1]
    first.until("success", task_id="remember")
    (event,) = first.xcoms("new_jobs")["return_value"]
    assert (event["job_id"], event["outcome"], event["cost"]) == (job, "succeeded", 120)
    used = airflow.get(f"{first.path}/taskInstances/use/xcomEntries/return_value?map_index=0")["value"]
    assert used.startswith(f"{job}: succeeded, for 120 credits.")

    assets = airflow.get("/api/v2/assets?limit=100")["assets"]
    (asset,) = (each for each in assets if each["uri"] == asset_uri("wf-succeeds"))
    repeat = {"asset_id": asset["id"], "extra": {"payload": event}}
    airflow.ask("POST", "/api/v2/assets/events", repeat)
    eventually(lambda: len(runs()) == earlier + 2, "another run of the example")
    second = runs()[-1]
    second.until("success", "skipped", task_id="remember")
    # Before 3.3, Airflow has no store for what was used.
    assert second.xcoms("new_jobs")["return_value"] == ([] if AIRFLOW_V_3_3_PLUS else [event])


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="Airflow asks people from 3.1 on")
@pytest.mark.parametrize(("answer", "jobs"), [("Approve", 1), ("Reject", 0)])
def test_the_example_that_asks_creates_a_job_only_if_a_person_approves(
    airflow: Any,
    pixxel: Any,
    trigger: Callable[..., Run],
    finish: Callable[[str], None],
    answer: str,
    jobs: int,
) -> None:
    run = trigger("pixxel_ask_before_run")
    run.until("deferred", "awaiting_input", task_id="ask")
    details = f"{run.path}/taskInstances/ask/-1/hitlDetails"
    eventually(lambda: airflow.get(details)["subject"], "the question")
    assert airflow.get(details)["subject"] == "Run workflow wf-succeeds for 120 credits?"
    assert pixxel.requests("create_job") == 0
    # As long as a person needs: Airflow 3.3.2 fails a try that is answered before its scheduler has
    # heard that the worker ended.
    time.sleep(5)
    airflow.ask("PATCH", details, {"chosen_options": [answer], "params_input": {}})
    if jobs:
        run.until("deferred", task_id="run")
        finish(run.xcoms("run")["job_id"])
    run.until("success" if jobs else "skipped", task_id="run")
    assert pixxel.requests("create_job") == jobs
