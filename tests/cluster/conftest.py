"""One whole Airflow for all tests in here: ``airflow standalone``, with the connection in its database."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from pixxel_provider.simulator import serve

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# At the end: those modules have names that others may have too.
sys.path.append(str(ROOT / "scripts"))

from local_airflow import AirflowTrouble, Standalone  # noqa: E402
from local_cluster import open_folder  # noqa: E402

KEY = "canary-of-the-whole-airflow-77c0"
NO_ACCESS_KEY = "key-without-access-1b9e"
START_SECONDS = 180.0
RUN_SECONDS = 90.0
LINK = "https://aurora.pixxel.space/"

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # First, as their own Airflow ends with them: two at once are more than a small machine likes.
    items.sort(key=lambda item: item.path.name not in ("test_scale.py", "test_events.py"))
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@dataclass
class Run:
    """One run of a DAG in the running Airflow."""

    airflow: Standalone
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def task(self, task_id: str = "wait") -> dict[str, Any]:
        return self.airflow.get(f"{self.path}/taskInstances/{task_id}")

    def until(self, *states: str, task_id: str = "wait", seconds: float = RUN_SECONDS) -> dict[str, Any]:
        """Wait for a task to be in one of the states; it must not end in another one before."""

        def look() -> dict[str, Any] | None:
            task = self.task(task_id)
            if task["state"] not in states and task["state"] in ENDED:
                pytest.fail(f"{task_id} is {task['state']}, not {' or '.join(states)}:\n{self.log(task_id)}")
            return task if task["state"] in states else None

        return eventually(look, f"{self.dag_id}.{task_id} {' or '.join(states)}", seconds)

    def xcoms(self, task_id: str = "wait") -> dict[str, Any]:
        """Return a task's XComs."""
        base = f"{self.path}/taskInstances/{task_id}/xcomEntries"
        keys = [entry["key"] for entry in self.airflow.get(base)["xcom_entries"]]
        return {key: self.airflow.get(f"{base}/{quote(key)}?deserialize=true")["value"] for key in keys}

    def links(self, task_id: str = "wait") -> dict[str, Any]:
        """Return the buttons of a task's page."""
        return self.airflow.get(f"{self.path}/taskInstances/{task_id}/links")["extra_links"]

    def log(self, task_id: str = "wait", attempt: int = 1) -> str:
        """Return a task's log as the page shows it."""
        answer = self.airflow.get(f"{self.path}/taskInstances/{task_id}/logs/{attempt}?full_content=true")
        return "\n".join(
            line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)
            for line in answer["content"]
        )


def eventually(look: Callable[[], Any], what: str, seconds: float = RUN_SECONDS) -> Any:
    """Return what ``look`` finds as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.25)
    return found


def asked_once_more(pixxel: Any, job: str) -> None:
    """Wait until somebody has asked for the job once more."""
    before = pixxel.requests("get_job", job)
    eventually(lambda: pixxel.requests("get_job", job) > before, "a request of the triggerer")


def kill_the_triggerers(airflow: Standalone) -> None:
    """Kill whatever triggerer this Airflow has, with all that it started."""
    doomed = airflow.processes("triggerer")
    assert doomed
    for each in {*doomed, *(child for top in doomed for child in top.children(recursive=True))}:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(doomed, timeout=10)


@pytest.fixture(scope="session")
def _pixxel() -> Iterator[Any]:
    with serve(key=KEY, no_access_keys=[NO_ACCESS_KEY]) as running:
        yield running


@contextlib.contextmanager
def whole_airflow(
    pixxel: Any, factory: pytest.TempPathFactory, files: Iterable[Path], **more: str
) -> Iterator[Standalone]:
    """A whole Airflow, ready, whose connection pixxel_default is in its database."""
    version = metadata.version("apache-airflow")
    if version.startswith("2."):
        pytest.skip(f"scripts/standalone.py needs Airflow 3; this is {version}")
    dags = factory.mktemp("dags")
    for file in files:
        shutil.copy(file, dags)
    # Airflow 3.0 needs leave for it.
    more["AIRFLOW__API__ENABLE_XCOM_DESERIALIZE_SUPPORT"] = "True"
    found = Standalone(factory.mktemp("airflow"), dags, more=more)
    found.start()
    try:
        for _ in found.waiting(time.monotonic() + START_SECONDS):
            pass
        found.store_connection(pixxel.airflow_connection)
        yield found
    except AirflowTrouble as trouble:
        pytest.fail(f"{trouble}\n{found.said()}")
    finally:
        found.stop()


@pytest.fixture(scope="session")
def airflow(_pixxel: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """The Airflow of all tests that don't bring their own."""
    # A triggerer that dies is missed after seconds instead of half a minute.
    more = {
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    }
    files = (*(ROOT / "example_dags").glob("*.py"), *(HERE / "dags").glob("*.py"))
    with whole_airflow(_pixxel, tmp_path_factory, files, **more) as found:
        yield found


@pytest.fixture
def open_path() -> Iterator[Path]:
    """An empty folder that other users can reach, as PostgreSQL needs it where this runs as root."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def pixxel(_pixxel: Any) -> Any:
    """The Pixxel that this Airflow's connection leads to."""
    _pixxel.reset()
    return _pixxel


@pytest.fixture
def control(_pixxel: Any) -> Callable[..., Any]:
    """Steer Pixxel from outside, by its control routes."""

    def ask(method: str, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{_pixxel.url}/_control{path}", data=json.dumps(body).encode(), method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as response:
            return json.load(response)

    return ask


@pytest.fixture
def begin(control: Callable[..., Any], pixxel: Any) -> Callable[..., str]:
    """Create a job that runs for ten minutes unless somebody ends it."""

    def create(job: str = "job-long", workflow_id: str = "wf-succeeds") -> str:
        control("POST", "/jobs", {"workflow_id": workflow_id, "id": job, "seconds": 600})
        return job

    return create


@pytest.fixture
def job(begin: Callable[..., str]) -> str:
    return begin()


@pytest.fixture
def finish(control: Callable[..., Any]) -> Callable[[str], None]:
    """End a job."""
    return lambda job: control("PATCH", f"/jobs/{job}", {"finish": True})


@pytest.fixture
def trigger(airflow: Standalone) -> Callable[..., Run]:
    """Start a run of a DAG, as soon as Airflow knows it."""

    def start(dag_id: str, **conf: Any) -> Run:
        def known() -> bool:
            return any(dag["dag_id"] == dag_id for dag in airflow.get("/api/v2/dags")["dags"])

        eventually(known, f"the DAG {dag_id}", START_SECONDS)
        body = {"logical_date": None, "conf": conf}
        run_id = airflow.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"]
        return Run(airflow, dag_id, run_id)

    return start
