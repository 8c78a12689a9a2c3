"""A run, its download and a wait that fails, all deferred, for the tests of lineage."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import dag

from pixxel_provider.operators.pixxel import PixxelDownloadJobOperator, PixxelRunJobOperator
from pixxel_provider.sensors.pixxel import PixxelJobSensor

SOON: dict[str, Any] = {"deferrable": True, "poke_interval": 0.5}


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, params={"folder": "/nowhere"})
def pixxel_lineage():
    """Do what OpenLineage hears of."""
    run = PixxelRunJobOperator(
        task_id="run", workflow_id="wf-succeeds", project_id="project-agriculture", **SOON
    )
    PixxelDownloadJobOperator(
        task_id="download",
        workflow_id="wf-succeeds",
        job_id=run.output["job_id"],
        destination="{{ params.folder }}",
        unpack=True,
        **SOON,
    )
    PixxelJobSensor(task_id="failed_later", workflow_id="wf-fails", job_id="job-later", **SOON)


pixxel_lineage()
