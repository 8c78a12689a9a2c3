"""A task for every condition a job can be in; ``scripts/browser.py`` creates the jobs and says the states."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from pixxel_provider.assets import watched_workflow
from pixxel_provider.operators.pixxel import PixxelGetJobOperator
from pixxel_provider.sensors.pixxel import PixxelJobSensor

BEGINNING = datetime(2026, 1, 1)


def wait(task_id: str, workflow: str = "wf-succeeds", job: str = "", **more: Any) -> PixxelJobSensor:
    return PixxelJobSensor(
        task_id=task_id,
        **{
            "workflow_id": workflow,
            "job_id": job or f"job-{task_id.replace('_', '-')}",
            "deferrable": True,
            "poke_interval": 3600,
            **more,
        },
    )


with DAG("pixxel_page", schedule=None, start_date=BEGINNING):
    running = wait("running")
    wait("rescheduled", deferrable=False, mode="reschedule")
    wait("succeeded", job="job-finished")
    wait("failed", "wf-fails")
    wait("invalid", "wf-invalid")
    wait("unknown", "wf-odd-status")
    wait("archived", "wf-odd-ended")
    wait("payload_waiting")
    wait("payload_failed", "wf-fails")
    wait("signed")
    wait("many", "wf-many")
    wait("watched", "wf-watched")
    wait("followed", "wf-followed", poke_interval=2)
    # The second try waits for another job than the first, which isn't there, or has ended.
    again = {"retries": 1, "retry_delay": timedelta(seconds=1), "not_found_grace": 0}
    wait("retried", job="job-retried-{{ ti.try_number }}", **again)
    wait("cleared", job="job-cleared-{{ ti.try_number }}")
    PixxelJobSensor.partial(
        task_id="mapped", workflow_id="wf-succeeds", deferrable=True, poke_interval=3600
    ).expand(job_id=["job-mapped-0", "job-mapped-1"])
    PixxelGetJobOperator(task_id="looked_at", workflow_id="wf-fails", job_id="job-looked-at")
    running >> wait("not_begun")

    @task
    def not_pixxel() -> str:
        return "nothing of Pixxel's"

    not_pixxel()


with DAG("pixxel_hidden", schedule=None, start_date=BEGINNING):
    wait("wait", job="job-hidden")

# They read their lists once, when the triggerer starts them.
watched = [
    watched_workflow("wf-fails", outcomes=["failed"], created_by="somebody", poke_interval=3600),
    watched_workflow("wf-odd-ended", poke_interval=3600),
]
with DAG("pixxel_watching", schedule=watched, start_date=BEGINNING):

    @task
    def never() -> None:
        """Run when both have an event, which they never do here."""

    never()
