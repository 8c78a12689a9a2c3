"""Wait for a Pixxel job, then read its cost and its results from XCom, and use them.

Trigger it with ``{"workflow_id": "...", "job_id": "..."}``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
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
        "workflow_id": Param("wf-succeeds", type="string"),
        "job_id": Param("job-finished", type="string"),
        "expensive_from": Param(
            100, type="number", description="Cost in credits from which a message is sent."
        ),
    },
)
def pixxel_gate():
    """Let later tasks run only if a job succeeded."""
    wait = PixxelJobSensor(
        task_id="wait",
        workflow_id=WORKFLOW,
        job_id=JOB,
        deferrable=True,
        poke_interval=10,
        timeout=timedelta(hours=6).total_seconds(),
        retries=1,
        retry_delay=timedelta(seconds=5),
    )

    # The sensor returns the job without its tasks' results; include adds them.
    details = PixxelGetJobOperator(task_id="details", workflow_id=WORKFLOW, job_id=JOB, include=["result"])

    @task.branch
    def check_cost(cost: float | None, params: dict[str, Any] | None = None) -> str:
        """Choose a branch by the job's cost in credits."""
        return "notify" if (cost or 0) >= (params or {})["expensive_from"] else "use_results"

    @task
    def notify(job: dict[str, Any]) -> str:
        """Stand in for a message about the cost."""
        return f"Job {job['id']} cost {job['cost']} credits."

    @task(trigger_rule="none_failed_min_one_success", multiple_outputs=False)
    def use_results(job: dict[str, Any]) -> dict[str, Any]:
        """Stand in for the tasks that use the results."""
        return {entry["name"]: entry.get("result") for entry in job["tasks"]}

    notified = notify(details.output)
    way = check_cost(wait.output["cost"])
    used = use_results(details.output)
    wait >> details >> way >> [notified, used]
    notified >> used


pixxel_gate()
