"""A whole Airflow is upgraded from each release to the current code in the middle of deferred waits."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

from pixxel_provider.simulator import serve
from tests.cluster.conftest import ENDED, KEY, ROOT, Run, eventually
from tests.upgrades.recorded import RELEASES, Release

sys.path.append(str(ROOT / "scripts"))

from local_airflow import Standalone

pytestmark = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="scripts/standalone.py needs Airflow 3")
# Two Airflows one after the other are slow where others run beside them.
SECONDS = 600.0
STARTED = ("started", "unaided") if AIRFLOW_V_3_3_PLUS else ()
#: Tasks of the release's DAG that wait, and how they end.
WAITS = {
    **dict.fromkeys(
        (
            "succeeds",
            "missing",
            "finds",
            "accepts",
            "throttled",
            "by_macro",
            "runs",
            "downloads",
            "unpacks",
            *STARTED,
        ),
        "success",
    ),
    **dict.fromkeys(("fails", "ends_oddly"), "failed"),
    "skips": "skipped",
}
WORKFLOWS = {"times_out": "wf-endless", "fails": "wf-fails", "skips": "wf-fails", "finds": "wf-finds"}
WORKFLOWS |= dict.fromkeys(("ends_oddly", "accepts"), "wf-odd-ended")
# Every process of Airflow imports these settings, and so leaves word of which code it has.
SETTINGS = """
from pathlib import Path
import pixxel_provider
with Path({file!r}).open("a") as file:
    file.write(pixxel_provider.__file__ + chr(10))
"""


@pytest.fixture
def pixxel() -> Iterator[Any]:
    """A Pixxel of this test alone."""
    with serve(key=KEY) as running:
        for workflow in ("wf-finds", "wf-watched", "wf-chosen"):
            running.world.add_workflow(workflow)
        running.create_job("wf-watched", "job-before", age=3600)
        yield running


class Upgrade:
    """One AIRFLOW_HOME, and whichever code is on the path of its processes."""

    def __init__(self, release: Release, folder: Path) -> None:
        self.home, self.dags, self.installed = folder / "airflow", folder / "dags", folder / "site"
        (self.home / "config").mkdir(parents=True)
        shutil.copytree(release.folder / "dags", self.dags, ignore=shutil.ignore_patterns("__pycache__"))
        self.imported = folder / "imported"
        local_settings = SETTINGS.format(file=str(self.imported))
        (self.home / "config" / "airflow_local_settings.py").write_text(local_settings)
        with zipfile.ZipFile(release.folder / release.rows("release")["wheel"]) as wheel:
            # As pip does it: a wheel of pure Python is unpacked.
            wheel.extractall(self.installed)

    @contextlib.contextmanager
    def running(self, code: Path) -> Iterator[Standalone]:
        """Run all of Airflow with this code in front of whatever its Python has."""
        self.imported.unlink(missing_ok=True)
        airflow = Standalone(self.home, self.dags, more={"PYTHONPATH": str(code)})
        airflow.start()
        try:
            for _ in airflow.waiting(time.monotonic() + SECONDS):
                pass
            assert {Path(line).parents[1] for line in self.imported.read_text().splitlines()} == {code}
            yield airflow
        finally:
            airflow.stop()

    def logs(self) -> str:
        files = [*self.home.glob("*.log"), *self.home.rglob("logs/**/*.log")]
        return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


def runs(airflow: Standalone, dag_id: str) -> list[Run]:
    found = airflow.get(f"/api/v2/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
    return [Run(airflow, dag_id, each["dag_run_id"]) for each in found]


def states(run: Run) -> dict[str, str]:
    tasks = run.airflow.get(f"{run.path}/taskInstances?limit=100")["task_instances"]
    return {each["task_id"]: each["state"] for each in tasks}


def begin(airflow: Standalone, dag_id: str, **conf: Any) -> Run:
    eventually(lambda: dag_id in {each["dag_id"] for each in airflow.get("/api/v2/dags")["dags"]}, dag_id)
    body = {"logical_date": None, "dag_run_id": "before", "conf": conf}
    airflow.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
    return Run(airflow, dag_id, "before")


def watched(airflow: Standalone, jobs: set[str]) -> list[str]:
    """Return the ids of the events that the watcher's DAG got, once these jobs are among them."""
    expected = {f"wf-watched/{job}/succeeded" for job in jobs}

    def events() -> list[str]:
        ended = [run for run in runs(airflow, "release_watcher") if states(run).get("collect") == "success"]
        return [event for run in ended for event in run.xcoms("collect")["return_value"]]

    eventually(lambda: expected <= set(events()), "events of the jobs that ended", SECONDS)
    return events()


def traces(logs: str) -> list[str]:
    """Return the tracebacks that this package is in: tasks that fail have no other than their own message."""
    found = logs.split("Traceback (most recent call last)")[1:]
    return [each[:3000] for each in found if "pixxel_provider" in each[:3000]]


def make_jobs(pixxel: Any) -> None:
    """Create what the release's DAGs wait for: nothing ends by itself."""
    for task in (*WAITS, "times_out"):
        if task not in ("runs", "downloads", "unpacks", "missing"):
            seconds = None if task == "times_out" else 3600
            pixxel.create_job(WORKFLOWS.get(task, "wf-succeeds"), f"job-{task}", seconds=seconds)
    pixxel.set_package("job-finished", seconds=3600)


def defer(airflow: Standalone, pixxel: Any, folder: Path) -> None:
    """Begin every wait, and a run, and wait until all of them are deferred."""
    eventually(lambda: pixxel.requests("list_jobs") >= 2, "lists for the watchers", SECONDS)
    waits = begin(airflow, "release_waits", folder=str(folder))
    run = begin(airflow, "release_run")

    def deferred() -> bool:
        found = states(waits)
        waiting = {task for task in WAITS if found.get(task) == "deferred"}
        return waiting == WAITS.keys() and states(run).get("run") == "deferred"

    eventually(deferred, "every wait is deferred", SECONDS)


def end_all_jobs(pixxel: Any) -> None:
    """End all that is waited for, and one job that nobody but the watcher waits for."""
    pixxel.create_job("wf-succeeds", "job-missing")
    for job in (*pixxel.bill().jobs, "job-missing", *(f"job-{task}" for task in WAITS)):
        if job in pixxel.world.jobs:
            pixxel.finish_job(job)
    pixxel.set_package("job-finished", seconds=0)
    pixxel.create_job("wf-watched", "job-meanwhile", age=3600)


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
def test_waits_of_a_release_end_right_after_an_upgrade(release: Release, pixxel: Any, tmp_path: Path) -> None:
    upgrade, results = Upgrade(release, tmp_path), tmp_path / "results"
    make_jobs(pixxel)
    with upgrade.running(upgrade.installed) as airflow:
        airflow.store_connection(pixxel.airflow_connection)
        defer(airflow, pixxel, results)
    paid = pixxel.bill().jobs
    assert len(paid) == 2

    # While no Airflow runs, everything ends, and the release is uninstalled.
    end_all_jobs(pixxel)
    shutil.rmtree(upgrade.installed)
    with upgrade.running(ROOT) as airflow:
        waits, run = Run(airflow, "release_waits", "before"), Run(airflow, "release_run", "before")
        eventually(lambda: set(states(waits).values()) <= ENDED, "every wait has ended", SECONDS)
        run.until("success", task_id="run")
        pixxel.create_job("wf-watched", "job-after", seconds=1)
        events = watched(airflow, {"job-meanwhile", "job-after"} if AIRFLOW_V_3_3_PLUS else {"job-after"})
        found, xcoms = states(waits), {task: waits.xcoms(task) for task in WAITS}

    assert {task: found[task] for task in WAITS} == WAITS
    for task, state in WAITS.items():
        if state == "success" and task not in ("downloads", "unpacks"):
            assert xcoms[task]["return_value"]["id"] == xcoms[task]["job_id"], task
    assert (results / "downloads").is_file()
    assert len(list((results / "unpacks").iterdir())) == 5
    assert (pixxel.bill().jobs, pixxel.requests("create_job")) == (paid, 2)
    assert sorted(events) == sorted(set(events))
    assert traces(upgrade.logs()) == []
    assert KEY not in upgrade.logs()
