"""Report each job when it ends, and all is quiet once a day: scheduled by an asset or by time.

Airflow 2 has no asset watchers, and doesn't see this DAG. It is paused until somebody unpauses it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from pixxel_provider.assets import HAS_ASSET_WATCHERS, watched_workflow

if HAS_ASSET_WATCHERS:
    try:
        from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable
    except ImportError:
        # Before Airflow 3.2.
        from airflow.timetables.assets import AssetOrTimeSchedule
        from airflow.timetables.trigger import CronTriggerTimetable

    # The same arguments as in pixxel_on_job_end: an asset has one set of watchers.
    jobs = watched_workflow("wf-succeeds", poke_interval=10)
    every_morning = CronTriggerTimetable("0 6 * * *", timezone="UTC")

    @dag(
        schedule=AssetOrTimeSchedule(timetable=every_morning, assets=[jobs]),
        start_date=datetime(2026, 1, 1),
        catchup=False,
        is_paused_upon_creation=True,
        tags=["example", "pixxel"],
    )
    def pixxel_on_job_end_or_daily():
        """Report jobs that ended; every morning also that none did."""

        @task
        def report(triggering_asset_events: Any = None) -> str:
            """Stand in for a message."""
            payloads = [event.extra.get("payload") for event in triggering_asset_events[jobs]]
            lines = [f"{each['job_id']}: {each['outcome']}" for each in payloads if each]
            return "\n".join(lines) or "No job has ended."

        report()

    pixxel_on_job_end_or_daily()
