"""What a failed job looks like: the sensor fails with Pixxel's message, and other tasks report the failure.

Trigger it with ``{"workflow_id": "...", "job_id": "..."}``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from pixxel_provider.operators.pixxel import PixxelGetJobOperator
from pixxel_provider.sensors.pixxel import PixxelJobSensor

WORKFLOW = "{{ params.workflow_id }}"
JOB = "{{ params.job_id }}"


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "pixxel"],
    params={
        "workflow_id": Param("wf-fails", type="string"),
        "job_id": Param("job-failed", type="string"),
    },
)
def pixxel_failing_job():
    """Wait for a job that fails, and report what failed."""
    # Airflow doesn't use the retry: a failed job stays failed.
    wait = PixxelJobSensor(
        task_id="wait", workflow_id=WORKFLOW, job_id=JOB, deferrable=True, poke_interval=10, retries=1
    )

    # A sensor that failed returns nothing; the job can still be read.
    autopsy = PixxelGetJobOperator(
        task_id="autopsy",
        workflow_id=WORKFLOW,
        job_id=JOB,
        include=["info_logs"],
        trigger_rule="all_failed",
    )

    @task
    def report(job: dict[str, Any]) -> list[str]:
        """Stand in for a ticket that names the blocks that failed."""
        return [entry["block"]["name"] for entry in job["tasks"] if entry["err_msg"]]

    @task
    def use_results() -> None:
        """Never runs, because the sensor fails."""

    wait >> use_results()
    wait >> autopsy
    report(autopsy.output)


pixxel_failing_job()
