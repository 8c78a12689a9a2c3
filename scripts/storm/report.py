"""What a storm came to: each run against what was expected of it, and the figures that the docs quote."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evidence import TRANSIENT, errors_in
from plan import VERSION, PlannedRun

ASKED = "PixxelUnconfirmedJobError"
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed"})
#: The longest a loop may be held up by this package's code, in seconds.
BLOCK = 0.2


@dataclass
class Outcome:
    """What became of one run."""

    run: PlannedRun
    problem: str = ""
    bills: int = 0
    asked: bool = False
    """Whether it ended by asking a person although that wasn't planned: nobody could know."""
    hanging: bool = False
    ended_by_transient: list[str] = field(default_factory=list)
    earlier_tries: int = 0


def judge(
    run: PlannedRun,
    tasks: Iterable[dict[str, Any]],
    logs: dict[tuple[str, str, str], list[str]],
    bills: Counter[str],
    folder: str,
) -> Outcome:
    """Compare a run with what was expected of it."""
    outcome = Outcome(run, bills=sum(bills[each] for each in run.workflows) if run.kind.bills else 0)
    tasks = list(tasks)
    found = {task["task_id"]: task["state"] for task in tasks}
    errors: dict[str, Counter[str]] = {name: Counter() for name in run.kind.tasks}
    for name, found_errors in errors.items():
        for log in logs.get((run.dag_id, run.run_id, name), ()):
            found_errors.update(errors_in(log))
    outcome.hanging = not tasks or any(task["state"] not in ENDED for task in tasks)
    outcome.earlier_tries = sum(max(task["try_number"] - 1, 0) for task in tasks)
    wanted, bills_wanted = run.kind.tasks, run.kind.bills
    if _forgotten(run, outcome, found, errors):
        wanted, bills_wanted = found, 1
        outcome.bills = bills[run.workflows[0]]
    for name, expected in wanted.items():
        states = {task["state"] for task in tasks if task["task_id"] == name}
        if states == {expected}:
            continue
        if run.kind.bills and ASKED in errors[name] and "failed" in states:
            outcome.asked = True
        else:
            outcome.problem = (
                f"{name} is {found.get(name)}, not {expected} ({', '.join(errors[name]) or 'no error'})"
            )
    for name, raised in errors.items():
        # A try may give up before there is a job, and the next one goes on; a wait that has begun may not.
        outcome.ended_by_transient += [f"{name}: {each}" for each in raised if TRANSIENT.search(each)]
    if run.kind.error and not any(run.kind.error in each for raised in errors.values() for each in raised):
        outcome.problem = outcome.problem or f"no {run.kind.error} in its log"
    shared = run.kind.name == "run_shared"
    if bills_wanted and not shared and outcome.bills != bills_wanted and not outcome.asked:
        outcome.problem = f"{outcome.bills} jobs billed, not {bills_wanted}"
    if not bills_wanted and sum(bills[each] for each in run.workflows):
        outcome.problem = "a job was billed, and none should"
    if "download" in run.kind.tasks and found.get("download") == "success" and not _has_files(folder, run):
        outcome.problem = "the download succeeded, and there is no file"
    return outcome


def _forgotten(run: PlannedRun, outcome: Outcome, found: dict[str, Any], errors: dict[str, Any]) -> bool:
    """Whether Airflow lost the end of a try that asked a person, and tried again.

    Before 3.3 nothing tells the next try of it: it creates a job, as docs/money.rst has it.
    """
    asked = run.kind.name == "run_unconfirmed" and ASKED in errors["run"]
    return VERSION < (3, 3) and asked and outcome.earlier_tries > 0 and found == {"run": "success"}


def _has_files(folder: str, run: PlannedRun) -> bool:
    found = Path(folder, run.run_id)
    return found.is_file() or any(each.is_file() for each in found.rglob("*"))


@dataclass
class Report:
    """All that is known about a storm."""

    title: str
    outcomes: list[Outcome]
    shared: tuple[int, int]
    """Jobs billed for the workflow that several runs share, and how many of its runs created one."""
    counters: dict[str, Any]
    budget: int
    worst: list[float]
    blocks: list[dict[str, Any]]
    tracebacks: list[str]
    leaks: list[str]
    searched: dict[str, int]
    steps: list[tuple[float, str]]
    ended: list[str]
    """The parts of Airflow that ended by themselves and were started again."""
    watched: tuple[int, int, int]
    """Events expected, distinct ones seen, and repeats."""

    @property
    def ours(self) -> list[dict[str, Any]]:
        """Blocks of a loop above the limit during which mostly this package's code ran."""
        return [each for each in self.blocks if each["ours"] >= 0.5]

    def failures(self) -> list[str]:
        """Return what didn't hold, in a line each; none where all did."""
        found = [
            f"{each.run.dag_id} {each.run.run_id}: {each.problem}" for each in self.outcomes if each.problem
        ]
        found += [f"{each.run.dag_id} {each.run.run_id}: hangs" for each in self.outcomes if each.hanging]
        twice = [each for each in self.outcomes if each.run.kind.bills and each.bills > each.run.kind.bills]
        found += [f"{each.run.dag_id} {each.run.run_id}: billed twice" for each in twice if not _shared(each)]
        if self.shared[0] > self.shared[1]:
            found.append(f"the shared workflow: {self.shared[0]} jobs billed for {self.shared[1]} runs")
        for each in self.outcomes:
            waits = [words for words in each.ended_by_transient if ": before: " not in words]
            found += [f"{each.run.dag_id} {each.run.run_id}: a wait ended for {words}" for words in waits]
        found += [f"a loop was held up for {each['blocked']:.2f} s at {each['where']}" for each in self.ours]
        if self.counters["total"] > self.budget:
            found.append(f"{self.counters['total']} requests, and the budget is {self.budget}")
        if self.watched[1] < self.watched[0]:
            found.append(f"{self.watched[0] - self.watched[1]} events of the watcher are missing")
        return [
            *found,
            *(f"traceback in {each}" for each in self.tracebacks),
            *(f"key in {x}" for x in self.leaks),
        ]

    def figures(self) -> list[tuple[str, str]]:
        """Return the figures as pairs of words."""
        right = [each for each in self.outcomes if not each.problem and not each.hanging]
        asked = sum(each.asked for each in right)
        bills = sum(each.bills for each in self.outcomes if not _shared(each)) + self.shared[0]
        planned = sum(each.run.kind.bills for each in self.outcomes)
        waits = sum(": before: " not in words for each in self.outcomes for words in each.ended_by_transient)
        others = sum(len(each.ended_by_transient) for each in self.outcomes) - waits
        twice = sum(each.bills > each.run.kind.bills for each in self.outcomes if not _shared(each))
        routes = ", ".join(f"{name} {count}" for name, count in sorted(self.counters["routes"].items()))
        statuses: Counter[str] = Counter()
        for counts in self.counters["statuses"].values():
            statuses.update(counts)
        longest = max(self.worst, default=0.0)
        median = statistics.median(self.worst) if self.worst else 0.0
        expected, seen, repeats = self.watched
        return [
            ("outcomes as expected", f"{len(right)} of {len(self.outcomes)}"),
            ("of them, ended by asking a person where that wasn't planned", str(asked)),
            ("jobs billed", f"{bills}; planned {planned}, billed twice {max(twice, 0)}"),
            ("waits ended for a transient error", str(waits)),
            ("tries before a wait that ended for a transient error, and were retried", str(others)),
            ("hanging", str(sum(each.hanging for each in self.outcomes))),
            ("tries that were lost and made up for", str(sum(each.earlier_tries for each in self.outcomes))),
            ("parts of Airflow that ended by themselves", ", ".join(self.ended) or "none"),
            ("events of the watcher", f"{seen} of {expected}, {repeats} repeated"),
            ("requests", f"{self.counters['total']} (budget {self.budget}): {routes}"),
            ("their answers", ", ".join(f"{name}: {count}" for name, count in sorted(statuses.items()))),
            (
                "triggerers' event loops",
                f"held up for {longest:.2f} s at most, {median * 1000:.0f} ms (median of seconds' worst); "
                f"{len(self.blocks)} times above {BLOCK} s, {len(self.ours)} times by this package",
            ),
            ("tracebacks through this package in the logs of Airflow's parts", str(len(self.tracebacks))),
            (
                "places with an API key",
                f"{len(self.leaks)}; searched: "
                + ", ".join(f"{n} {what}" for what, n in self.searched.items()),
            ),
        ]

    def text(self) -> str:
        """Return all of it, for a terminal."""
        width = max(len(name) for name, _ in self.figures())
        lines = [self.title, *(f"  {name:<{width}}  {value}" for name, value in self.figures())]
        failures = self.failures()
        asked = [each for each in self.outcomes if each.asked]
        lines += [
            f"  asked a person: {each.run.dag_id} {each.run.run_id}, {each.bills} billed" for each in asked
        ]
        lines += (
            ["What didn't hold:", *(f"  {each}" for each in failures)] if failures else ["All of it held."]
        )
        return "\n".join(lines)

    def content(self) -> dict[str, Any]:
        """Return what is kept of a storm, as JSON types."""
        kinds = Counter(each.run.kind.name for each in self.outcomes)
        good = Counter(each.run.kind.name for each in self.outcomes if not each.problem and not each.hanging)
        return {
            "title": self.title,
            "figures": self.figures(),
            "steps": [(f"{at / 60:.1f} min", words) for at, words in self.steps],
            "kinds": [(f"``{name}``", f"{good[name]} of {count}") for name, count in sorted(kinds.items())],
            "failures": self.failures(),
        }


def rst(content: dict[str, Any]) -> str:
    """Return the tables of the docs."""
    parts = [
        ".. Written by ``make storm STORM=--docs``; not to be edited by hand.",
        f"{content['title']}.",
        table("figure", "measured", content["figures"]),
        table("time", "what happened", content["steps"]),
        table("kind of run (``scripts/storm/dags/storm.py``)", "as expected", content["kinds"]),
    ]
    return "\n\n".join(parts) + "\n"


def table(left: str, right: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of the docs."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 40 60", ""]
    for one, other in [(left, right), *rows]:
        lines += [f"   * - {one}", f"     - {other}"]
    return "\n".join(lines)


def _shared(outcome: Outcome) -> bool:
    return outcome.run.kind.name == "run_shared"


def bills_by_workflow(jobs: Iterable[dict[str, Any]], paid: Iterable[str]) -> Counter[str]:
    """Return how many jobs were billed for each workflow."""
    wanted = set(paid)
    return Counter(job["workflow_id"] for job in jobs if job["id"] in wanted)
