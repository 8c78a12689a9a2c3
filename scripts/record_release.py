"""Record what a release stores in Airflow's database, for the tests of upgrades: ``make record``.

Starts a whole Airflow and a simulated Pixxel, runs the DAGs of ``tests/upgrades/dags``, and writes triggers,
events, checkpoints, XComs and DAGs as they are stored into ``tests/upgrades/releases/VERSION``, beside the
DAG files and the wheel. What was recorded for that version is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from local_airflow import ROOT, AirflowTrouble, Standalone, eventually

from pixxel_provider import __version__
from pixxel_provider.simulator import serve

UPGRADES = ROOT / "tests" / "upgrades"
RELEASES = UPGRADES / "releases"
KEY = "canary-of-a-recording-51e2"
START_SECONDS, STEP_SECONDS = 600.0, 300.0
#: In place of the folder that Airflow ran in.
HOME = "/opt/airflow"
WAITS, RUN = "release_waits", "release_run"
#: The jobs that tasks of WAITS wait for, by task, with their workflow.
JOBS = {
    **dict.fromkeys(("succeeds", "throttled", "started", "unaided", "by_macro"), "wf-succeeds"),
    **dict.fromkeys(("fails", "skips"), "wf-fails"),
    **dict.fromkeys(("ends_oddly", "accepts"), "wf-odd-ended"),
    "times_out": "wf-endless",
    "finds": "wf-finds",
}
LONG = 3600.0

TRIGGERS = """
    SELECT ti.dag_id, ti.task_id, ti.run_id, ti.next_method, ti.try_number, t.classpath, t.kwargs
    FROM trigger t JOIN task_instance ti ON ti.trigger_id = t.id ORDER BY 1, 2, 3
"""
WATCHERS = """
    SELECT a.uri, t.classpath, t.kwargs FROM asset_watcher w
    JOIN trigger t ON t.id = w.trigger_id JOIN asset a ON a.id = w.asset_id ORDER BY 1
"""
CURSORS = """
    SELECT a.uri, s.key, s.value FROM asset_state_store s JOIN asset a ON a.id = s.asset_id ORDER BY 1, 2
"""
CHECKPOINTS = "SELECT dag_id, task_id, run_id, key, value, expires_at FROM task_state_store ORDER BY 1, 2, 3"
RESUMED = """
    SELECT dag_id, task_id, run_id, next_method, next_kwargs FROM task_instance
    WHERE state = 'scheduled' AND next_kwargs IS NOT NULL AND trigger_id IS NULL ORDER BY 1, 2, 3
"""
XCOMS = "SELECT dag_id, task_id, run_id, key, value FROM xcom ORDER BY 1, 2, 3, 4"
EVENTS = """
    SELECT a.uri, e.extra, e.source_dag_id FROM asset_event e JOIN asset a ON a.id = e.asset_id ORDER BY e.id
"""
TASKS = """
    SELECT dag_id, task_id, run_id, state, try_number, max_tries FROM task_instance ORDER BY 1, 2, 3
"""
DAGS = "SELECT dag_id, data FROM serialized_dag ORDER BY 1, created_at"


class Recording:
    """A whole Airflow beside a simulated Pixxel, and the rows that were read from its database."""

    def __init__(self, airflow: Standalone, pixxel: Any) -> None:
        self.airflow, self.pixxel = airflow, pixxel
        self.rows: dict[str, Any] = {}

    def read(self, statement: str) -> list[dict[str, Any]]:
        """Return rows of the database, with JSON decoded and triggers' arguments decrypted."""
        file = self.airflow.home / "airflow.db"
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as database:
            database.row_factory = sqlite3.Row
            rows = [dict(row) for row in database.execute(statement)]
        for row in rows:
            if "kwargs" in row:
                row["kwargs"] = self._decrypted(row["kwargs"])
            for name in {"kwargs", "next_kwargs", "value", "extra", "data"} & row.keys():
                # SQLite turns JSON that is a number into one.
                row[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
        return rows

    def _decrypted(self, text: str) -> str:
        # Airflow encrypts what the scheduler and watchers store, and not what a worker does. The key is the
        # home's own, so nobody else could read it.
        if text.startswith("{"):
            return text
        key = self.airflow.environ["AIRFLOW__CORE__FERNET_KEY"]
        return Fernet(key.encode()).decrypt(text.encode()).decode()

    def until(self, done: Callable[[], Any], what: str, seconds: float = STEP_SECONDS) -> None:
        eventually(done, what, seconds)
        print(f"  {what}", flush=True)

    def begin(self, dag_id: str, run_id: str, **conf: Any) -> None:
        body = {"logical_date": None, "dag_run_id": run_id, "conf": conf}
        self.airflow.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)

    def pause(self, dag_id: str, paused: bool) -> None:
        self.airflow.ask("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": paused})

    def states(self, dag_id: str) -> dict[str, str]:
        return {row["task_id"]: row["state"] for row in self.read(TASKS) if row["dag_id"] == dag_id}

    # ---------------------------------------------------------------------------------------- the steps

    def make_ready(self) -> None:
        """Wait until all DAGs are there, and both watchers have stored where they begin."""
        for _ in self.airflow.waiting(time.monotonic() + START_SECONDS):
            pass
        self.airflow.store_connection(self.pixxel.airflow_connection)
        names = ("release_watcher", "release_chosen", "release_names")
        names += (WAITS, RUN)
        self.until(lambda: {row["dag_id"] for row in self.read(DAGS)} >= set(names), "the DAGs are stored")
        self.until(lambda: len(self.read(CURSORS)) >= 4, "the watchers have stored their cursors")
        self.rows["watchers"], self.rows["cursors"] = self.read(WATCHERS), self.read(CURSORS)

    def end_the_triggerer(self) -> None:
        """Nothing that is deferred goes on before it was read."""
        import psutil

        doomed = self.airflow.processes("triggerer")
        for each in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(doomed, timeout=10)

    def leave_checkpoints(self) -> None:
        """Read the checkpoint of a run in each of its states but the last."""
        found: dict[str, Any] = {}

        def reached(state: str) -> Any:
            rows = [row for row in self.read(CHECKPOINTS) if row["run_id"] == state]
            return [row for row in rows if decoded(row["value"])["state"] == state]

        def keep(state: str) -> None:
            self.until(lambda: reached(state), f"a run's checkpoint is {state!r}")
            found[state] = reached(state)[0]

        self.pixxel.fail_next("create_job", latency=20, carried_out=True)
        self.begin(RUN, "asking")
        self.until(lambda: len(self.pixxel.bill().jobs) == 1, "a job is created, and its answer is late")
        keep("asking")
        # Once that answer is there, the next request gets the next fault.
        self.until(lambda: self.states(RUN)["run"] == "deferred", "the late answer has come")
        self.pixxel.fail_next("create_job", drop="reset")
        self.begin(RUN, "unconfirmed")
        keep("unconfirmed")
        self.begin(RUN, "created")
        keep("created")
        self.rows["checkpoints"] = found

    def defer(self) -> None:
        """Defer each kind of wait, and read the triggers."""
        for task, workflow in JOBS.items():
            self.pixxel.create_job(workflow, f"job-{task}", seconds=None if task == "times_out" else LONG)
        self.pixxel.fail_next("get_job", job_id="job-throttled", status=429, retry_after="5")
        self.pixxel.set_package("job-finished", seconds=LONG)
        self.begin(WAITS, "recorded", folder=str(self.airflow.home / "results"))

        def deferred() -> bool:
            states = self.states(WAITS)
            ended = {"gets", "estimates"}
            return bool(states) and all(
                state == ("success" if task in ended else "deferred") for task, state in states.items()
            )

        self.until(deferred, "every wait is deferred")
        self.pause(WAITS, True)
        self.rows["triggers"], self.rows["xcoms_deferred"] = self.read(TRIGGERS), self.read(XCOMS)

    def fire(self) -> None:
        """End the jobs, and read the events while no worker takes them: the DAG is paused."""
        self.pixxel.create_job("wf-succeeds", "job-missing", seconds=LONG)
        for task in {*JOBS, "missing"} - {"times_out"}:
            self.pixxel.finish_job(f"job-{task}")
        for job in self.pixxel.bill().jobs:
            self.pixxel.finish_job(job)
        self.pixxel.set_package("job-finished", seconds=0)
        self.airflow.adopt(self.airflow.spawn("triggerer", self.airflow.home / "triggerer.log"))
        self.until(lambda: "deferred" not in self.states(WAITS).values(), "every trigger has fired")
        self.rows["resumed"], self.rows["xcoms_fired"] = self.read(RESUMED), self.read(XCOMS)

    def finish(self) -> None:
        """Let everything end, and read what is left behind."""
        self.pause(WAITS, False)
        for workflow in ("wf-watched", "wf-chosen"):
            self.pixxel.create_job(workflow, f"job-of-{workflow}", seconds=1)
        ended = {"success", "failed", "skipped"}

        def all_ended() -> bool:
            tasks = self.read(TASKS)
            over = {row["state"] for row in tasks} <= ended
            return over and {"release_watcher", "release_chosen"} <= {row["dag_id"] for row in tasks}

        self.until(all_ended, "everything has ended")
        checkpoints = [row for row in self.read(CHECKPOINTS) if row["run_id"] == "created"]
        self.rows["checkpoints"]["done"] = checkpoints[0]
        for name, statement in (("xcoms", XCOMS), ("events", EVENTS), ("tasks", TASKS), ("dags", DAGS)):
            self.rows[name] = self.read(statement)


def decoded(value: Any) -> Any:
    """Return a value of Airflow's stores, which may be JSON within JSON."""
    return json.loads(value) if isinstance(value, str) else value


def record() -> dict[str, Any]:
    """Run a whole Airflow, and return the rows that it stored."""
    prefix = "pixxel-record-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        home = Path(name)
        with serve(key=KEY) as pixxel:
            for workflow in ("wf-finds", "wf-watched", "wf-chosen"):
                pixxel.world.add_workflow(workflow)
            pixxel.create_job("wf-watched", "job-before", age=LONG)
            shutil.copytree(UPGRADES / "dags", home / "dags")
            airflow = Standalone(home, home / "dags", more={"AIRFLOW__CORE__PARALLELISM": "8"})
            recording = Recording(airflow, pixxel)
            airflow.start()
            try:
                recording.make_ready()
                recording.end_the_triggerer()
                recording.leave_checkpoints()
                recording.defer()
                recording.fire()
                recording.finish()
            except Exception:
                print(airflow.said(), file=sys.stderr)
                raise
            finally:
                airflow.stop()
        text = json.dumps(recording.rows)
        if KEY in text:
            raise AirflowTrouble("The API key is among what was stored.")
        rows: dict[str, Any] = json.loads(text.replace(str(home), HOME))
        return rows


def write(folder: Path, rows: dict[str, Any]) -> None:
    """Write a release: one file for each kind of rows, the DAG files and the wheel."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(UPGRADES / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    for name, found in rows.items():
        text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=not name.startswith("xcoms"))
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t", "wheel"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    release = {
        "version": __version__,
        "airflow": metadata.version("apache-airflow"),
        "python": platform.python_version(),
        "wheel": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
    }
    (folder / "release.json").write_text(json.dumps(release, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Record the version that pixxel_provider/__init__.py has."""
    if not re.fullmatch(r"\d+(\.\d+){2}", __version__):
        sys.exit(f"{__version__} isn't a release: set the version, and give it a date in CHANGELOG.md.")
    began = time.monotonic()
    print(f"Recording {__version__} on Airflow {metadata.version('apache-airflow')} ...", flush=True)
    folder = RELEASES / __version__
    write(folder, record())
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder.relative_to(ROOT)}: {size:,} bytes, after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
