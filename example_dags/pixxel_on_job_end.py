"""Use the results of each job that ends, whatever started it: scheduled by an asset that watches a workflow.

Airflow 2 has no asset watchers, and doesn't see this DAG. It is paused until somebody unpauses it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from pixxel_provider.assets import HAS_ASSET_WATCHERS, watched_workflow

# After a crash, an event comes again with its old id. So many ids are kept.
MOST_IDS = 500
Event = dict[str, Any]

if HAS_ASSET_WATCHERS:
    jobs = watched_workflow("wf-succeeds", poke_interval=10)

    @dag(
        schedule=[jobs],
        start_date=datetime(2026, 1, 1),
        catchup=False,
        # Without it, two runs at once could use the same job.
        max_active_runs=1,
        is_paused_upon_creation=True,
        tags=["example", "pixxel"],
    )
    def pixxel_on_job_end():
        """Use the results of each job once."""

        @task(inlets=[jobs])
        def new_jobs(triggering_asset_events: Any = None, asset_state_store: Any = None) -> list[Event]:
            """Return the events that started this run, without repeats and without those used before."""
            # The store came with Airflow 3.3, which is also the first that repeats events.
            used = asset_state_store[jobs].get("used_events", []) if asset_state_store else []
            # An event that a person creates in Airflow's UI has no payload.
            payloads = [event.extra.get("payload") for event in triggering_asset_events[jobs]]
            events = {payload["event_id"]: payload for payload in payloads if payload}
            return [event for event_id, event in events.items() if event_id not in used]

        @task
        def use(event: Event) -> str:
            """Stand in for the tasks that use the job, such as a download."""
            return f"{event['job_id']}: {event['outcome']}, for {event['cost']} credits. {event['message']}"

        @task(inlets=[jobs], trigger_rule="none_failed")
        def remember(events: list[Event], asset_state_store: Any = None) -> None:
            """Store the ids once the jobs were used: a run that fails before may be cleared."""
            if asset_state_store:
                used = asset_state_store[jobs].get("used_events", [])
                used += [event["event_id"] for event in events]
                asset_state_store[jobs].set("used_events", used[-MOST_IDS:])

        events = new_jobs()
        use.expand(event=events) >> remember(events)

    pixxel_on_job_end()
