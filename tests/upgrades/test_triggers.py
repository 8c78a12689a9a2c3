"""Triggers that a release stored fire the same event under the current code."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.trigger import Trigger

from pixxel_provider.assets import HAS_ASSET_WATCHERS
from tests.support import FakeClock
from tests.upgrades.recorded import (
    AIRFLOW,
    Stored,
    Upgraded,
    decoded,
    end_state,
    make_jobs,
    stored,
)

#: What was recorded of them was fired from 3.3 on.
STARTED = {"started", "unaided", "by_macro"}
needs_watchers = pytest.mark.skipif(not HAS_ASSET_WATCHERS, reason="Airflow 2 has no watchers")


def load(row: Stored) -> Any:
    """Return the trigger as the triggerer makes it."""
    module, _, name = row.row["classpath"].rpartition(".")
    return getattr(import_module(module), name)(**decoded(row.row["kwargs"]))


def identity(event: Any) -> tuple[Any, ...]:
    """Return what a task takes from an event."""
    found = event["metadata"] or {}
    return event["version"], event["kind"], *(found.get(name) for name in ("id", "status", "cost"))


@pytest.mark.parametrize("row", stored("triggers"), ids=str)
def test_a_stored_trigger_fires_the_event_that_it_fired_then(
    row: Stored, pixxel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if row.row["task_id"] in STARTED and AIRFLOW < (3, 3):
        pytest.skip("Airflow before 3.3 starts every wait on a worker")
    began = decoded(row.row["kwargs"]).get("started_at") or row.release.moment
    player = Upgraded(row, pixxel, monkeypatch, began=began + 5, xcoms="xcoms_deferred")
    make_jobs(row.release, pixxel)
    resumed = player.fire()
    assert pixxel.requests("create_job") == 0
    if row.event is None and row.row["dag_id"] == "release_waits":
        assert end_state(resumed) == row.task["state"]
        return
    method, kwargs = resumed
    assert method == row.row["next_method"] == "execute_complete"
    if row.event is None:
        # Of these runs the checkpoint is kept.
        assert kwargs["event"]["kind"] == "succeeded"
    else:
        assert identity(kwargs["event"]) == identity(row.event)
        assert row.event.keys() <= kwargs["event"].keys()


@pytest.mark.parametrize("row", stored("triggers"), ids=str)
def test_airflow_reads_the_stored_arguments_as_they_were_written(row: Stored) -> None:
    if row.release.airflow > AIRFLOW:
        pytest.skip("an older Airflow would have stored another form")
    record = Trigger(classpath=row.row["classpath"], kwargs={})
    record.encrypted_kwargs = json.dumps(row.row["kwargs"])
    assert record.kwargs == decoded(row.row["kwargs"])


@pytest.mark.parametrize(
    "row", [*stored("triggers"), *stored("watchers")], ids=lambda row: row.row["classpath"]
)
def test_a_stored_trigger_keeps_its_arguments(row: Stored) -> None:
    path, kwargs = load(row).serialize()
    assert path == row.row["classpath"]
    assert decoded(row.row["kwargs"]).items() <= kwargs.items()


class Store(dict[str, Any]):
    """The store of an asset."""

    async def aget(self, key: str) -> Any:
        return self.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value, allow_nan=False))


@needs_watchers
@pytest.mark.parametrize("row", stored("watchers"), ids=lambda row: row.row["uri"].rpartition("/")[2])
def test_a_stored_watcher_goes_on_at_its_cursor(row: Stored, pixxel: Any) -> None:
    release, uri = row.release, row.row["uri"]
    trigger = load(row)
    trigger.clock = FakeClock(release.moment)
    pixxel.advance(release.moment - pixxel.world.clock.now())
    cursors = [each for each in release.rows("cursors") if each["uri"] == uri]
    assert len(cursors) == 2
    store = Store({each["key"]: decoded(each["value"]) for each in cursors})
    trigger.asset_state_store = SimpleNamespace(_by_name={"asset": store}, _by_uri={})
    make_jobs(release, pixxel)
    workflow = trigger.workflow_id
    if workflow == "wf-watched":
        pixxel.create_job(workflow, "job-before", age=3600)
    pixxel.create_job(workflow, f"job-of-{workflow}", seconds=1)
    pixxel.advance(10)

    async def first() -> Any:
        events = trigger.run()
        try:
            return (await asyncio.wait_for(anext(events), 60)).payload
        finally:
            await events.aclose()

    event = asyncio.run(first())
    # Neither one that was announced before, nor a cursor beside the stored one.
    assert len(store) == 2
    then = next(each["extra"]["payload"] for each in release.rows("events") if each["uri"] == uri)
    assert then.keys() <= event.keys()
    same = ("event_id", "workflow_id", "job_id", "outcome", "status", "cost")
    assert [event[name] for name in same] == [then[name] for name in same]
