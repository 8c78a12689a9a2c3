"""Fifty watchers, ten for each of five workflows; only the first of a workflow wants anybody's jobs."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import dag, task
from airflow.sdk import Asset, AssetWatcher

from pixxel_provider.triggers.events import PixxelJobEventTrigger


def watched(workflow: str, number: int) -> Asset:
    """Return an asset of one workflow's jobs; Airflow runs equal triggers once, and these differ."""
    creator = f"somebody-{number}" if number else None
    trigger = PixxelJobEventTrigger(workflow, created_by=creator, poke_interval=5)
    name = f"{workflow}-{number}"
    return Asset(name, uri=f"x-pixxel://{name}", watchers=[AssetWatcher(name=name, trigger=trigger)])


@dag(
    schedule=[watched(f"wf-region-{region}", number) for region in range(5) for number in range(10)],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
)
def pixxel_watchers() -> None:
    @task
    def never() -> None:
        """Run once all fifty have an event, which no test waits for."""

    never()


pixxel_watchers()
