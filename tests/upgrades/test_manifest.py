"""Each release has its recording, and in it everything that Airflow may have stored of this package."""

from __future__ import annotations

import hashlib
import inspect
import pkgutil
import re
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger

import pixxel_provider
from pixxel_provider import __version__
from pixxel_provider.compat.serialized_dag import tasks_of
from tests.upgrades.recorded import RELEASES, Release, decoded

ROOT = Path(__file__).resolve().parents[2]
IS_RELEASE = ".dev" not in __version__
#: Classes that are newer than the newest release: they have no recording yet. A release has none.
UNRECORDED: frozenset[str] = frozenset()
#: How long what a release stored can be read (docs/upgrades.rst).
READABLE = timedelta(days=365)
STATES = {"asking", "created", "done", "unconfirmed"}
KINDS = {"succeeded", "failed", "timed_out", "error", "identified", "unstarted"}

each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)


def classes(base: type, *folders: str) -> set[str]:
    """Return the public classes of the package's folders that derive from one, by module and name."""
    found = set()
    for folder in folders:
        package = import_module(f"{pixxel_provider.__name__}.{folder}")
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, each in inspect.getmembers(import_module(info.name), inspect.isclass):
                if issubclass(each, base) and each.__module__ == info.name and not name.startswith("_"):
                    found.add(f"{info.name}.{name}")
    return found


def released() -> dict[str, date]:
    """Return the dates of the changelog's releases, by version."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    return {version: date.fromisoformat(when) for version, when in found}


def recorded_operators(release: Release) -> set[str]:
    """Return the operators of which tasks have ended and left XComs, by module and name."""
    pushed = {(row["dag_id"], row["task_id"]) for row in release.rows("xcoms")}
    return {
        f"{task.module}.{task.arguments['task_type']}"
        for row in release.rows("dags")
        for task in tasks_of(row["data"])
        if (row["dag_id"], task.task_id) in pushed and task.module.startswith("pixxel_provider")
    }


def recorded_triggers(release: Release) -> set[str]:
    """Return the classes of the stored triggers."""
    return {row["classpath"] for name in ("triggers", "watchers") for row in release.rows(name)}


def test_each_release_of_the_changelog_that_can_still_be_read_is_recorded() -> None:
    dates = released()
    if IS_RELEASE:
        assert __version__ in dates, "a release has a date in CHANGELOG.md"
    newest = max(dates.values())
    needed = {version for version, when in dates.items() if newest - when <= READABLE}
    missing = needed - {release.version for release in RELEASES}
    assert not missing, "make record writes them"


@pytest.mark.parametrize(
    ("base", "folders", "recorded"),
    [
        (BaseTrigger, ("triggers",), recorded_triggers),
        (BaseOperator, ("operators", "sensors"), recorded_operators),
    ],
    ids=["triggers", "operators"],
)
def test_each_class_that_airflow_stores_is_recorded(
    base: type, folders: tuple[str, ...], recorded: object
) -> None:
    assert callable(recorded)
    newest = RELEASES[-1] if not IS_RELEASE else next(r for r in RELEASES if r.version == __version__)
    assert classes(base, *folders) - recorded(newest) == {
        each for each in UNRECORDED if issubclass(_load(each), base)
    }


def _load(path: str) -> type:
    module, _, name = path.rpartition(".")
    found: type = getattr(import_module(module), name)
    return found


@pytest.mark.skipif(not IS_RELEASE, reason="what is new is recorded with the next release")
def test_a_release_leaves_nothing_unrecorded() -> None:
    assert frozenset() == UNRECORDED


@each_release
def test_each_state_and_each_kind_of_event_is_recorded(release: Release) -> None:
    assert set(release.rows("checkpoints")) >= STATES
    assert {row["next_kwargs"]["event"]["kind"] for row in release.rows("resumed")} >= KINDS
    waits = [decoded(row["kwargs"]) for row in release.rows("triggers")]
    for field in ("not_before", "missing_since", "deferred_for", "task_end", "success_statuses"):
        assert any(kwargs.get(field) for kwargs in waits), field
    assert len(release.rows("cursors")) == 2 * len(release.rows("watchers"))


@each_release
def test_a_recording_names_no_machine_and_no_key(release: Release) -> None:
    for file in release.folder.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert re.findall(r"canary|signature=|/tmp/|/root/|/home/|/Users/", text) == [], file.name


@each_release
def test_the_wheel_is_the_one_that_was_recorded(release: Release) -> None:
    about = release.rows("release")
    assert about["version"] == release.version
    wheel = release.folder / about["wheel"]
    if not wheel.exists() and not (ROOT / "docs").exists():
        pytest.skip("the source archive comes without wheels")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == about["sha256"]
