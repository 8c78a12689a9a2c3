"""Watchers of a workflow, run by Airflow's own shared streams against a server that is a script."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from pixxel_provider.api.errors import PixxelAuthError, PixxelInputError, PixxelServerError
from pixxel_provider.clock import Clock
from pixxel_provider.triggers.events import PixxelJobEventTrigger
from tests.poller_support import Script, ending, run, wait_for

needs_streams = pytest.mark.skipif(
    importlib.util.find_spec("airflow.triggers.shared_stream") is None, reason="Airflow has them from 3.3 on"
)
INTERVAL = 10.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let watchers, and what Airflow makes for a group of them, use the clock of the loop."""

    def now() -> float:
        return asyncio.get_running_loop().time()

    monkeypatch.setattr(PixxelJobEventTrigger, "clock", Clock(time=now, monotonic=now))


class Store(dict[str, Any]):
    """The store of an asset; it outlives a triggerer."""

    fails = False

    async def aget(self, key: str) -> Any:
        return self.get(key)

    async def aset(self, key: str, value: Any) -> None:
        await asyncio.sleep(0.01)
        if self.fails:
            raise RuntimeError("the API server is away")
        self[key] = json.loads(json.dumps(value, allow_nan=False))


class Triggerer:
    """Runs watchers as Airflow's does; what it has stored is in ``stored``."""

    def __init__(self, persist_after: float = 1.0) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        self.manager = SharedStreamManager()
        self.stored: list[dict[str, Any]] = []
        self.persist_after = persist_after
        self.tasks: set[asyncio.Task[Any]] = set()

    def begin(self, store: Store | None = None, **arguments: Any) -> PixxelJobEventTrigger:
        trigger = watcher(store, **arguments)
        self._task(self._watch(trigger, len(self.tasks)))
        return trigger

    def _task(self, work: Any) -> None:
        self.tasks.add(asyncio.ensure_future(work))

    async def _watch(self, trigger: PixxelJobEventTrigger, number: int) -> None:
        key = trigger.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                seq = self.manager.bind_pending_event(trigger_id=number, key=key)
                self._task(self._persist(event.payload, seq))
        finally:
            await self.manager.unsubscribe(number, key)

    async def _persist(self, payload: dict[str, Any], seq: int | None) -> None:
        await asyncio.sleep(self.persist_after * random.random())
        self.stored.append(payload)
        # The confirmation arrives later than the event is stored.
        await asyncio.sleep(self.persist_after * random.random())
        self.manager.confirm_persisted([] if seq is None else [seq])

    async def kill(self) -> None:
        """End at once; whatever wasn't stored is lost."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.manager.stop_all()


def watcher(store: Store | None = None, **arguments: Any) -> PixxelJobEventTrigger:
    """Return a watcher of workflow "w"."""
    trigger = PixxelJobEventTrigger(
        **{"workflow_id": "w", "pixxel_conn_id": "c", "poke_interval": INTERVAL, **arguments}
    )
    if store is not None:
        trigger.asset_state_store = SimpleNamespace(_by_name={"asset": store}, _by_uri={})
    return trigger


@contextlib.asynccontextmanager
async def triggerer(**how: Any) -> AsyncIterator[Triggerer]:
    found = Triggerer(**how)
    try:
        yield found
    finally:
        await found.kill()


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return [payload["event_id"] for payload in payloads]


def expected(names: Any) -> set[str]:
    return {f"w/{name}/succeeded" for name in names}


# ------------------------------------------------------------------------------------------------ one watcher


@needs_streams
def test_each_job_that_ends_is_one_event_and_those_from_before_are_none(script: Script) -> None:
    script.ends = {"old": 0.0, **{f"job-{n}": 1000 + 60 + 7 * n for n in range(20)}}

    async def work() -> list[dict[str, Any]]:
        async with triggerer() as airflow:
            airflow.begin(Store())
            await asyncio.sleep(400)
            return airflow.stored

    stored = run(work)
    assert sorted(ids(stored)) == sorted(expected(script.ends) - {"w/old/succeeded"})
    assert script.asked["get_job"] == 20
    event = next(each for each in stored if each["job_id"] == "job-3")
    assert json.loads(json.dumps(event)) == event
    assert event["message"] == "Pixxel job job-3 of workflow w has ended: completed"
    assert {key: event[key] for key in ("workflow_id", "outcome", "status")} == {
        "workflow_id": "w",
        "outcome": "succeeded",
        "status": "completed",
    }


@needs_streams
def test_a_job_that_ended_while_no_triggerer_ran_is_announced_after_the_restart(script: Script) -> None:
    script.ends = {"old": 0.0, "meanwhile": 1500.0, "later": 2500.0}
    store = Store()

    async def work() -> list[str]:
        async with triggerer() as airflow:
            airflow.begin(store)
            await asyncio.sleep(100)
            assert not airflow.stored
        await asyncio.sleep(1000)
        async with triggerer() as airflow:
            airflow.begin(store)
            await asyncio.sleep(1000)
            return ids(airflow.stored)

    assert run(work) == ["w/meanwhile/succeeded", "w/later/succeeded"]


@needs_streams
@pytest.mark.parametrize("seed", range(10))
def test_no_event_is_lost_where_the_triggerer_is_killed_again_and_again(script: Script, seed: int) -> None:
    chance = random.Random(seed)
    script.ends = {f"job-{n}": 1000 + chance.uniform(20, 500) for n in range(100)}
    store, stored = Store(), []

    async def work() -> None:
        async with triggerer() as airflow:
            airflow.begin(store)
            await asyncio.sleep(INTERVAL + 2)
        for lives in [chance.uniform(0.5, 60) for _ in range(20)] + [200.0]:
            async with triggerer(persist_after=chance.uniform(0.1, 5)) as airflow:
                airflow.begin(store)
                await asyncio.sleep(lives)
            stored.extend(airflow.stored)

    run(work)
    assert set(ids(stored)) == expected(script.ends)
    # Repeats have the same id; some are certain with so many kills, and not all.
    assert len(stored) < 3 * len(script.ends)


@needs_streams
@pytest.mark.parametrize(
    ("what", "again"),
    [("announced", True), ("both", True), ("lost", True), ("all lost", False)],
)
def test_a_cursor_that_is_lost_or_broken_costs_repeats_and_no_event(
    script: Script, what: str, again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    script.ends = {"old": 1.0, "told": 1050.0, "meanwhile": 1500.0}
    store = Store()

    async def work() -> list[str]:
        async with triggerer() as airflow:
            airflow.begin(store)
            await asyncio.sleep(100)
        await asyncio.sleep(1000)
        for key in list(store):
            if what == "both" or (what == "announced" and "announced" in key):
                store[key] = {"version": 0}
            elif what == "all lost" or (what == "lost" and "announced" in key):
                del store[key]
        async with triggerer() as airflow:
            airflow.begin(store)
            await asyncio.sleep(100)
            return ids(airflow.stored)

    stored = run(work)
    assert ("w/meanwhile/succeeded" in stored) is again
    assert ("w/told/succeeded" in stored) is again
    assert ("w/old/succeeded" in stored) is (what == "both")
    assert ("is lost or can't be read" in caplog.text) is again


@needs_streams
def test_a_store_that_is_away_delays_and_loses_nothing(script: Script) -> None:
    script.ends = {"old": 0.0, "one": 1200.0, "two": 1400.0}
    store = Store()

    async def work() -> list[str]:
        async with triggerer() as airflow:
            store.fails = True
            airflow.begin(store)
            await asyncio.sleep(100)
            store.fails = False
            await asyncio.sleep(50)
            store.fails = True
            await asyncio.sleep(100)
            store.fails = False
            await asyncio.sleep(200)
            stored = airflow.stored
        async with triggerer() as airflow:
            airflow.begin(store)
            await asyncio.sleep(100)
            return ids(stored + airflow.stored)

    assert run(work) == ["w/one/succeeded", "w/two/succeeded"]


@needs_streams
@pytest.mark.parametrize(
    "error",
    [PixxelServerError("busy", status_code=503), PixxelAuthError("wrong key", status_code=401)],
)
def test_errors_of_the_api_are_waited_out(script: Script, error: Any) -> None:
    script.ends = {"one": 1200.0}
    script.outage, script.error = (1100.0, 1600.0), error

    async def work() -> list[str]:
        async with triggerer() as airflow:
            airflow.begin(Store())
            await asyncio.sleep(800)
            return ids(airflow.stored)

    assert run(work) == ["w/one/succeeded"]
    # As many as without errors, and some soon after the first.
    assert script.asked["list_jobs"] < 800 / INTERVAL * 1.4


def test_before_airflow_3_3_a_watcher_runs_alone_and_announces_what_ends_while_it_runs(
    script: Script,
) -> None:
    script.ends = {"old": 0.0, "one": 1100.0, "two": 1200.0}

    async def work() -> list[str]:
        found = []
        trigger = watcher()
        async for event in trigger.run():
            found.append(event.payload["event_id"])
            if len(found) == 2:
                break
        return found

    assert run(work) == ["w/one/succeeded", "w/two/succeeded"]


# ----------------------------------------------------------------------------------------------- many of them


@needs_streams
def test_watchers_and_sensors_of_a_workflow_share_one_poll(script: Script) -> None:
    script.ends = {"old": 0.0, **ending(40, 600)}

    async def work() -> None:
        async with triggerer() as airflow:
            for _ in range(10):
                airflow.begin(Store())
            await asyncio.gather(*(wait_for(f"job-{n}", INTERVAL) for n in range(40)))
            await asyncio.sleep(50)
            assert len(airflow.stored) == 10 * 40

    run(work)
    assert script.asked["list_jobs"] <= 650 / (0.8 * INTERVAL) + 3
    # Each job is read once for all sensors, and once for all watchers.
    assert script.asked["get_job"] <= 2 * 40


@needs_streams
def test_a_watcher_that_joins_a_stream_later_has_a_cursor_of_its_own(script: Script) -> None:
    script.ends = {"one": 1100.0, "two": 1300.0}

    async def work() -> tuple[list[str], Store]:
        late = Store()
        async with triggerer() as airflow:
            airflow.begin(Store())
            await asyncio.sleep(200)
            airflow.begin(late)
            await asyncio.sleep(200)
            return ids(airflow.stored), late

    stored, late = run(work)
    assert stored == ["w/one/succeeded", "w/two/succeeded", "w/two/succeeded"]
    assert {key.rsplit("_", 1)[0] for key in late} == {"pixxel_announced", "pixxel_began"}


@needs_streams
@pytest.mark.parametrize("wanted", [{"outcomes": ["failed"]}, {"created_by": "me"}], ids=str)
def test_filters_leave_out_what_nobody_asked_for(script: Script, wanted: dict[str, Any]) -> None:
    script.ends = {"old": 0.0, "one": 1100.0}

    async def work() -> list[str]:
        async with triggerer() as airflow:
            airflow.begin(Store(), **wanted)
            await asyncio.sleep(200)
            return ids(airflow.stored)

    assert run(work) == []
    assert script.asked["get_job"] == 0


# ------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"workflow_id": ""}, "workflow_id"),
        ({"outcomes": "failed"}, "outcomes"),
        ({"outcomes": []}, "outcomes"),
        ({"outcomes": ["success"]}, "outcomes"),
        ({"created_by": 7}, "created_by"),
        ({"poke_interval": 0}, "poke_interval"),
        ({"poke_interval": True}, "poke_interval"),
        ({"poke_interval": float("nan")}, "poke_interval"),
        ({"pixxel_conn_id": ["c"]}, "pixxel_conn_id"),
        ({"poke_interval": "30"}, "poke_interval"),
        ({"since": "yesterday"}, "since"),
        ({"since": 7}, "since"),
        ({"since": "2026-11-27T00:00:00"}, "since"),
    ],
)
def test_what_can_not_be_used_is_refused_by_name(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(PixxelInputError) as caught:
        PixxelJobEventTrigger(**{"workflow_id": "w", **arguments})
    assert caught.value.field == field
    # Airflow fails a trigger with this one alone; after any other its whole triggerer ends.
    assert isinstance(caught.value, TypeError)


def test_what_is_stored_makes_the_same_watcher_again() -> None:
    since = "2026-11-27T00:00:00+00:00"
    trigger = PixxelJobEventTrigger(
        "w", {"unknown", "failed"}, "me", "other", 5, since.replace("+00:00", "Z")
    )
    path, arguments = trigger.serialize()
    assert path == "pixxel_provider.triggers.events.PixxelJobEventTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert arguments["outcomes"] == ["failed", "unknown"]
    assert arguments["since"] == since
    again = PixxelJobEventTrigger(**arguments)
    assert again.serialize() == (path, arguments)
    assert again.shared_stream_key() == trigger.shared_stream_key()
