"""One task instance, one bill, on a whole Airflow whose processes are killed with SIGKILL."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import psutil
import pytest

from tests.cluster.conftest import KEY, Run, eventually, kill_the_triggerers

LINK = "https://aurora.pixxel.space/"
CAN = tuple(int(part) for part in metadata.version("apache-airflow").split(".")[:2]) >= (3, 3)
pytestmark = pytest.mark.skipif(not CAN, reason="Airflow before 3.3 remembers nothing of an earlier try")
#: Seconds that an answer takes whose reader is killed meanwhile.
LONG = 60


@pytest.fixture
def start(trigger: Any) -> Any:
    """Start a run; its job takes two minutes unless somebody ends it."""

    def started(dag_id: str, **conf: Any) -> Run:
        run: Run = trigger(dag_id, **conf)
        return run

    return started


def kill_the_task(run: Run, airflow: Any) -> None:
    """Kill the process that runs the task: it, and none but ours, is of our Airflow, and its API names it."""
    pid = run.task("run")["pid"]
    (process,) = [each for each in airflow.processes() if each.pid == pid]
    # A child of the supervisor, which lives on and tells Airflow.
    assert process.parent().pid in {each.pid for each in airflow.processes()}
    process.kill()
    psutil.wait_procs([process], timeout=10)


def replace_the_triggerer(airflow: Any) -> None:
    kill_the_triggerers(airflow)
    airflow.adopt(airflow.spawn("triggerer", airflow.home / "triggerer-of-money.log"))


def finish(pixxel: Any, run: Run) -> str:
    """End the job that is waited for, and see that the task takes its result, and that it is the only one."""
    job = eventually(lambda: pixxel.bill().jobs, "a job")[-1]
    pixxel.finish_job(job)
    run.until("success", task_id="run")
    xcoms = run.xcoms("run")
    assert (xcoms["job_id"], xcoms["return_value"]["id"], xcoms["status"]) == (job, job, "completed")
    assert (xcoms["estimated_cost"], xcoms["cost"]) == (120, 120)
    assert run.links("run") == {"Pixxel job": LINK}
    return str(job)


def next_try(run: Run, number: int = 2) -> None:
    eventually(lambda: run.task("run")["try_number"] == number, f"try {number}")


def test_dying_before_the_request_costs_nothing(start: Any, airflow: Any, pixxel: Any) -> None:
    pixxel.fail_next("list_jobs", latency=LONG)
    run = start("money_deferred")
    eventually(lambda: pixxel.requests("list_jobs"), "a request for the list")
    kill_the_task(run, airflow)
    next_try(run)
    run.until("deferred", task_id="run")
    job = finish(pixxel, run)
    assert pixxel.bill().jobs == (job,)
    assert "Taking up" not in run.log("run", 2)
    assert "Adopting" not in run.log("run", 2)


def test_dying_between_request_and_answer_costs_one_job(start: Any, airflow: Any, pixxel: Any) -> None:
    pixxel.fail_next("create_job", latency=LONG, carried_out=True)
    run = start("money_deferred")
    eventually(lambda: pixxel.bill().jobs, "a bill")
    kill_the_task(run, airflow)
    next_try(run)
    run.until("deferred", task_id="run")
    job = finish(pixxel, run)
    assert pixxel.bill().jobs == (job,)
    log = run.log("run", 2)
    assert "An earlier try may have created a job: searching for it first" in log
    assert f"Adopting {job}" in log


def test_where_nobody_can_know_a_person_is_asked_and_clears(start: Any, airflow: Any, pixxel: Any) -> None:
    pixxel.fail_next("create_job", latency=LONG, drop="reset")
    run = start("money_deferred")
    eventually(lambda: pixxel.requests("create_job"), "a request to create a job")
    kill_the_task(run, airflow)
    run.until("failed", task_id="run")
    assert run.task("run")["try_number"] == 2
    log = run.log("run", 2)
    for words in ("PixxelUnconfirmedJobError", "No new job is listed", "or clear this task to create one"):
        assert words in log
    assert (pixxel.bill().jobs, pixxel.requests("create_job")) == ((), 1)
    clear(run, airflow)
    next_try(run, 3)
    run.until("deferred", task_id="run")
    assert pixxel.bill().jobs == (finish(pixxel, run),)


def test_dying_between_answer_and_record_costs_one_job(start: Any, airflow: Any, pixxel: Any) -> None:
    run = start("money_slow", stop="before the job is stored")
    eventually(lambda: run.xcoms("run").get("stopped"), "the stop")
    assert len(pixxel.bill().jobs) == 1
    kill_the_task(run, airflow)
    next_try(run)
    run.until("deferred", task_id="run")
    job = finish(pixxel, run)
    assert pixxel.bill().jobs == (job,)
    assert f"Adopting {job}" in run.log("run", 2)


def test_dying_while_polling_takes_up_the_job(start: Any, airflow: Any, pixxel: Any) -> None:
    run = start("money_polled")
    (job,) = eventually(lambda: pixxel.bill().jobs, "a bill")
    eventually(lambda: pixxel.requests("get_job", job) >= 2, "polls")
    # During the wait people already see which job this is.
    assert run.xcoms("run") == {
        "job_id": job,
        "workflow_id": "wf-succeeds",
        "pixxel_conn_id": "pixxel_default",
        "estimated_cost": 120,
        "_link_PixxelJobLink": LINK,
    }
    assert run.links("run") == {"Pixxel job": LINK}
    kill_the_task(run, airflow)
    next_try(run)
    eventually(
        lambda: f"Resuming job {job} of an earlier try" in run.log("run", 2), "the job's being resumed"
    )
    assert finish(pixxel, run) == job
    assert pixxel.bill().jobs == (job,)


@pytest.mark.parametrize("stop", ["before the end is stored", "after the end is stored"])
def test_dying_after_the_resumption_takes_over_the_result(
    start: Any, airflow: Any, pixxel: Any, stop: str
) -> None:
    run = start("money_slow", stop=stop)
    run.until("deferred", task_id="run")
    (job,) = pixxel.bill().jobs
    pixxel.finish_job(job)
    eventually(lambda: run.xcoms("run").get("stopped"), "the stop")
    kill_the_task(run, airflow)
    next_try(run)
    assert finish(pixxel, run) == job
    assert pixxel.bill().jobs == (job,)
    assert f"Resuming job {job} of an earlier try, which is completed" in run.log("run", 2)


def test_a_deferred_run_outlives_its_triggerer_and_a_clearing_runs_a_second_job(
    start: Any, airflow: Any, pixxel: Any
) -> None:
    run = start("money_deferred")
    run.until("deferred", task_id="run")
    (job,) = pixxel.bill().jobs
    assert run.xcoms("run")["job_id"] == job
    assert run.links("run") == {"Pixxel job": LINK}
    replace_the_triggerer(airflow)
    asked = pixxel.requests("get_job", job)
    eventually(lambda: pixxel.requests("get_job", job) > asked, "a look of the new triggerer")
    assert finish(pixxel, run) == job
    assert run.task("run")["try_number"] == 1
    assert pixxel.bill().jobs == (job,)

    # Only then: Airflow loses a task that is cleared at the moment in which its run ends.
    eventually(lambda: airflow.get(run.path)["state"] == "success", "the end of the run")
    clear(run, airflow)
    next_try(run)
    run.until("deferred", task_id="run")
    second = finish(pixxel, run)
    assert pixxel.bill().jobs == (job, second)
    assert "The task had succeeded and was cleared: a new job is created" in run.log("run", 2)


@pytest.mark.parametrize(
    ("dag_id", "words"),
    [("money_deferred", "goes on running: Pixxel can't"), ("money_polled", "goes on running and is billed")],
)
def test_a_run_that_somebody_marks_as_failed_says_that_the_job_goes_on(
    start: Any, airflow: Any, pixxel: Any, dag_id: str, words: str
) -> None:
    run = start(dag_id)
    (job,) = eventually(lambda: pixxel.bill().jobs, "a bill")
    eventually(lambda: pixxel.requests("get_job", job) >= 2, "looks at the job")
    airflow.ask("PATCH", f"{run.path}/taskInstances/run", {"new_state": "failed"})
    run.until("failed", task_id="run")
    said = f"Pixxel job {job} of workflow wf-succeeds {words}"
    eventually(lambda: said in run.log("run"), "word of the job that goes on")
    assert KEY not in run.log("run")
    assert pixxel.bill().jobs == (job,)


def clear(run: Run, airflow: Any) -> None:
    eventually(lambda: airflow.get(run.path)["state"] in ("success", "failed"), "the end of the run")
    body = {"dry_run": False, "task_ids": ["run"], "dag_run_id": run.run_id, "only_failed": False}
    airflow.ask("POST", f"/api/v2/dags/{run.dag_id}/clearTaskInstances", body)


def test_a_run_its_package_and_its_use_come_through_on_a_whole_airflow(
    trigger: Any, pixxel: Any, tmp_path: Any
) -> None:
    before, pixxel.world.speed = pixxel.world.speed, 30.0
    try:
        run = trigger("pixxel_run_and_download", folder=str(tmp_path))
        run.until("success", task_id="use")
    finally:
        pixxel.world.speed = before
    job = run.xcoms("run")["job_id"]
    assert (pixxel.bill().jobs, pixxel.bill().credits) == ((job,), 120)
    found = run.xcoms("download")["return_value"]
    assert found["path"] == str(tmp_path / job)
    assert sorted(found["paths"]) == sorted(map(str, (tmp_path / job).iterdir()))
    assert run.xcoms("use")["return_value"]["4-crop-stress-index.json"]["stressed_hectares"] == 184
    log = run.log("download")
    assert KEY not in log
    assert "signature=" not in log
