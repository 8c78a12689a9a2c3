"""Run as many workflows as the budget allows, each as a mapped task, and download their results.

Trigger it with ``{"workflow_ids": ["...", "..."], "project_id": "...", "budget": 500, "folder": "/data"}``.
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from pixxel_provider.operators.pixxel import (
    PixxelDownloadJobOperator,
    PixxelEstimateCostOperator,
    PixxelRunJobOperator,
)


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "pixxel"],
    # For a worker that dies. From Airflow 3.3 on, the next try resumes its job: docs/money.rst.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    params={
        "workflow_ids": Param(["wf-succeeds"], type="array"),
        "project_id": Param("project-agriculture", type="string"),
        "budget": Param(500, type="number", description="Credits for all jobs together."),
        "folder": Param(
            str(Path(tempfile.gettempdir()) / "pixxel"), type="string", description="Where files are stored."
        ),
    },
)
def pixxel_run_mapped():
    """Run several workflows and use their results."""

    @task
    def workflows(params: dict[str, Any] | None = None) -> list[str]:
        """Stand in for the task that knows the workflows. Without duplicates, which would be billed."""
        return sorted(set((params or {})["workflow_ids"]))

    chosen = workflows()
    estimate = PixxelEstimateCostOperator.partial(task_id="estimate").expand(workflow_id=chosen)

    @task
    def within_budget(
        workflow_ids: list[str], credits: list[float], params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Take the cheapest first, as long as the budget lasts."""
        left, taken = (params or {})["budget"], []
        for cost, workflow_id in sorted(zip(credits, workflow_ids, strict=True)):
            if cost <= left:
                left -= cost
                taken.append({"workflow_id": workflow_id, "max_cost": cost})
        return taken

    run = PixxelRunJobOperator.partial(
        task_id="run",
        project_id="{{ params.project_id }}",
        deferrable=True,
        poke_interval=10,
        timeout=timedelta(hours=6).total_seconds(),
    ).expand_kwargs(within_budget(chosen, estimate.output))

    @task
    def packages(jobs: list[dict[str, Any]], params: dict[str, Any] | None = None) -> list[dict[str, str]]:
        """Return where to store the package of each job."""
        folder = (params or {})["folder"]
        return [
            {
                "workflow_id": job["workflow_id"],
                "job_id": job["id"],
                "destination": f"{folder}/{job['id']}.zip",
            }
            for job in jobs
        ]

    download = PixxelDownloadJobOperator.partial(
        task_id="download", deferrable=True, poke_interval=10
    ).expand_kwargs(packages(run.output))

    @task
    def collect_paths(found: list[dict[str, Any]]) -> list[str]:
        """Stand in for the tasks that use the files."""
        return [package["path"] for package in found]

    collect_paths(download.output)


pixxel_run_mapped()
