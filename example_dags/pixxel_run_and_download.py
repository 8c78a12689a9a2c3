"""Estimate the cost of a workflow, run it if that isn't too high, download its results, and use the files.

Trigger it with ``{"workflow_id": "...", "project_id": "...", "max_credits": 200, "folder": "/data"}``.
"""

from __future__ import annotations

import json
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

WORKFLOW = "{{ params.workflow_id }}"


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["example", "pixxel"],
    # For a worker that dies. From Airflow 3.3 on, the next try resumes its job: docs/money.rst.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5)},
    params={
        "workflow_id": Param("wf-succeeds", type="string"),
        "project_id": Param("project-agriculture", type="string"),
        "max_credits": Param(200, type="number", description="Workflows above this cost aren't run."),
        "folder": Param(
            str(Path(tempfile.gettempdir()) / "pixxel"), type="string", description="Where files are stored."
        ),
    },
)
def pixxel_run_and_download():
    """Run a workflow and use its results."""
    estimate = PixxelEstimateCostOperator(task_id="estimate", workflow_id=WORKFLOW)

    @task.short_circuit
    def worth_it(credits: float, params: dict[str, Any] | None = None) -> bool:
        """Skip all later tasks if the estimate is too high."""
        return credits <= (params or {})["max_credits"]

    run = PixxelRunJobOperator(
        task_id="run",
        workflow_id=WORKFLOW,
        project_id="{{ params.project_id }}",
        # The estimate is requested again just before the job is created.
        max_cost="{{ params.max_credits }}",
        deferrable=True,
        poke_interval=10,
        timeout=timedelta(hours=6).total_seconds(),
    )

    # Each job has a folder of its own, so that the files of two DAG runs don't mix.
    download = PixxelDownloadJobOperator(
        task_id="download",
        workflow_id=WORKFLOW,
        job_id=run.output["job_id"],
        destination="{{ params.folder }}/{{ ti.xcom_pull(task_ids='run', key='job_id') }}",
        unpack=True,
        deferrable=True,
        poke_interval=10,
    )

    @task(multiple_outputs=False)
    def use(package: dict[str, Any]) -> dict[str, Any]:
        """Stand in for the tasks that use the files."""
        files = [Path(path) for path in package["paths"]]
        return {file.name: json.loads(file.read_text()) for file in files}

    worth_it(estimate.output) >> run
    use(download.output)


pixxel_run_and_download()
