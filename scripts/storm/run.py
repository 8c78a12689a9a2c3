"""``make storm``: many runs on a real cluster while everything around them fails; then a report."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(HERE.parent))

import evidence  # noqa: E402
import report as reports  # noqa: E402
from faults import KEYS, Storm  # noqa: E402
from local_airflow import AirflowTrouble  # noqa: E402
from local_cluster import Cluster, open_folder, running  # noqa: E402
from local_pixxel import Pixxel  # noqa: E402
from plan import SHARED, WATCHED, PlannedRun, plan  # noqa: E402
from surroundings import VaultServer, add_mix, measure_loops, to_the_end  # noqa: E402
from terminal import Screen  # noqa: E402

AIRFLOW = metadata.version("apache-airflow")
POLL_INTERVAL = 5.0  # as in dags/storm.py


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make storm", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=20.0, help="how long it lasts (default %(default)s)")
    add("--runs", type=int, default=300, help="how many DAG runs (default %(default)s)")
    add("--seed", type=int, default=15, help="of what is left to chance (default %(default)s)")
    add("--docs", action="store_true", help="write the tables of the docs")
    add("--keep", type=Path, help="an empty folder that is kept: logs, figures")
    return parser.parse_args(words)


class Run:
    """One storm from its first run to its report."""

    def __init__(self, storm: Storm, wanted: argparse.Namespace, screen: Screen, folder: Path) -> None:
        self.storm, self.cluster, self.pixxel = storm, storm.cluster, storm.pixxel
        self.screen, self.folder = screen, folder
        self.seconds = wanted.minutes * 60
        # The last runs begin early enough to be over when it ends.
        self.runs = plan(wanted.runs, 0.8 * self.seconds, wanted.seed)
        self.watched = [run for run in self.runs if run.kind.name == "watched"]
        outage = min(60.0, 0.06 * self.seconds)
        steps = [
            *storm.steps(self.seconds, outage),
            (0.41 * self.seconds, "the pages are read", self.read_pages),
        ]
        self.steps = sorted(steps, key=lambda step: step[0])
        self.taken: list[tuple[float, str]] = []
        self.pages: dict[str, str] = {}
        self.trouble: list[str] = []

    def prepare(self) -> None:
        """Have connections, pool, workflows and faults."""
        self.storm.store_connection()
        pools = f"{self.cluster.api}/pools"
        self.cluster.ask("POST", pools, {"name": "storm_single", "slots": 1, "include_deferred": False})
        for workflow in sorted({each for run in self.runs for each in run.workflows}):
            (owner, *_) = [run for run in self.runs if workflow in run.workflows]
            body = {"id": workflow, "like": owner.kind.course, "queued_seconds": owner.queued}
            self.pixxel.control("POST", "/workflows", body)
        add_mix(self.pixxel)

    def read_pages(self) -> None:
        """Read what people may look at, while things happen."""
        tasks = evidence.task_instances(self.cluster)
        self.pages = evidence.pages(self.cluster, [rows[0] for rows in list(tasks.values())[::10]])

    def begin(self, run: PlannedRun) -> None:
        """Let a run begin, and whatever it is about."""
        if run.create_fault:
            fault = {"route": "create_job", "workflow_id": run.workflows[0], **run.create_fault}
            self.pixxel.control("POST", "/faults", fault)
        if run.job_id:
            job: dict[str, Any] = {"workflow_id": run.workflows[0], "id": run.job_id}
            if run.kind.name != "wait_timeout":  # whose job never ends
                job["seconds"] = run.queued + (40 if run.kind.name == "wait_ended_after" else 20)
            self.pixxel.control("POST", "/jobs", job)
        if run.kind.name == "watched":
            return
        body = {"dag_run_id": run.run_id, "conf": run.conf(str(self.folder / "downloads"))}
        if self.cluster.api == "/api/v2":
            body["logical_date"] = None
        path = f"{self.cluster.api}/dags/{run.dag_id}/dagRuns"
        self._insist(lambda: self.cluster.ask("POST", path, body), f"{run.dag_id} {run.run_id}")

    def _insist(self, ask: Any, what: str) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                ask()
                return
            except (OSError, AirflowTrouble) as error:
                if ": 409 " in str(error):  # an answer was lost, and the run is there
                    return
                if time.monotonic() > deadline:
                    raise AirflowTrouble(f"{what} could not be started: {error}") from None
                time.sleep(2)

    def carry_out(self) -> None:
        """Do all that is planned at its time; what befalls the cluster has a thread of its own."""
        began = time.monotonic()
        faults = threading.Thread(target=self._befall, args=(began,), daemon=True, name="faults")
        faults.start()
        for number, run in enumerate(self.runs, 1):
            time.sleep(max(began + run.at - time.monotonic(), 0))
            self.begin(run)
            self.screen.now(f"{number} of {len(self.runs)} runs began ... {time.monotonic() - began:.0f} s")
        faults.join()
        if self.trouble:
            raise AirflowTrouble("; ".join(self.trouble))
        self._until_all_ended(began + self.seconds + max(300.0, 0.5 * self.seconds))
        self.screen.line(f"Over after {time.monotonic() - began:.0f} s.")

    def _befall(self, began: float) -> None:
        for at, words, act in self.steps:
            time.sleep(max(began + at - time.monotonic(), 0))
            self.taken.append((time.monotonic() - began, words))
            self.screen.line(f"{time.monotonic() - began:5.0f} s  {words}")
            try:
                deadline = time.monotonic() + 60
                while True:
                    try:
                        act()
                        break
                    except (OSError, AirflowTrouble):
                        # The API server may be busy, or just be coming back.
                        if time.monotonic() > deadline:
                            raise
                        time.sleep(1)
            except Exception as error:
                self.trouble.append(f"{words}: {error!r}")

    def _until_all_ended(self, deadline: float) -> None:
        # An event that is still to come has no run yet.
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                rows = evidence.query(
                    self.cluster, "select count(*) from dag_run where state in ('queued', 'running')"
                )
                left = rows[0][0] + len(self.watched) - len(self._watched_events())
                self.screen.now(f"{left} runs and events are left ...")
                if left <= 0:
                    return
            time.sleep(2)

    def report(self) -> reports.Report:
        """Gather what is left, and judge it."""
        tasks = evidence.task_instances(self.cluster)
        logs = evidence.task_logs(self.cluster)
        jobs, paid = self.pixxel.control("GET", "/jobs")["jobs"], self.pixxel.control("GET", "/bill")["jobs"]
        bills = reports.bills_by_workflow(jobs, paid)
        watched = self._watched_events()
        downloads = str(self.folder / "downloads")
        outcomes = []
        for run in self.runs:
            found = tasks.get((run.dag_id, run.run_id), [])
            if run.kind.name == "watched":
                # A run of this DAG takes what has come since the last one: the event counts.
                seen = watched.get(f"{WATCHED}/{run.job_id}/succeeded", 0)
                outcomes.append(reports.Outcome(run, problem="" if seen else "no run got its event"))
            else:
                outcomes.append(reports.judge(run, found, logs, bills, downloads))
        texts = evidence.logs_of_everything(self.cluster)
        sample = [rows[0] for rows in list(tasks.values())[::10]]
        shown = {**self.pages, **evidence.pages(self.cluster, sample)}
        worst, blocks = evidence.lags(self.folder / "lags")
        created = [each for each in outcomes if each.run.kind.name == "run_shared"]
        much = f"{len(self.runs)} runs in {self.seconds / 60:.0f} minutes, {len(self.taken)} steps of a storm"
        return reports.Report(
            title=f"Airflow {AIRFLOW}, {much}",
            outcomes=outcomes,
            shared=(bills[SHARED], len(created)),
            counters=self.pixxel.control("GET", "/counters"),
            budget=self._budget(tasks, jobs),
            worst=worst,
            blocks=blocks,
            tracebacks=evidence.tracebacks(self.cluster),
            leaks=evidence.places_of(KEYS, {**texts, **shown, "database": evidence.dump(self.cluster)}),
            searched={"log files": len(texts), "pages": len(shown), "dump of the database": 1},
            steps=self.taken,
            ended=[name for _, name in self.cluster.ended],
            watched=(len(self.watched), len(watched), sum(watched.values()) - len(watched)),
        )

    def _watched_events(self) -> Counter[str]:
        values = evidence.query(
            self.cluster, "select value from xcom where dag_id = 'storm_watched' and key = 'return_value'"
        )
        return Counter(event for (value,) in values for event in evidence.as_list(value))

    def _budget(self, tasks: dict[Any, list[dict[str, Any]]], jobs: list[dict[str, Any]]) -> int:
        """Return how many requests this may cost: each job is polled once an interval until it has ended.

        An interval is shortened by up to a fifth, and a fifth of the answers is retried. Each try asks a few
        times before its wait and after it, and so does the asset's watcher, for each event.
        """
        seconds = self.seconds + sum(map(evidence.length, jobs))
        tries = sum(max(task["try_number"], 1) for rows in tasks.values() for task in rows)
        return int((seconds / (0.8 * POLL_INTERVAL) + 5 * tries) * 1.2)


def main(words: Sequence[str] | None = None) -> int:
    """Run a storm; the exit code says whether all of it held."""
    wanted = arguments(words)
    return to_the_end(lambda stack, screen: _run(stack, wanted, screen))


def _run(stack: contextlib.ExitStack, wanted: argparse.Namespace, screen: Screen) -> int:
    folder = wanted.keep.resolve() if wanted.keep else stack.enter_context(open_folder())
    for name in ("lags", "downloads", "airflow"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    vault = VaultServer()
    stack.callback(vault.stop)
    pixxel = Pixxel(folder, "--seed", str(wanted.seed), key=KEYS[0], speed=3.0)
    stack.callback(pixxel.stop)
    more = {
        "AIRFLOW__SECRETS__BACKEND": "secrets_backend.Vault",
        "PIXXEL_STORM_VAULT": vault.url,
        "PIXXEL_STORM_LAGS": str(folder / "lags"),
        "PYTHONPATH": str(HERE),
    }
    cluster = Cluster(folder / "airflow", HERE / "dags", more=more)
    measure_loops(cluster)
    began = time.monotonic()
    screen.now("PostgreSQL, Redis and Airflow are starting ...")
    stack.enter_context(running(cluster))
    screen.line(
        f"Airflow {AIRFLOW} is ready after {time.monotonic() - began:.0f} s: {', '.join(cluster.parts)}."
    )
    run = Run(Storm(cluster, pixxel, vault), wanted, screen, folder)
    run.prepare()
    run.carry_out()
    found = run.report()
    screen.line(found.text())
    content = found.content()
    (folder / "figures.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if wanted.docs:
        (ROOT / "docs" / "storm-figures.inc").write_text(reports.rst(content), encoding="utf-8")
    return 1 if found.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
