"""One gate in each of the modes that keep a worker or give it back, for the tests."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import dag

from pixxel_provider.sensors.pixxel import PixxelJobSensor

WORKFLOW = "{{ params.workflow_id }}"
JOB = "{{ params.job_id }}"


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    params={"workflow_id": "wf-succeeds", "job_id": "job-finished"},
)
def pixxel_modes():
    for mode in ("poke", "reschedule"):
        PixxelJobSensor(
            task_id=mode, mode=mode, workflow_id=WORKFLOW, job_id=JOB, deferrable=False, poke_interval=1
        )


pixxel_modes()
