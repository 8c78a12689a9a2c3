"""Gates for the tests that run on a whole Airflow."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag

from pixxel_provider.sensors.pixxel import PixxelJobSensor

ARGUMENTS = {
    "workflow_id": "{{ params.workflow_id }}",
    "job_id": "{{ params.job_id }}",
    "poke_interval": 1,
    "retries": 1,
    "retry_delay": timedelta(seconds=1),
}


def gate(dag_id: str, **arguments: object) -> None:
    @dag(
        dag_id=dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        params={"workflow_id": "wf-succeeds", "job_id": "job-finished"},
    )
    def build() -> None:
        PixxelJobSensor(task_id="wait", **ARGUMENTS, **arguments)

    build()


gate("gate_deferred", deferrable=True)
gate("gate_rescheduled", deferrable=False, mode="reschedule")
gate("gate_soft", deferrable=True, soft_fail=True)
gate("gate_impatient", deferrable=True, timeout=3)
