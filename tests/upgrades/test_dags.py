"""DAG files that were written for a release, and DAGs that it stored, work under the current code."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest

from pixxel_provider.assets import HAS_ASSET_WATCHERS
from pixxel_provider.compat.serialized_dag import tasks_of
from tests.upgrades.recorded import AIRFLOW, RELEASES, Release, dags_of, decoded
from tests.upgrades.test_deprecations import fault

each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
SCHEDULED = {"release_chosen", "release_watcher", "release_names_scheduled"}


@each_release
def test_they_are_imported_unchanged_and_without_a_warning(release: Release) -> None:
    warned: list[Any] = []
    found = dags_of(release, warned)
    ours = [each for each in warned if re.search(r"pixxel_provider|releases/", each.filename)]
    # What is deprecated since then is announced, and still works.
    assert [str(each) for each in ours if fault(each.category.__name__, str(each.message))] == []
    stored = {row["dag_id"] for row in release.rows("dags")}
    assert set(found) == (stored if HAS_ASSET_WATCHERS else stored - SCHEDULED)


@each_release
def test_what_their_tasks_call_is_still_there(release: Release, pixxel: Any) -> None:
    tasks = dags_of(release)["release_names"].task_dict
    found = tasks["use_the_hook"].python_callable()
    assert found["works"] is True
    assert found["job"][:3] == ["job-finished", "completed", 120]
    assert len(tasks["use_calls"].python_callable()) == 10
    assert tasks["use_errors"].python_callable()[0] == 404
    assert pixxel.requests("create_job") == 2


@each_release
def test_a_stored_dag_leads_to_classes_that_are_there(release: Release) -> None:
    ours = [
        task
        for row in release.rows("dags")
        for task in tasks_of(row["data"])
        if task.module.startswith("pixxel_provider")
    ]
    assert ours
    for task in ours:
        kind = getattr(import_module(task.module), task.arguments["task_type"])
        assert task.template_fields <= set(kind.template_fields), task.task_id
        if task.links:
            assert task.links == (kind.operator_extra_links[0].xcom_key,)


@each_release
def test_airflow_starts_a_wait_of_a_stored_dag_in_the_triggerer(release: Release) -> None:
    if release.airflow > AIRFLOW:
        pytest.skip("an older Airflow would have stored another form")
    from airflow.serialization.serialized_objects import DagSerialization

    (row,) = (row for row in release.rows("dags") if row["dag_id"] == "release_waits")
    dag = DagSerialization.from_dict(row["data"])
    started = [task for task in dag.task_dict.values() if getattr(task, "start_from_trigger", False)]
    assert {task.task_id for task in started} == {"started", "unaided", "by_macro"}
    for task in started:
        start = task.start_trigger_args
        module, _, name = start.trigger_cls.rpartition(".")
        trigger = getattr(import_module(module), name)(**decoded(start.trigger_kwargs))
        assert trigger.serialize()[0] == start.trigger_cls
        assert start.next_method == "execute_complete"
        assert [link.name for link in task.operator_extra_links] == ["Pixxel job"]
