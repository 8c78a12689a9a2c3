"""A DAG that jobs start, on a whole Airflow whose triggerer is killed again and again."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import pytest

from tests.cluster.conftest import (
    ENDED,
    HERE,
    START_SECONDS,
    Run,
    eventually,
    kill_the_triggerers,
    whole_airflow,
)

VERSION = tuple(int(part) for part in metadata.version("apache-airflow").split(".")[:2])
KEEPS = VERSION >= (3, 3)
pytestmark = pytest.mark.skipif(VERSION < (3, 0), reason="Airflow 2 has no watchers")
JOBS, SECONDS, KILLS = 200, 120.0, 5
INTERVAL = 2.0  # as in events/pixxel_events.py


@pytest.fixture(scope="module")
def airflow(_pixxel: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An Airflow for these tests alone: its watcher's requests would disturb others."""
    # A triggerer that dies is missed after seconds instead of half a minute.
    more = {
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    }
    files = [HERE / "events" / "pixxel_events.py"]
    with whole_airflow(_pixxel, tmp_path_factory, files, **more) as found:
        yield found


@pytest.fixture(autouse=True)
def _watched(airflow: Any, pixxel: Any) -> None:
    """Wait until the watcher has read the list, and so knows what is old."""
    before = pixxel.requests("list_jobs")
    eventually(lambda: pixxel.requests("list_jobs") >= before + 2, "two lists for the watcher", START_SECONDS)


@pytest.fixture
def seen(airflow: Any) -> Callable[[], Counter[str]]:
    """Count the event ids that runs of the DAG got since the test began."""
    runs: dict[str, list[str]] = {}

    def all_runs() -> list[dict[str, Any]]:
        path = "/api/v2/dags/pixxel_events/dagRuns?limit=100&order_by=-run_after"
        found: list[dict[str, Any]] = airflow.get(path)["dag_runs"]
        return found

    earlier = {run["dag_run_id"] for run in all_runs()}

    def count() -> Counter[str]:
        for run in all_runs():
            name = run["dag_run_id"]
            if name not in earlier and name not in runs and run["state"] in ENDED:
                assert run["state"] == "success"
                runs[name] = Run(airflow, "pixxel_events", name).xcoms("collect")["return_value"]
        return Counter(event for events in runs.values() for event in events)

    return count


def test_a_job_that_somebody_else_started_starts_the_dag_within_an_interval_and_airflows_delay(
    airflow: Any,
    seen: Callable[[], Counter[str]],
    begin: Callable[..., str],
    finish: Callable[[str], None],
) -> None:
    stored, started = [], []
    for number in range(10):
        job = begin(f"job-of-others-{number}")
        # At any moment between two polls.
        time.sleep(INTERVAL * random.Random(number).random())
        finish(job)
        ended = datetime.now(timezone.utc)
        name = f"wf-succeeds/{job}/succeeded"
        eventually(lambda name=name: seen()[name], "a run of the DAG")
        (event,) = airflow.get("/api/v2/assets/events?limit=1&order_by=-timestamp")["asset_events"]
        assert event["extra"]["payload"]["event_id"] == name
        (run,) = event["created_dagruns"]
        stored.append((datetime.fromisoformat(event["timestamp"]) - ended).total_seconds())
        started.append((datetime.fromisoformat(run["start_date"]) - ended).total_seconds())
    assert set(seen().values()) == {1}
    for what, found in (("event stored", stored), ("DAG run started", started)):
        shown = f"median {statistics.median(found):.1f} s, at most {max(found):.1f} s"
        print(f"{what} after the job's end, with an interval of {INTERVAL:.0f} s: {shown}")
    # Reading the job and storing the event take a while, too.
    assert max(stored) < INTERVAL + 3


@pytest.mark.skipif(not KEEPS, reason="Airflow before 3.3 has no store for a cursor")
def test_no_event_is_lost_where_the_triggerer_is_killed(
    airflow: Any, pixxel: Any, control: Callable[..., Any], seen: Callable[[], Counter[str]]
) -> None:
    chance = random.Random(14)
    names = [f"job-at-random-{number}" for number in range(JOBS)]
    for name in names:
        body = {"workflow_id": "wf-succeeds", "id": name, "seconds": chance.uniform(5, SECONDS)}
        control("POST", "/jobs", body)
    began = time.monotonic()
    for number in range(KILLS):
        time.sleep(max(began + SECONDS * (number + chance.random()) / KILLS - time.monotonic(), 0))
        kill_the_triggerers(airflow)
        airflow.adopt(airflow.spawn("triggerer", airflow.home / f"triggerer-of-events-{number}.log"))
    expected = {f"wf-succeeds/{name}/succeeded" for name in names}
    eventually(lambda: set(seen()) >= expected, "all events", SECONDS + 180)
    found = seen()
    repeats = sum(found.values()) - len(found)
    print(f"{len(found)} distinct events of {JOBS} jobs, {KILLS} triggerers killed, {repeats} repeats")
    assert set(found) == expected
