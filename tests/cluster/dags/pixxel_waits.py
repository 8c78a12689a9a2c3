"""Waits in each mode, for the tests that run on a whole Airflow."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task

from pixxel_provider.sensors.pixxel import PixxelJobSensor

ARGUMENTS: dict[str, Any] = {
    "workflow_id": "{{ params.workflow_id }}",
    "poke_interval": 1,
    "retries": 1,
    "retry_delay": timedelta(seconds=1),
    "start_from_trigger": True,
}
JOB = "{{ params.job_id }}"
PARAMS = {"workflow_id": "wf-succeeds", "job_id": "job-finished"}


def dag(dag_id: str, **arguments: Any) -> DAG:
    return DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1), params=PARAMS, **arguments)


def called(context: Any) -> None:
    """Leave a trace of a callback that only a worker runs."""
    context["ti"].xcom_push(key="called", value=True)


def gate(dag_id: str, dag_arguments: dict[str, Any] | None = None, **arguments: Any) -> None:
    with dag(dag_id, **(dag_arguments or {})):
        found = PixxelJobSensor(task_id="wait", **{**ARGUMENTS, "job_id": JOB, **arguments}).output

        @task
        def use(job: Any, cost: Any) -> dict[str, Any]:
            return {"job": type(job).__name__, "id": job["id"], "cost": cost}

        use(found, found["cost"])


def gates(name: str, **end: Any) -> None:
    gate(f"{name}_gate", **end)
    gate(f"{name}_soft", soft_fail=True, **end)
    gate(f"{name}_impatient", timeout=3, retries=0, **end)
    gate(f"{name}_limited", execution_timeout=timedelta(seconds=8), **end)
    gate(f"{name}_final", retries=0, **end)
    macros = {"user_defined_macros": {"our_job": lambda: "job-finished"}}
    gate(f"{name}_macro", macros, job_id="{{ our_job() }}", **end)
    gate(f"{name}_called", on_success_callback=called, outlets=[Asset("pixxel-jobs")], **end)
    gate(f"{name}_pooled", pool_slots=2, **end)

    with dag(f"{name}_mapped"):
        PixxelJobSensor.partial(task_id="wait", **ARGUMENTS, **end).expand(
            job_id=["job-finished", "job-finished"]
        )

    with dag(f"{name}_chained"):

        @task
        def pick(params: Any = None) -> str:
            return params["job_id"]

        @task
        def each(job: str) -> str:
            return job

        common = {**ARGUMENTS, **end}
        picked = pick()
        PixxelJobSensor(task_id="by_argument", job_id=picked, **common)
        by_pull = PixxelJobSensor(task_id="by_pull", job_id="{{ ti.xcom_pull(task_ids='pick') }}", **common)
        picked >> by_pull
        template = "{{ ti.xcom_pull(task_ids='each')[0] }}"
        by_first = PixxelJobSensor(task_id="by_first", job_id=template, **common)
        each.expand(job=["job-finished", "job-long"]) >> by_first


on_a_worker: dict[str, Any] = {"start_from_trigger": False}
rescheduled: dict[str, Any] = {"deferrable": False, "mode": "reschedule", **on_a_worker}
gate("rescheduled_gate", **rescheduled)
gate("rescheduled_described", outlets=[Asset("pixxel-jobs")], **rescheduled)
gate("deferred_gate", deferrable=True, **on_a_worker)
gate("deferred_soft", deferrable=True, soft_fail=True, **on_a_worker)
gate("deferred_impatient", deferrable=True, timeout=3, **on_a_worker)
gate("deferred_described", deferrable=True, outlets=[Asset("pixxel-jobs")], **on_a_worker)
gates("started")
gates("unaided", end_from_trigger=True)
