"""A gate for as many jobs as a run asks for, each the wait of a mapped task."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from pixxel_provider.sensors.pixxel import PixxelJobSensor


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_tasks=100,
    params={"workflows": ["wf-succeeds"], "jobs": 1},
)
def pixxel_scale():
    @task
    def jobs_to_wait_for(params: dict[str, Any]) -> list[dict[str, str]]:
        return [
            {"workflow_id": workflow, "job_id": f"{workflow}-job-{number}"}
            for workflow in params["workflows"]
            for number in range(params["jobs"])
        ]

    wait = PixxelJobSensor.partial(
        task_id="wait",
        deferrable=True,
        poke_interval=5,
        retries=1,
        retry_delay=timedelta(seconds=1),
    ).expand_kwargs(jobs_to_wait_for())

    @task
    def gather(jobs: list[dict[str, Any]]) -> dict[str, list[Any]]:
        return {job["id"]: [job["status"], job["cost"]] for job in jobs}

    gather(wait.output)


pixxel_scale()
