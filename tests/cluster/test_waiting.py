"""Waiting in a running Airflow: a scheduler, workers, and a triggerer in a process of its own."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import KEY, Run, eventually, kill_the_triggerers

LINK = "https://aurora.pixxel.space/"
ENDED = "has ended: completed, for 120 credits"


@pytest.fixture
def job(control: Any, pixxel: Any) -> str:
    """A job that runs for ten minutes unless somebody ends it."""
    control("POST", "/jobs", {"workflow_id": "wf-succeeds", "id": "job-long", "seconds": 600})
    return "job-long"


def finish(control: Any, job: str) -> None:
    control("PATCH", f"/jobs/{job}", {"finish": True})


def asked_by_the_triggerer(pixxel: Any, job: str) -> Any:
    """Wait until somebody has asked for the job once more."""
    before = pixxel.requests("get_job", job)
    return eventually(lambda: pixxel.requests("get_job", job) > before, "a request of the triggerer")


def test_the_gate_waits_in_the_triggerer_and_goes_on_when_the_job_has_ended(
    trigger: Any, control: Any, pixxel: Any, job: str
) -> None:
    run: Run = trigger("pixxel_gate", job_id=job)
    run.until("deferred")
    # While it waits: the button works, and it is known which job this is.
    assert run.links() == {"Pixxel job": LINK}
    assert run.xcoms() == {
        "job_id": job,
        "workflow_id": "wf-succeeds",
        "pixxel_conn_id": "pixxel_default",
        "_link_PixxelJobLink": LINK,
    }
    asked_by_the_triggerer(pixxel, job)
    finish(control, job)

    assert run.until("success")["try_number"] == 1
    xcoms = run.xcoms()
    found = xcoms.pop("return_value")
    assert (found["id"], found["status"], found["cost"], len(found["tasks"])) == (job, "completed", 120, 5)
    assert xcoms == {
        "job_id": job,
        "workflow_id": "wf-succeeds",
        "pixxel_conn_id": "pixxel_default",
        "status": "completed",
        "cost": 120,
        "_link_PixxelJobLink": LINK,
    }
    run.until("success", task_id="use_results")
    assert run.task("tell_somebody")["state"] == "success"
    assert run.xcoms("use_results")["return_value"]["Crop stress index"]["stressed_hectares"] == 184
    assert run.links() == {"Pixxel job": LINK}


def test_the_log_of_a_wait_tells_it_from_start_to_end_and_holds_no_key(
    trigger: Any, control: Any, pixxel: Any, job: str
) -> None:
    run: Run = trigger("gate_deferred", job_id=job)
    run.until("deferred")
    asked_by_the_triggerer(pixxel, job)
    finish(control, job)
    run.until("success")
    log = run.log()
    assert f"Pixxel job {job} of workflow wf-succeeds: " in log
    assert ENDED in log
    assert KEY not in log


def test_a_wait_outlives_its_triggerer(
    trigger: Any, control: Any, pixxel: Any, airflow: Any, job: str
) -> None:
    run: Run = trigger("gate_deferred", job_id=job)
    run.until("deferred")
    asked_by_the_triggerer(pixxel, job)
    kill_the_triggerers(airflow)
    finish(control, job)
    airflow.adopt(airflow.spawn("triggerer", airflow.home / "second-triggerer.log"))
    assert run.until("success")["try_number"] == 1
    assert run.xcoms()["status"] == "completed"


def test_reschedule_mode_waits_without_a_worker_and_returns_the_same(
    trigger: Any, control: Any, pixxel: Any, job: str
) -> None:
    run: Run = trigger("gate_rescheduled", job_id=job)
    run.until("up_for_reschedule")
    finish(control, job)
    run.until("success")
    assert run.xcoms()["return_value"]["status"] == "completed"
    assert run.xcoms()["cost"] == 120
    assert run.links() == {"Pixxel job": LINK}


def test_a_failed_job_fails_the_task_in_words_and_is_not_tried_again(
    trigger: Any, control: Any, pixxel: Any
) -> None:
    control("POST", "/jobs", {"workflow_id": "wf-fails", "id": "job-breaks", "seconds": 600})
    run: Run = trigger("gate_deferred", workflow_id="wf-fails", job_id="job-breaks")
    run.until("deferred")
    finish(control, "job-breaks")
    task = run.until("failed")
    assert (task["try_number"], task["max_tries"]) == (1, 1)
    log = run.log()
    assert "task 'Crop stress index' failed in block spectral-index 3.0.1" in log
    assert "band 112 (870 nm) holds no valid pixel inside the area of interest" in log
    assert KEY not in log


def test_a_failed_job_skips_a_gate_with_soft_fail(trigger: Any, pixxel: Any) -> None:
    run: Run = trigger("gate_soft", workflow_id="wf-fails", job_id="job-failed")
    run.until("skipped")
    assert "soft_fail is set: Pixxel job job-failed of workflow wf-fails failed" in run.log()


def test_a_wait_that_takes_too_long_fails_with_what_was_seen_last(
    trigger: Any, pixxel: Any, job: str
) -> None:
    run: Run = trigger("gate_impatient", job_id=job)
    run.until("failed")
    log = run.log()
    assert f"Pixxel job {job} of workflow wf-succeeds had not ended when the timeout of 3 s was over" in log
    assert "0 of 5 tasks done" in log


MOVED = ("Trigger cancelled by user action", "trigger completed")
GOES_ON = "goes on running: Pixxel can't cancel a job"


def move_the_triggers(airflow: Any) -> bool:
    """Give each trigger to the other triggerer, as Airflow does where one was silent for too long."""
    with contextlib.closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as database:
        query = "SELECT id FROM job WHERE job_type = 'TriggererJob' AND state = 'running' ORDER BY id"
        jobs = [row[0] for row in database.execute(query)]
        if len(jobs) < 2:
            return False
        query = "UPDATE trigger SET triggerer_id = ? + ? - triggerer_id WHERE triggerer_id IN (?, ?)"
        moved = database.execute(query, (*jobs[-2:], *jobs[-2:])).rowcount
        database.commit()
        return moved > 0


def test_a_wait_that_moves_to_another_triggerer_goes_on_and_one_that_a_person_ends_warns_of_its_job(
    airflow: Any, trigger: Any, control: Any, pixxel: Any, job: str, tmp_path: Path
) -> None:
    run: Run = trigger("pixxel_gate", job_id=job)
    run.until("deferred")
    asked_by_the_triggerer(pixxel, job)
    airflow.adopt(airflow.spawn("triggerer", tmp_path / "second.log"))
    eventually(lambda: move_the_triggers(airflow), "a second triggerer", 120)
    eventually(
        lambda: all(map(run.log().__contains__, MOVED)), "a trigger that is cancelled because it was moved"
    )
    asked_by_the_triggerer(pixxel, job)
    assert GOES_ON not in run.log()

    airflow.ask("PATCH", f"{run.path}/taskInstances/wait", {"new_state": "failed"})
    eventually(lambda: GOES_ON in run.log(), "a warning about the job")
