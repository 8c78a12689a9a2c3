"""What a storm runs: each kind of run, how many of it, what it has to come to, and what it may cost."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

VERSION = tuple(int(part) for part in metadata.version("apache-airflow").split(".")[:2])
WATCHED, SHARED = "wf-storm-watched", "wf-storm-shared"
#: Ways in which the answer to the request that is billed is lost or late, or that it is refused for now.
LOST: tuple[dict[str, Any], ...] = (
    {"status": 503, "carried_out": True},
    {"drop": "reset", "carried_out": True},
    {"body": "html", "status": 200, "carried_out": True},
    {"truncate": 40},
    {"status": 429, "retry_after": 2},
    {"latency": 5.0},
)


@dataclass(frozen=True)
class Kind:
    """A DAG of ``dags/storm.py``, what its tasks have to come to, and how many jobs it is billed for."""

    name: str
    weight: int
    tasks: dict[str, str]
    bills: int = 0
    course: str = "wf-succeeds"
    error: str = ""
    """The error that a task that isn't a success has to end with."""
    conn_id: str = "pixxel_default"
    since: tuple[int, int] = (2, 11)
    job: bool = False
    """Whether somebody else starts the job that it waits for."""


RUN, WAIT = {"run": "success"}, {"wait": "success"}
KINDS = (
    Kind("run_deferred", 24, RUN, bills=1),
    Kind("run_polled", 6, RUN, bills=1),
    Kind("run_rescheduled", 12, RUN, bills=1, since=(3, 3)),
    Kind("run_shared", 18, RUN, bills=1),
    Kind("run_download", 24, {**RUN, "download": "success"}, bills=1),
    Kind("run_then_wait", 18, {"start": "success", **WAIT, "get": "success"}, bills=1),
    Kind("run_mapped", 12, RUN, bills=2),
    Kind("run_fails", 12, {"run": "failed"}, bills=1, course="wf-fails", error="PixxelJobFailedError"),
    Kind("run_unconfirmed", 6, {"run": "failed"}, error="PixxelUnconfirmedJobError"),
    Kind("run_costly", 6, {"run": "failed"}, error="PixxelCostError"),
    Kind("estimate", 6, {"estimate": "success"}),
    Kind("wait_deferred", 36, WAIT, job=True),
    Kind("wait_polled", 6, WAIT, job=True),
    Kind("wait_rescheduled", 18, WAIT, job=True),
    Kind("wait_backoff", 6, WAIT, job=True),
    Kind("wait_started", 18, WAIT, job=True, since=(3, 3)),
    Kind("wait_unaided", 18, WAIT, job=True, since=(3, 3)),
    Kind("wait_ended_after", 6, WAIT, job=True),
    Kind("wait_fails", 12, {"wait": "failed"}, course="wf-fails", error="PixxelJobFailedError", job=True),
    Kind("wait_soft", 6, {"wait": "skipped"}, course="wf-fails", job=True),
    Kind("wait_timeout", 6, {"wait": "failed"}, course="wf-endless", error="Timeout", job=True),
    Kind("watched", 24, {"collect": "success"}, job=True, since=(3, 0)),
)
# Of these kinds, every third reads its connection from the secrets backend.
VAULTED = re.compile("run_deferred|run_download|wait_deferred|wait_rescheduled|wait_started")


@dataclass
class PlannedRun:
    """One run: when it begins, in seconds from the storm's start, and what it is about."""

    kind: Kind
    number: int
    at: float
    queued: float
    conn_id: str
    fault: dict[str, Any] | None = None
    job_id: str = ""
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def dag_id(self) -> str:
        return f"storm_{self.kind.name}"

    @property
    def run_id(self) -> str:
        return f"storm-{self.number}"

    @property
    def workflows(self) -> list[str]:
        """The workflows of its jobs; most runs have one of their own, as jobs are counted by it."""
        if self.kind.name in ("watched", "run_shared"):
            return [WATCHED if self.kind.name == "watched" else SHARED]
        return [f"wf-storm-{self.number}-{each}" for each in range(max(self.kind.bills, 1))]

    @property
    def create_fault(self) -> dict[str, Any] | None:
        """What happens to the first request for a job of its (first) workflow."""
        if self.kind.name == "run_unconfirmed":
            return {"status": 503}
        return self.fault if self.kind.bills else None

    def conf(self, folder: str) -> dict[str, Any]:
        """The params of the DAG run."""
        job = self.job_id
        if self.kind.name == "wait_ended_after":
            job = datetime.now(timezone.utc).isoformat()
        return {
            "workflow_id": self.workflows[0],
            "workflows": self.workflows,
            "job_id": job,
            "conn_id": self.conn_id,
            "destination": f"{folder}/{self.run_id}",
        }


def plan(count: int, seconds: float, seed: int) -> list[PlannedRun]:
    """Return so many runs over so many seconds, of all kinds that this Airflow has, by when they begin."""
    chance = random.Random(seed)
    runs = []
    for number, kind in enumerate(_kinds(count)):
        lost = kind.bills and chance.random() < 0.3
        vaulted = VAULTED.fullmatch(kind.name) and number % 3 == 0
        runs.append(
            PlannedRun(
                kind=kind,
                number=number,
                at=chance.uniform(0, seconds),
                queued=chance.uniform(1, 60),
                conn_id="pixxel_vault" if vaulted else kind.conn_id,
                fault=dict(chance.choice(LOST)) if lost else None,
                job_id=f"job-storm-{number}" if kind.job else "",
            )
        )
    return sorted(runs, key=lambda run: run.at)


def _kinds(count: int) -> Iterator[Kind]:
    """Yield kinds by their weights, each once before any is repeated."""
    kinds = [kind for kind in KINDS if kind.since <= VERSION]
    total = sum(kind.weight for kind in kinds)
    given = dict.fromkeys((kind.name for kind in kinds), 0)
    for number in range(count):
        # Whoever is furthest behind its share.
        chosen = max(kinds, key=lambda kind: (kind.weight / total) * (number + 1) - given[kind.name])
        if number < len(kinds):
            chosen = next(kind for kind in kinds if not given[kind.name])
        given[chosen.name] += 1
        yield chosen
