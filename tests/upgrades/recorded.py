"""What ``scripts/record_release.py`` has kept of each release, and what goes on with it."""

from __future__ import annotations

import json
import runpy
import warnings
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.operators.running import RunRunner
from tests.sensors.waiting import Ended
from tests.support import FakeClock, FakeTaskInstance

HERE = Path(__file__).resolve().parent
AIRFLOW = tuple(int(part) for part in metadata.version("apache-airflow").split(".")[:2])
#: States of Airflow, by what ends a task in them.
STATES = {"success": "success", "AirflowSkipException": "skipped"}


@dataclass(frozen=True)
class Release:
    """A release's folder."""

    folder: Path

    @property
    def version(self) -> str:
        return self.folder.name

    @property
    def airflow(self) -> tuple[int, ...]:
        """The version of Airflow that it was recorded on."""
        return tuple(int(part) for part in self.rows("release")["airflow"].split(".")[:2])

    @property
    def moment(self) -> float:
        """When it was recorded, in Unix seconds."""
        return float(max(row["value"]["began_at"] for row in self.rows("checkpoints").values()))

    def rows(self, name: str) -> Any:
        return _read(self.folder / f"{name}.json")

    def find(self, name: str, **fields: Any) -> dict[str, Any] | None:
        """Return the one row with these fields, None if there is none."""
        found = [row for row in self.rows(name) if fields.items() <= row.items()]
        assert len(found) < 2
        return found[0] if found else None

    def dag(self, dag_id: str) -> Any:
        """Return a DAG of the release's files."""
        return dags_of(self)[dag_id]


@cache
def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


RELEASES = [Release(file.parent) for file in sorted(HERE.glob("releases/*/release.json"))]


@dataclass(frozen=True)
class Stored:
    """A row of a release."""

    release: Release
    row: dict[str, Any]

    @property
    def key(self) -> dict[str, str]:
        return {name: self.row[name] for name in ("dag_id", "task_id", "run_id")}

    def __str__(self) -> str:
        run_id = self.row["run_id"]
        name = self.row["task_id"] if run_id == "recorded" else run_id
        return f"{self.release.version}-{name}"

    def xcoms(self, name: str = "xcoms") -> dict[str, Any]:
        """Return the task instance's XComs, by key."""
        rows = self.release.rows(name)
        return {row["key"]: row["value"] for row in rows if self.key.items() <= row.items()}

    @property
    def task(self) -> dict[str, Any]:
        """The task instance at its end."""
        return self.release.find("tasks", **self.key) or {}

    @property
    def event(self) -> dict[str, Any] | None:
        """The event that its trigger fired, None where that ended the task itself."""
        row = self.release.find("resumed", **self.key)
        return None if row is None else decoded(row["next_kwargs"])["event"]


def stored(name: str) -> list[Stored]:
    """Return the rows of this kind of all releases."""
    return [Stored(release, row) for release in RELEASES for row in release.rows(name)]


def decoded(value: Any) -> Any:
    """Return the value that Airflow has stored: all of them are JSON, some of it with the types named."""
    if isinstance(value, dict):
        value = value["__var"] if value.keys() == {"__type", "__var"} else value
        return {key: decoded(each) for key, each in value.items()}
    return [decoded(each) for each in value] if isinstance(value, list) else value


def dags_of(release: Release, warned: list[Any] | None = None) -> dict[str, Any]:
    """Import the release's DAG files, unchanged; return their DAGs by id.

    :param warned: gets the warnings.
    """
    found: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for file in sorted(release.folder.glob("dags/*.py")):
            names = runpy.run_path(str(file)).values()
            found |= {each.dag_id: each for each in names if hasattr(each, "task_dict")}
    if warned is not None:
        warned.extend(seen)
    return found


class Upgraded(RunRunner):
    """Goes on with a task instance of a release under the current code, beside a Pixxel that has its jobs.

    :param xcoms: the name of the rows with the XComs that it has by then.
    """

    def __init__(
        self, row: Stored, pixxel: Any, monkeypatch: pytest.MonkeyPatch, *, began: float, xcoms: str
    ) -> None:
        self.row = row
        super().__init__("deferred", pixxel, FakeClock(began), monkeypatch, FakeTaskInstance(), retries=0)
        for name, value in row.key.items():
            setattr(self.ti, name, value)
        self.ti.xcoms = row.xcoms(xcoms)
        pixxel.advance(began - pixxel.world.clock.now())

    def operator(self, **arguments: Any) -> Any:
        task = self.row.release.dag(self.row.row["dag_id"]).get_task(self.row.row["task_id"])
        context = {"ti": self.ti, "params": {"folder": arguments.get("folder", "")}}
        task.render_template_fields(context)
        return task

    def fire(self) -> Any:
        """Run the stored trigger to its end; return what a worker goes on with, or how the task ended."""
        kwargs = decoded(self.row.row["kwargs"])
        timeout = timedelta(seconds=kwargs.get("deferred_for") or 3600)
        return self._triggerer(
            (self.row.row["classpath"], kwargs),
            SimpleNamespace(timeout=timeout, method_name="execute_complete"),
        )


def end_state(ended: Ended) -> str:
    """Return the state that Airflow gives a task that ended so."""
    return STATES.get(ended.kind, "failed")


def make_jobs(release: Release, pixxel: Any, **of: str) -> None:
    """Give Pixxel the jobs that the release's waits are for, or that of one task instance.

    They run for five minutes from now on.
    """
    for workflow in ("wf-finds", "wf-watched", "wf-chosen"):
        pixxel.world.workflows.pop(workflow, None)
        pixxel.world.add_workflow(workflow)
    known = set(pixxel.world.jobs)
    for row in release.rows("xcoms"):
        if row["key"] != "job_id" or row["value"] in known or not of.items() <= row.items():
            continue
        key = {name: row[name] for name in ("dag_id", "task_id", "run_id")}
        workflow = (release.find("xcoms", **key, key="workflow_id") or {})["value"]
        known.add(row["value"])
        endless = workflow == "wf-endless"
        pixxel.create_job(workflow, row["value"], seconds=None if endless else 300)
