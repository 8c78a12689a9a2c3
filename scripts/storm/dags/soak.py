"""Five waits in one run, none of which needs a worker.

For each trigger that starts a task, Airflow 3.3 reads the whole DAG in the triggerer: a large one takes long.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from pixxel_provider.sensors.pixxel import PixxelJobSensor

with DAG(
    "soak",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1000,
    max_active_tasks=10_000,
    params={"workflow_id": "", "name": ""},
):
    for number in range(5):
        PixxelJobSensor(
            task_id=f"wait_{number}",
            workflow_id="{{ params.workflow_id }}",
            job_id=f"{{{{ params.name }}}}-{number}",
            deferrable=True,
            start_from_trigger=True,
            end_from_trigger=True,
            poke_interval=30,
            timeout=6 * 3600,
            retries=8,
        )
