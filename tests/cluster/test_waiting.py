"""Waiting in a running Airflow: a scheduler, workers, and a triggerer in a process of its own."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from tests.cluster.conftest import LINK, Run, asked_once_more, eventually


def test_the_gate_waits_in_the_triggerer_and_goes_on_when_the_job_has_ended(
    trigger: Any, finish: Any, pixxel: Any, job: str
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
    asked_once_more(pixxel, job)
    finish(job)

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
    assert run.task("notify")["state"] == "success"
    assert run.xcoms("use_results")["return_value"]["Crop stress index"]["stressed_hectares"] == 184
    assert run.links() == {"Pixxel job": LINK}


def test_reschedule_mode_waits_without_a_worker_and_returns_the_same(
    trigger: Any, finish: Any, pixxel: Any, job: str
) -> None:
    run: Run = trigger("rescheduled_gate", job_id=job)
    run.until("up_for_reschedule")
    finish(job)
    run.until("success")
    assert run.xcoms()["return_value"]["status"] == "completed"
    assert run.xcoms()["cost"] == 120
    assert run.links() == {"Pixxel job": LINK}


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
    airflow: Any, trigger: Any, pixxel: Any, job: str, tmp_path: Path
) -> None:
    run: Run = trigger("pixxel_gate", job_id=job)
    run.until("deferred")
    asked_once_more(pixxel, job)
    airflow.adopt(airflow.spawn("triggerer", tmp_path / "second.log"))
    eventually(lambda: move_the_triggers(airflow), "a second triggerer", 120)
    eventually(
        lambda: all(map(run.log().__contains__, MOVED)), "a trigger that is cancelled because it was moved"
    )
    asked_once_more(pixxel, job)
    assert GOES_ON not in run.log()

    airflow.ask("PATCH", f"{run.path}/taskInstances/wait", {"new_state": "failed"})
    eventually(lambda: GOES_ON in run.log(), "a warning about the job")
