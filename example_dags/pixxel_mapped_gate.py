"""Wait for several jobs of one workflow at once, then add up their costs.

Trigger it with ``{"workflow_id": "...", "job_ids": ["...", "..."]}``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from pixxel_provider.sensors.pixxel import PixxelJobSensor


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "pixxel"],
    params={
        "workflow_id": Param("wf-succeeds", type="string"),
        "job_ids": Param(["job-finished", "job-finished-earlier"], type="array"),
    },
)
def pixxel_mapped_gate():
    """Let later tasks run only if all jobs succeeded."""

    @task
    def jobs_to_wait_for(params: dict[str, Any] | None = None) -> list[str]:
        """Stand in for the task that knows the jobs."""
        return (params or {})["job_ids"]

    wait = PixxelJobSensor.partial(
        task_id="wait",
        workflow_id="{{ params.workflow_id }}",
        deferrable=True,
        poke_interval=10,
        retries=1,
        retry_delay=timedelta(seconds=5),
    ).expand(job_id=jobs_to_wait_for())

    @task
    def add_up(jobs: list[dict[str, Any]]) -> float:
        """Add up the cost of all jobs, in credits."""
        return sum(job["cost"] or 0 for job in jobs)

    add_up(wait.output)


pixxel_mapped_gate()
