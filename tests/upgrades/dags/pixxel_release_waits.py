"""Every operator and every kind of wait, to be run while a release is recorded and upgraded.

``scripts/record_release.py`` keeps a copy with each release; it must be imported unchanged ever after.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from pixxel_provider.assets import HAS_ASSET_WATCHERS, watched_workflow
from pixxel_provider.operators.pixxel import (
    PixxelDownloadJobOperator,
    PixxelEstimateCostOperator,
    PixxelGetJobOperator,
    PixxelRunJobOperator,
)
from pixxel_provider.sensors.pixxel import PixxelJobSensor

USER = "user-simulator-1"
PROJECT = "project-agriculture"
START = datetime(2026, 1, 1)


def wait(name: str, workflow_id: str = "wf-succeeds", **arguments: Any) -> PixxelJobSensor:
    """Wait for a job that is named after the task."""
    if "ended_after" not in arguments:
        arguments.setdefault("job_id", f"job-{name}")
    return PixxelJobSensor(
        task_id=name, workflow_id=workflow_id, deferrable=True, poke_interval=1, **arguments
    )


def run(name: str, **arguments: Any) -> PixxelRunJobOperator:
    """Create a job and wait for it."""
    return PixxelRunJobOperator(
        task_id=name,
        workflow_id="wf-succeeds",
        project_id=PROJECT,
        created_by=USER,
        max_cost=500,
        not_found_grace=3,
        poke_interval=1,
        **arguments,
    )


@dag(
    schedule=None,
    start_date=START,
    catchup=False,
    params={"folder": ""},
    user_defined_macros={"our_job": lambda: "job-by_macro"},
)
def release_waits() -> None:
    wait("succeeds")
    wait("fails", "wf-fails")
    wait("skips", "wf-fails", soft_fail=True)
    wait("times_out", "wf-endless", timeout=60)
    wait("ends_oddly", "wf-odd-ended")
    wait("accepts", "wf-odd-ended", success_statuses=["archived"], failure_statuses=["failed"])
    wait("missing", not_found_grace=3600)
    wait("throttled")
    wait("finds", "wf-finds", ended_after="2026-01-01T00:00:00Z", created_by=USER, statuses=["completed"])
    wait("started", start_from_trigger=True)
    wait("unaided", start_from_trigger=True, end_from_trigger=True)
    wait("by_macro", job_id="{{ our_job() }}", start_from_trigger=True)
    run("runs", deferrable=True)
    for name, unpack in (("downloads", False), ("unpacks", True)):
        PixxelDownloadJobOperator(
            task_id=name,
            workflow_id="wf-succeeds",
            job_id="job-finished",
            destination=f"{{{{ params.folder }}}}/{name}",
            unpack=unpack,
            deferrable=True,
            poke_interval=1,
        )
    PixxelGetJobOperator(
        task_id="gets", workflow_id="wf-succeeds", job_id="job-finished", include=["spec", "inputs"]
    )
    PixxelEstimateCostOperator(task_id="estimates", workflow_id="wf-succeeds")


@dag(schedule=None, start_date=START, catchup=False)
def release_run() -> None:
    run("run", deferrable=True, retries=1, retry_delay=timedelta(seconds=1))


waits = release_waits()
runs = release_run()

if HAS_ASSET_WATCHERS:
    chosen = watched_workflow(
        "wf-chosen", outcomes=["succeeded", "failed"], created_by=USER, since="2026-01-01T00:00:00Z"
    )
    every = watched_workflow("wf-watched", poke_interval=2)

    @dag(schedule=[chosen], start_date=START, catchup=False, is_paused_upon_creation=False)
    def release_chosen() -> None:
        @task
        def collect() -> None:
            """Do nothing: the watcher is what is stored."""

        collect()

    @dag(schedule=[every], start_date=START, catchup=False, is_paused_upon_creation=False, max_active_runs=1)
    def release_watcher() -> None:
        @task
        def collect(triggering_asset_events: Any = None) -> list[str]:
            """Return the ids of the events that started this run."""
            events = [event for each in triggering_asset_events.values() for event in each]
            return [event.extra["payload"]["event_id"] for event in events]

        collect()

    on_chosen = release_chosen()
    on_every = release_watcher()
