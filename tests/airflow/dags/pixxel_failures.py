"""Tasks that fail, each in its own way, for what is logged of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import dag

from pixxel_provider.operators.pixxel import (
    PixxelDownloadJobOperator,
    PixxelEstimateCostOperator,
    PixxelGetJobOperator,
    PixxelRunJobOperator,
)
from pixxel_provider.sensors.pixxel import PixxelJobSensor

FAILED: dict[str, Any] = {"workflow_id": "wf-fails", "job_id": "job-failed"}
NOWHERE: dict[str, Any] = {"pixxel_conn_id": "nowhere"}
MODES: dict[str, dict[str, Any]] = {
    "poke": {},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
    "started": {"start_from_trigger": True},
}


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def pixxel_failures():
    """Fail in many ways."""
    for name, mode in MODES.items():
        PixxelJobSensor(task_id=f"{name}_unconnected", **FAILED, **NOWHERE, **mode)
    PixxelJobSensor(task_id="failed", **FAILED)
    PixxelJobSensor(
        task_id="failed_later", workflow_id="wf-fails", job_id="job-later", deferrable=True, poke_interval=0.5
    )
    PixxelJobSensor(task_id="bad_template", workflow_id="{{ 1 / 0 }}", job_id="j")
    PixxelGetJobOperator(task_id="get_unconnected", **FAILED, **NOWHERE)
    PixxelEstimateCostOperator(task_id="estimate_unconnected", workflow_id="wf-succeeds", **NOWHERE)
    PixxelRunJobOperator(task_id="run_fails", workflow_id="wf-fails", project_id="p", max_cost=1)
    PixxelRunJobOperator(task_id="run_unconnected", workflow_id="wf-fails", project_id="p", **NOWHERE)
    PixxelDownloadJobOperator(
        task_id="download_unconnected", **FAILED, **NOWHERE, destination="/nowhere/x.zip"
    )


pixxel_failures()
