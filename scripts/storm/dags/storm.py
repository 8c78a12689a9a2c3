"""One DAG for each kind of run of the storm; what a run is about stands in its params."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow import __version__
from airflow.providers.common.compat.sdk import DAG

from pixxel_provider.assets import HAS_ASSET_WATCHERS, watched_workflow
from pixxel_provider.operators.pixxel import (
    PixxelDownloadJobOperator,
    PixxelEstimateCostOperator,
    PixxelGetJobOperator,
    PixxelRunJobOperator,
)
from pixxel_provider.sensors.pixxel import PixxelJobSensor

HAS_STORE = tuple(map(int, __version__.split(".")[:2])) >= (3, 3)
COMMON: dict[str, Any] = {
    # A worker or a part of Airflow that is killed costs a try.
    "retries": 8,
    "retry_delay": timedelta(seconds=10),
    "workflow_id": "{{ params.workflow_id }}",
    "pixxel_conn_id": "{{ params.conn_id }}",
}
WAIT: dict[str, Any] = {**COMMON, "poke_interval": 5, "timeout": 3600}
RUN: dict[str, Any] = {
    **WAIT,
    "task_id": "run",
    "project_id": "project-agriculture",
    "created_by": "user-simulator-1",
    "deferrable": True,
}
SENSOR: dict[str, Any] = {**WAIT, "task_id": "wait", "job_id": "{{ params.job_id }}"}
PARAMS = {"workflow_id": "", "job_id": "", "conn_id": "pixxel_default", "destination": "", "workflows": []}


def dag(kind: str, schedule: Any = None) -> DAG:
    """The DAG of a kind of run."""
    return DAG(
        f"storm_{kind}",
        start_date=datetime(2026, 1, 1),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1000,
        max_active_tasks=1000,
        schedule=schedule,
        params=PARAMS if schedule is None else {},
    )


def run(kind: str, **arguments: Any) -> None:
    """A DAG whose only task runs a job."""
    with dag(kind):
        PixxelRunJobOperator(**{**RUN, **arguments})


def sensor(kind: str, **arguments: Any) -> None:
    """A DAG whose only task waits for a job."""
    with dag(kind):
        PixxelJobSensor(**{**SENSOR, **arguments})


run("run_deferred")
run("run_polled", deferrable=False)
run("run_fails")
run("run_unconfirmed", not_found_grace=5)
run("run_costly", max_cost=1)
# As the docs advise for runs that share a workflow: a lost answer then can't be confused with another one's.
run("run_shared", pool="storm_single")

with dag("run_download"):
    PixxelRunJobOperator(**RUN) >> PixxelDownloadJobOperator(
        **{**WAIT, "task_id": "download"},
        job_id="{{ ti.xcom_pull(task_ids='run', key='job_id') }}",
        destination="{{ params.destination }}",
        deferrable=True,
    )

with dag("run_then_wait"):
    started = PixxelRunJobOperator(**{**RUN, "task_id": "start"}, wait=False)
    waited = PixxelJobSensor(**{**SENSOR, "job_id": started.output}, deferrable=True)
    waited >> PixxelGetJobOperator(
        **{**COMMON, "task_id": "get"}, job_id="{{ ti.xcom_pull(task_ids='start') }}"
    )

with dag("run_mapped"):
    rest = {name: value for name, value in RUN.items() if name != "workflow_id"}
    workflows = [f"{{{{ params.workflows[{number}] }}}}" for number in range(2)]
    PixxelRunJobOperator.partial(**rest).expand(workflow_id=workflows)

with dag("estimate"):
    PixxelEstimateCostOperator(**{**COMMON, "task_id": "estimate"})

sensor("wait_deferred", deferrable=True)
sensor("wait_polled", deferrable=False)
sensor("wait_rescheduled", deferrable=False, mode="reschedule")
sensor("wait_backoff", deferrable=True, exponential_backoff=True, max_wait=10)
sensor("wait_fails", deferrable=True)
sensor("wait_soft", deferrable=True, soft_fail=True)
sensor("wait_timeout", deferrable=True, timeout=30)
sensor("wait_ended_after", deferrable=True, job_id=None, ended_after="{{ params.job_id }}")

if HAS_STORE:
    run("run_rescheduled", deferrable=False, mode="reschedule")
    sensor("wait_started", deferrable=True, start_from_trigger=True)
    sensor("wait_unaided", deferrable=True, start_from_trigger=True, end_from_trigger=True)

if HAS_ASSET_WATCHERS:
    from airflow.providers.common.compat.sdk import task

    jobs = watched_workflow("wf-storm-watched", poke_interval=5)

    with dag("watched", schedule=[jobs]):

        @task(retries=8, retry_delay=timedelta(seconds=10))
        def collect(triggering_asset_events: Any = None) -> list[str]:
            """Return the ids of the events that started this run."""
            found = [event for events in triggering_asset_events.values() for event in events]
            return [event.extra["payload"]["event_id"] for event in found]

        collect()
