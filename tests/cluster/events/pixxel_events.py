"""A DAG that is scheduled by jobs that end, for the tests on a whole Airflow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import dag, task
from airflow.sdk import Asset, AssetWatcher

from pixxel_provider.triggers.events import PixxelJobEventTrigger

watcher = AssetWatcher(name="pixxel", trigger=PixxelJobEventTrigger("wf-succeeds", poke_interval=2))
jobs = Asset("pixxel_jobs", uri="x-pixxel://jobs", watchers=[watcher])


@dag(
    dag_id="pixxel_events",
    schedule=[jobs],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=2,
)
def pixxel_events() -> None:
    @task
    def collect(triggering_asset_events: Any = None) -> list[str]:
        """Return the ids of the events that started this run."""
        events = [event for each in triggering_asset_events.values() for event in each]
        return [event.extra["payload"]["event_id"] for event in events]

    collect()


pixxel_events()
