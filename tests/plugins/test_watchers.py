"""Watchers in Airflow's database: which there are, and who may see them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.plugins.pages import Records, require_pages

require_pages()

import sqlalchemy as sa  # noqa: E402
from airflow.models.asset import AssetEvent  # noqa: E402
from airflow.models.trigger import Trigger  # noqa: E402

from pixxel_provider.plugins.watchers import CLASSPATH, Watcher, find  # noqa: E402
from pixxel_provider.triggers.events import PixxelJobEventTrigger  # noqa: E402

SHARED, SECRET = "region", "secret-region"


def found(*dag_ids: str, may_read: Any = lambda _: True) -> dict[str, Watcher]:
    """Return the watchers of these DAGs, by their workflows."""
    watchers, count = find(dag_ids, may_read)
    assert count == len(watchers)
    by_workflow = {each.workflow_id: each for each in watchers}
    assert len(by_workflow) == len(watchers)
    return by_workflow


@pytest.fixture
def change(records: Records) -> Iterator[Any]:
    """Put values into the rows of all triggers, for one test."""
    before = sa.select(Trigger.id, Trigger.triggerer_id, Trigger.encrypted_kwargs)
    with records.sessions() as session:
        rows = session.execute(before).all()

    def put(**values: Any) -> None:
        with records.sessions.begin() as session:
            session.execute(sa.update(Trigger).values(values))

    yield put
    with records.sessions.begin() as session:
        for number, triggerer, kwargs in rows:
            values = {"triggerer_id": triggerer, "encrypted_kwargs": kwargs}
            session.execute(sa.update(Trigger).where(Trigger.id == number).values(values))


def test_a_watcher_is_shown_with_what_it_is_limited_to_and_the_dags_that_it_starts(records: Records) -> None:
    shared = found("coast", "secret")[SHARED]

    assert shared.dag_ids == ["coast", "secret"]
    assert (shared.conn_id, shared.created_by, shared.outcomes) == ("pixxel_default", "somebody", ["failed"])
    assert shared.asset == "pixxel://api.pixxel.space/workflows/region"
    assert (shared.runs, shared.last_event) == (False, None)


def test_only_watchers_of_readable_dags_and_assets_are_shown(records: Records) -> None:
    assert found("coast", "secret").keys() == {SHARED, SECRET}
    assert found("coast").keys() == {SHARED}
    assert found("coast")[SHARED].dag_ids == ["coast"]
    assert found("another") == found() == {}
    hidden = found("secret")[SECRET].asset_id
    assert found("secret", may_read=lambda asset_id: asset_id != hidden).keys() == {SHARED}


def test_only_so_many_are_shown_and_all_are_counted(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixxel_provider.plugins.watchers.MOST_WATCHERS", 1)
    watchers, count = find(["coast", "secret"], lambda _: True)

    assert (len(watchers), count) == (1, 2)


def test_a_watcher_in_a_triggerer_runs(records: Records, change: Any) -> None:
    change(triggerer_id=7)

    assert found("coast")[SHARED].runs


def test_the_last_event_is_that_of_the_asset(records: Records) -> None:
    asset = found("coast")[SHARED].asset_id
    moments = [datetime(2026, 11, day, tzinfo=timezone.utc) for day in (3, 5, 4)]
    with records.sessions.begin() as session:
        session.add_all(AssetEvent(asset_id=asset, timestamp=moment, extra={}) for moment in moments)
    try:
        assert found("coast", "secret")[SHARED].last_event == moments[1]
        assert found("secret")[SECRET].last_event is None
    finally:
        with records.sessions.begin() as session:
            session.execute(sa.delete(AssetEvent))


def test_arguments_that_can_not_be_read_cost_their_watcher_alone(
    records: Records, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    change(encrypted_kwargs="encrypted with another key")
    with caplog.at_level(logging.WARNING):
        assert found("coast") == {}

    assert "can't be read" in caplog.text


def test_triggers_of_others_are_not_shown(records: Records, change: Any) -> None:
    change(classpath="another.Trigger")
    try:
        assert found("coast", "secret") == {}
    finally:
        change(classpath=CLASSPATH)


def test_the_class_is_known_by_the_path_that_airflow_stores() -> None:
    assert PixxelJobEventTrigger("w").serialize()[0] == CLASSPATH
