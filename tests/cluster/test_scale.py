"""Many waits in a running Airflow: each triggerer polls once per interval and workflow, not per wait."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from local_airflow import Standalone, end_tree

from tests.cluster.conftest import HERE, KEY, Run, eventually, whole_airflow

pytestmark = pytest.mark.slow

INTERVAL = 5.0  # as in dags/pixxel_scale.py
WINDOW = 5 * INTERVAL
# A wait looks again after 0.8 to 1.0 intervals; of many that share a poll, one is always this early.
SHORTEST_DELAY = 0.8 * INTERVAL
# Two cores start three or four tasks a second, if nobody else wants them.
RETRY_FOR = 900.0
# Jobs so long that none of them makes progress, and so news for a log, before it is made to end.
DAY = 86_400.0


@pytest.fixture(scope="module")
def airflow(_pixxel: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An Airflow for these tests alone, which starts tasks as fast as two cores can."""
    more = {
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    }
    files = [HERE / "dags" / "pixxel_scale.py", HERE / "events" / "pixxel_watchers.py"]
    with whole_airflow(_pixxel, tmp_path_factory, files, **more) as found:
        yield found


@dataclass
class Waits:
    """The mapped waits of one run, each for a job of its own."""

    run: Run
    pixxel: Any
    workflows: list[str]
    jobs: list[str]
    since: float = field(default=0.0, init=False)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return the task of each job."""
        found: list[dict[str, Any]] = []
        while len(found) < len(self.jobs):
            page = self._page(f"limit=100&order_by=map_index&offset={len(found)}")["task_instances"]
            assert page, f"only {len(found)} tasks"
            found += page
        return {self.jobs[task["map_index"]]: task for task in found}

    def until_all(self, state: str) -> None:
        """Wait until every task is in that state; none may fail before."""
        eventually(lambda: self._count(state) == len(self.jobs), f"all waits {state}", RETRY_FOR)

    def until_none(self, state: str) -> None:
        """Wait until no task is in that state any more."""
        eventually(lambda: not self._count(state), f"no wait {state}", RETRY_FOR)

    def until_watched(self) -> None:
        """Wait until each wait runs in a triggerer and has had its first look there, at most a gap later."""
        self.until_all("deferred")
        eventually(lambda: all(task["triggerer_job"] for task in self.tasks().values()), "a triggerer")
        time.sleep(2 * INTERVAL)

    def count_anew(self) -> None:
        """Forget the requests that came so far."""
        self.pixxel.counters.clear()
        self.since = time.monotonic()

    def most_polls(self) -> float:
        """Return how often a poll may have asked since the last :meth:`count_anew`."""
        return (time.monotonic() - self.since) / SHORTEST_DELAY + 1

    def polls(self, of: Callable[[dict[str, Any]], str]) -> Counter[str]:
        """Return how often each poll asked in a window, told apart by a part of a request: only for lists."""
        self.count_anew()
        time.sleep(WINDOW)
        requests, most = self.requests(), self.most_polls()
        assert {request["route"] for request in requests} == {"list_jobs"}
        polls = Counter(map(of, requests))
        assert 3 <= min(polls.values()) <= max(polls.values()) <= most
        return polls

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests since then, one by one."""
        found = self.pixxel.counters.recent()
        assert len(found) == self.pixxel.requests(), "more than the simulator remembers"
        return found

    def reads(self) -> dict[str, int]:
        """Return how often each job was read by its id since then."""
        return {job: self.pixxel.requests("get_job", job) for job in self.jobs}

    def finish(self) -> None:
        """Let all jobs end."""
        for job in self.jobs:
            self.pixxel.finish_job(job)

    def _count(self, state: str) -> int:
        assert not self._page("state=failed&state=up_for_retry&limit=1")["total_entries"], "a wait failed"
        # Not more often: it takes from the two cores what the tasks are waiting for.
        time.sleep(2)
        return self._page(f"state={state}&limit=1")["total_entries"]

    def _page(self, query: str) -> Any:
        return self.run.airflow.get(f"{self.run.path}/taskInstances/wait/listMapped?{query}")


@pytest.fixture
def wait_for(trigger: Callable[..., Run], pixxel: Any) -> Iterator[Callable[..., Waits]]:
    """Start waits for so many running jobs of each workflow."""
    runs: list[Run] = []

    def start(workflows: list[str], each: int) -> Waits:
        jobs = [f"{workflow}-job-{number}" for workflow in workflows for number in range(each)]
        for workflow in workflows:
            pixxel.world.add_workflow(workflow)
        for job in jobs:
            pixxel.create_job(job.partition("-job-")[0], job, seconds=DAY)
        runs.append(trigger("pixxel_scale", workflows=workflows, jobs=each))
        return Waits(runs[-1], pixxel, workflows, jobs)

    yield start
    for run in runs:
        # What a failed test leaves would take the room of the next one's waits.
        if run.airflow.get(run.path)["state"] != "success":
            run.airflow.ask("PATCH", run.path, {"state": "failed"})


def end_all_triggerers(airflow: Standalone) -> None:
    for each in airflow.processes("triggerer"):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


@pytest.fixture
def two_triggerers(airflow: Standalone, pixxel: Any) -> Iterator[set[str]]:
    """Two triggerers, neither with room for more than ten waits; yields the names they call Pixxel by."""
    end_all_triggerers(airflow)
    port = urlsplit(pixxel.url).port
    names = {f"127.0.0.1:{port}", f"localhost:{port}"}
    started = []
    try:
        for number, name in enumerate(sorted(names), start=1):
            more = {
                "AIRFLOW__TRIGGERER__CAPACITY": "10",
                # Another name of the same machine: by it the simulator tells the two apart.
                "AIRFLOW_CONN_PIXXEL_DEFAULT": f'{{"conn_type": "pixxel", "host": "http://{name}", '
                f'"password": "{KEY}"}}',
            }
            started.append(airflow.spawn("triggerer", airflow.home / f"triggerer-{number}.log", more))
        yield names
    finally:
        for each in started:
            end_tree(each)
        airflow.adopt(airflow.spawn("triggerer", airflow.home / "triggerer-again.log"))


def test_three_hundred_waits_cost_a_list_per_workflow_and_interval_and_one_read_each(
    wait_for: Callable[..., Waits],
) -> None:
    waits = wait_for(["wf-north", "wf-south", "wf-west"], each=100)
    waits.until_watched()
    # Each sensor looks once before it defers. The first few of a workflow may be read one by one for a while,
    # as a list of a hundred jobs weighs more than they do.
    reads = waits.reads()
    assert min(reads.values()) == 1
    assert sum(count > 1 for count in reads.values()) <= 4 * len(waits.workflows)

    polls = waits.polls(lambda request: request["ids"]["workflow_id"])
    assert set(polls) == set(waits.workflows)

    waits.count_anew()
    waits.finish()
    waits.until_none("deferred")
    assert waits.pixxel.requests("list_jobs") <= len(waits.workflows) * waits.most_polls()
    waits.until_all("success")
    assert waits.reads() == dict.fromkeys(waits.jobs, 1)
    assert waits.pixxel.requests() == waits.pixxel.requests("list_jobs") + len(waits.jobs)
    assert {task["try_number"] for task in waits.tasks().values()} == {1}
    waits.run.until("success", task_id="gather")
    assert waits.run.xcoms("gather")["return_value"] == {job: ["completed", 120] for job in waits.jobs}


def test_two_triggerers_poll_each_for_its_own_waits(
    two_triggerers: set[str], wait_for: Callable[..., Waits]
) -> None:
    waits = wait_for(["wf-shared"], each=20)
    waits.until_watched()
    owners = {job: task["triggerer_job"]["id"] for job, task in waits.tasks().items()}
    assert sorted(Counter(owners.values()).values()) == [10, 10]

    polls = waits.polls(lambda request: request["host"])
    assert set(polls) == two_triggerers

    waits.count_anew()
    waits.finish()
    waits.until_all("success")
    readers = {
        request["ids"]["job_id"]: request["host"]
        for request in waits.requests()
        if request["route"] == "get_job"
    }
    assert waits.reads() == dict.fromkeys(waits.jobs, 1)
    # Whoever has the wait reads the job, and nobody else.
    assert len({(owners[job], readers[job]) for job in waits.jobs}) == 2
    assert sorted(Counter(readers.values()).values()) == [10, 10]
    assert {task["try_number"] for task in waits.tasks().values()} == {1}
    waits.run.until("success", task_id="gather")
    assert waits.run.xcoms("gather")["return_value"] == {job: ["completed", 120] for job in waits.jobs}


def test_fifty_watchers_and_two_hundred_waits_of_five_workflows_are_five_polls_an_interval(
    airflow: Standalone, wait_for: Callable[..., Waits]
) -> None:
    waits = wait_for([f"wf-region-{number}" for number in range(5)], each=40)
    # The last test of this module: its watchers go on until this Airflow stops.
    airflow.ask("PATCH", "/api/v2/dags/pixxel_watchers", {"is_paused": False})
    waits.until_watched()
    eventually(lambda: watching(airflow) == 50, "50 watchers in a triggerer", RETRY_FOR)
    time.sleep(2 * INTERVAL)

    polls = waits.polls(lambda request: request["ids"]["workflow_id"])
    print(f"{sum(polls.values())} lists in {WINDOW / INTERVAL:.0f} intervals: {dict(polls)}")
    assert set(polls) == set(waits.workflows)

    waits.count_anew()
    waits.finish()
    waits.until_all("success")
    assert waits.pixxel.requests("list_jobs") <= len(waits.workflows) * waits.most_polls()
    # Once for its sensor, and once for all watchers of its workflow.
    assert waits.reads() == dict.fromkeys(waits.jobs, 2)
    stored = airflow.get("/api/v2/assets/events?limit=1")["total_entries"]
    assert stored == len(waits.jobs)


def watching(airflow: Standalone) -> int:
    """Return how many watchers are in a triggerer's hands."""
    file = f"file:{airflow.home / 'airflow.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(file, uri=True)) as database:
        query = "SELECT count(*) FROM trigger WHERE classpath LIKE ? AND triggerer_id IS NOT NULL"
        return database.execute(query, ["%PixxelJobEventTrigger"]).fetchone()[0]
