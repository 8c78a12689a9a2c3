"""``make soak``: many deferred waits in two triggerers, and whether memory, sockets and tasks stay and go."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

import evidence  # noqa: E402
from local_airflow import AirflowTrouble  # noqa: E402
from local_cluster import PARTS, Cluster, open_folder, running  # noqa: E402
from local_pixxel import Pixxel  # noqa: E402
from report import table  # noqa: E402
from surroundings import add_mix, measure_loops, to_the_end  # noqa: E402
from terminal import Screen  # noqa: E402

DOCS = HERE.parent.parent / "docs" / "soak-figures.inc"
KEY, EACH = "canary-of-the-soak-91d2", 5  # waits in a run of dags/soak.py
WORKFLOWS = 20
MEASURES = {
    "bytes": ("memory", "MiB", 1 / 2**20),
    "sockets": ("sockets", "", 1),
    "tasks": ("asyncio tasks", "", 1),
}


@dataclass
class Sizes:
    """How large a triggerer was in each second: its pid, and (Unix time, measures)."""

    pid: int
    lines: list[dict[str, Any]]

    def mean(self, name: str, since: float, until: float) -> float:
        """Return a measure's mean over a time."""
        return statistics.fmean(each[name] for each in self._in(since, until))

    def slope(self, name: str, since: float, until: float) -> float:
        """Return by how much a measure grew per hour, as the line that fits best."""
        lines = self._in(since, until)
        fitted = statistics.linear_regression([each["at"] for each in lines], [each[name] for each in lines])
        return fitted.slope * 3600

    def _in(self, since: float, until: float) -> list[dict[str, Any]]:
        return [each for each in self.lines if since <= each["at"] <= until]


def sizes(folder: Path) -> list[Sizes]:
    """Read what the triggerers have written about themselves."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for file in folder.glob("*.jsonl"):
        for line in map(json.loads, file.read_text().splitlines()):
            if "tasks" in line:
                found[line["pid"]].append(line)
    return [Sizes(pid, lines) for pid, lines in sorted(found.items())]


class Soak:
    """One soak: waits that begin, stay, and end."""

    def __init__(self, cluster: Cluster, pixxel: Pixxel, lags: Path, waits: int, screen: Screen) -> None:
        self.cluster, self.pixxel, self.lags, self.screen = cluster, pixxel, lags, screen
        self.workflows = [f"wf-soak-{number}" for number in range(WORKFLOWS)]
        self.runs = {f"soak-{number}": self.workflows[number % WORKFLOWS] for number in range(waits // EACH)}

    def begin(self) -> None:
        """Start the waits and return when all of them are in a triggerer."""
        for workflow in self.workflows:
            self.pixxel.control("POST", "/workflows", {"id": workflow, "like": "wf-succeeds"})
        for name, workflow in self.runs.items():
            for number in range(EACH):
                job = {"workflow_id": workflow, "id": f"{name}-{number}", "seconds": 86_400}
                self.pixxel.control("POST", "/jobs", job)
            conf = {"workflow_id": workflow, "name": name}
            body = {"dag_run_id": name, "conf": conf, "logical_date": None}
            self.cluster.ask("POST", f"{self.cluster.api}/dags/soak/dagRuns", body)
        wanted = EACH * len(self.runs)
        self._until(lambda: self._triggers() >= wanted, f"{wanted} waits in the triggerers", self._triggers)

    def end(self) -> None:
        """Let all jobs end and return when all waits have."""
        for name in self.runs:
            for number in range(EACH):
                self.pixxel.control("PATCH", f"/jobs/{name}-{number}", {"finish": True})
        wanted = EACH * len(self.runs)
        self._until(lambda: self.states().get("success", 0) == wanted, f"{wanted} successes", self.states)

    def states(self) -> dict[str, int]:
        """Return how many task instances are in each state."""
        return dict(evidence.query(self.cluster, "select state, count(*) from task_instance group by state"))

    def hold(self, seconds: float, words: str) -> tuple[float, float]:
        """Let time pass; return its begin and its end."""
        began = time.time()
        while (left := began + seconds - time.time()) > 0:
            self.screen.now(f"{words} ... {left:.0f} s")
            time.sleep(min(5, left))
        return began, time.time()

    def _triggers(self) -> int:
        return sum(each.lines[-1]["triggers"] for each in sizes(self.lags))

    def _until(
        self, done: Callable[[], bool], what: str, shown: Callable[[], Any], most: float = 1200
    ) -> None:
        deadline = time.monotonic() + most
        while not done():
            if time.monotonic() > deadline:
                raise AirflowTrouble(f"not within {most:.0f} s: {what}; there are {shown()}")
            self.screen.now(f"waiting for {what} ... {shown()}")
            time.sleep(2)


def figures(found: list[Sizes], times: dict[str, tuple[float, float]]) -> list[tuple[str, str]]:
    """Return what was measured of each triggerer, as pairs of words."""
    rows = []
    for number, each in enumerate(found, 1):
        for name, (words, unit, factor) in MEASURES.items():
            before, during, after = (each.mean(name, *times[when]) * factor for when in times)
            slope = each.slope(name, *times["during"]) * factor
            shown = (
                f"{before:.1f} before, {during:.1f} during, {after:.1f} after; {slope:+.2f} per hour {unit}"
            )
            rows.append((f"triggerer {number}: {words}", shown.strip()))
    return rows


def failures(found: list[Sizes], times: dict[str, tuple[float, float]]) -> list[str]:
    """Return what grew while nothing changed, and what stayed when all was over."""
    wrong = []
    for each in found:
        for name, most in (("bytes", 20 * 2**20), ("sockets", 8), ("tasks", 8)):
            # Over the time itself, not the hour that it is scaled to.
            grown = each.slope(name, *times["during"]) * (times["during"][1] - times["during"][0]) / 3600
            if grown > most:
                wrong.append(f"process {each.pid}: {name} grew by {grown:.0f}")
        for name in ("sockets", "tasks"):
            before, after = (each.mean(name, *times[when]) for when in ("before", "after"))
            if after > before + 2:
                wrong.append(f"process {each.pid}: {after:.1f} {name} are left of {before:.1f} before")
    return wrong


def main(words: Sequence[str] | None = None) -> int:
    """Run a soak; the exit code says whether nothing grew and nothing was left."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="how long (default %(default)s)")
    parser.add_argument("--waits", type=int, default=2000, help="how many (default %(default)s)")
    parser.add_argument("--docs", action="store_true", help="write the table of the docs")
    wanted = parser.parse_args(words)
    return to_the_end(lambda stack, screen: _run(stack, wanted, screen))


def _run(stack: contextlib.ExitStack, wanted: argparse.Namespace, screen: Screen) -> int:
    folder = stack.enter_context(open_folder())
    lags = folder / "lags"
    lags.mkdir()
    pixxel = Pixxel(folder, "--seed", "1", key=KEY)
    stack.callback(pixxel.stop)
    more = {"PIXXEL_STORM_LAGS": str(lags), "AIRFLOW__CORE__PARALLELISM": "5000"}
    more["AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY"] = "0"
    parts = {name: command for name, command in PARTS.items() if not name.startswith("worker")}
    cluster = Cluster(folder / "airflow", HERE / "dags", more=more, parts=parts)
    measure_loops(cluster)
    stack.enter_context(running(cluster))
    cluster.store_connection(pixxel.airflow_connection)
    add_mix(pixxel)
    soak = Soak(cluster, pixxel, lags, wanted.waits, screen)
    times = {"before": soak.hold(30, "before")}
    began = time.monotonic()
    soak.begin()
    screen.line(f"{wanted.waits} waits are in two triggerers after {time.monotonic() - began:.0f} s.")
    soak.hold(120, "settling")
    times["during"] = soak.hold(wanted.minutes * 60, "waiting")
    polls = pixxel.control("GET", "/counters")["routes"]
    began = time.monotonic()
    soak.end()
    screen.line(f"All have succeeded, {time.monotonic() - began:.0f} s after the first job ended.")
    # Connections of HTTP that nobody uses are kept for a while.
    soak.hold(90, "settling")
    times["after"] = soak.hold(30, "after")
    found = sizes(lags)
    title = (
        f"Airflow {metadata.version('apache-airflow')}, {wanted.waits} waits for {wanted.minutes:g} minutes"
    )
    requests = ", ".join(f"{name} {count}" for name, count in sorted(polls.items()))
    rows = [*figures(found, times), ("requests until the jobs ended", requests)]
    screen.line("\n".join([title, *(f"  {name:<32} {value}" for name, value in rows)]))
    wrong = failures(found, times)
    screen.line("\n".join(["What didn't hold:", *wrong]) if wrong else "All of it held.")
    if wanted.docs:
        header = ".. Written by ``make soak SOAK=--docs``; not to be edited by hand."
        content = [header, title, table("figure", "measured", rows), ""]
        DOCS.write_text("\n\n".join(content), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
