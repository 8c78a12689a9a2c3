"""A workflow's asset: its URI, its watcher, what the events of outlets hold."""

from __future__ import annotations

import re
import warnings
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from airflow.providers.common.compat import assets as airflow_assets
from airflow.providers.common.compat.sdk import Asset

from pixxel_provider import assets
from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.assets import (
    HAS_ASSET_WATCHERS,
    asset_uri,
    create_asset,
    dataset_name,
    describe_outlets,
    sanitize_uri,
    watched_workflow,
)
from pixxel_provider.compat import assets as compat
from pixxel_provider.triggers.events import PixxelJobEventTrigger
from tests.support import RecordingLog, outlet_events

URI = "pixxel://api.pixxel.space/workflows/wf-1"
needs_watchers = pytest.mark.skipif(not HAS_ASSET_WATCHERS, reason="Airflow has asset watchers from 3.0 on")


def sanitized(uri: str) -> str:
    return urlunsplit(sanitize_uri(urlsplit(uri)))


# ------------------------------------------------------------------------------------------------ the URI


@pytest.mark.parametrize(
    "form",
    [
        URI,
        "PIXXEL://API.Pixxel.SPACE/workflows/wf-1",
        "pixxel://api.pixxel.space:443/workflows/wf-1",
        "pixxel://api.pixxel.space.:443/workflows/wf-1",
        "pixxel://api.pixxel.space/workflows/wf-1/",
        "pixxel://api.pixxel.space/workflows/%77f%2D1",
    ],
)
def test_each_form_of_a_uri_becomes_the_same_asset_in_airflow(form: str) -> None:
    assert Asset(form).uri == URI
    assert sanitized(form) == URI


@pytest.mark.parametrize(
    ("host", "workflow_id", "uri"),
    [
        ("localhost:8080", "wf-1", "pixxel://localhost:8080/workflows/wf-1"),
        ("h:80", "wf-1", "pixxel://h:80/workflows/wf-1"),
        ("[::0001]:443", "wf-1", "pixxel://[::1]/workflows/wf-1"),
        ("bücher.example", "wf-1", "pixxel://xn--bcher-kva.example/workflows/wf-1"),
        ("h", "a b/c?d#e%", "pixxel://h/workflows/a%20b%2Fc%3Fd%23e%25"),
        ("h", "größe~._-", "pixxel://h/workflows/gr%C3%B6%C3%9Fe~._-"),
    ],
)
def test_a_host_and_an_id_of_any_kind_are_a_uri_in_its_one_form(
    host: str, workflow_id: str, uri: str
) -> None:
    assert asset_uri(workflow_id, host) == uri
    assert sanitized(uri) == uri
    assert Asset(uri).uri == uri
    assert uri.isascii()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("pixxel://user@h/workflows/wf", "user or password"),
        ("pixxel://user:canary@h/workflows/wf", "user or password"),
        ("pixxel://h/workflows/wf?key=canary", "query"),
        ("pixxel://h/workflows/wf#canary", "fragment"),
        ("pixxel:///workflows/wf", "names no host"),
        ("pixxel:/workflows/wf", "names no host"),
        ("pixxel://h_!/workflows/wf", "host"),
        ("pixxel://h:0/workflows/wf", "port"),
        ("pixxel://h", "path ''"),
        ("pixxel://h/jobs/wf", "path '/jobs/wf'"),
        ("pixxel://h/workflows", "workflow_id is empty"),
        ("pixxel://h//workflows/wf", "path '//workflows/wf'"),
        ("pixxel://h/workflows//wf", "path '/workflows//wf'"),
        ("pixxel://h/workflows/wf/jobs/j", "path '/workflows/wf/jobs/j'"),
        ("pixxel://h/workflows/../wf", "path '/workflows/../wf'"),
        ("pixxel://h/workflows/%2e%2e", "step in a path"),
        ("pixxel://h/workflows/%ff", "UTF-8: '%ff'"),
        ("pixxel://h/workflows/wf%0a", "line break"),
        ("pixxel://h/workflows/" + 513 * "x", "513 characters"),
    ],
)
def test_a_uri_that_is_no_workflows_is_refused_with_the_reason(uri: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        sanitized(uri)
    assert "pixxel://host/workflows/workflow_id" in str(caught.value)
    assert "canary" not in str(caught.value)


@needs_watchers
def test_airflow_raises_the_reason_when_the_dag_is_read() -> None:
    with pytest.raises(ValueError, match="this URI holds a query"):
        Asset("pixxel://h/workflows/wf?a=1")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"host": "https://api.pixxel.space"}, "host"),
        ({"host": "user:canary@h"}, "host"),
        ({"host": ""}, "host"),
        ({"workflow_id": ""}, "workflow_id"),
        ({"workflow_id": None}, "workflow_id"),
    ],
)
@pytest.mark.parametrize("make", [create_asset, pytest.param(watched_workflow, marks=needs_watchers)])
def test_an_argument_that_cannot_be_part_of_a_uri_is_named(
    make: Any, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(PixxelInputError) as caught:
        make(**{"workflow_id": "wf", **arguments})
    assert caught.value.field == field
    assert "canary" not in str(caught.value)


def test_airflows_factory_makes_the_same_asset() -> None:
    made = create_asset(workflow_id="wf-1", extra={"a": 1})
    assert (made.uri, made.extra) == (URI, {"a": 1})


# ---------------------------------------------------------------------------------------------- OpenLineage


def test_a_workflow_is_a_dataset_of_its_host() -> None:
    assert dataset_name(asset_uri("a b", "H:8080")) == ("pixxel://h:8080", "workflows/a b")


# ---------------------------------------------------------------------------------------------- the watcher


@needs_watchers
def test_one_line_is_an_asset_whose_watcher_has_each_argument() -> None:
    given = {
        "outcomes": ["failed"],
        "created_by": "u",
        "pixxel_conn_id": "c",
        "poke_interval": 5.0,
        "since": "2026-01-01T00:00:00+00:00",
    }
    asset = watched_workflow("wf-1", group="pixxel", **given)
    assert (asset.name, asset.uri, asset.group) == (URI, URI, "pixxel")
    (watcher,) = asset.watchers
    assert isinstance(watcher.trigger, PixxelJobEventTrigger)
    assert watcher.trigger.serialize()[1] == {"workflow_id": "wf-1", **given}
    assert watcher.name == "jobs of wf-1"


@needs_watchers
def test_without_arguments_it_is_what_the_trigger_is_without_arguments() -> None:
    (watcher,) = watched_workflow("wf-1").watchers
    assert watcher.trigger.serialize() == PixxelJobEventTrigger("wf-1").serialize()


def test_an_airflow_without_watchers_is_named_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "HAS_ASSET_WATCHERS", False)
    with pytest.raises(RuntimeError, match=r"watched_workflow\(\) needs .* 3\.0 on"):
        watched_workflow("wf-1")


# ------------------------------------------------------------------------------------------------ outlets


def task(*outlets: Any) -> Any:
    return SimpleNamespace(outlets=list(outlets), log=RecordingLog())


def test_each_outlet_of_the_task_gets_the_values_beside_what_its_author_gave() -> None:
    one, two, other = create_asset(workflow_id="a"), Asset("s3://bucket/key"), create_asset(workflow_id="b")
    context: Any = {"outlet_events": outlet_events()}
    context["outlet_events"][one].extra["mine"] = 1
    given = task(one, two)
    describe_outlets(given, context, {"job_id": "j", "cost": 120})
    assert context["outlet_events"][one].extra == {"mine": 1, "job_id": "j", "cost": 120}
    assert context["outlet_events"][two].extra == {"job_id": "j", "cost": 120}
    assert len(context["outlet_events"]) == 2
    assert context["outlet_events"][other].extra == {}
    assert given.log.lines == []


def test_without_outlets_there_are_no_events() -> None:
    context: Any = {"outlet_events": outlet_events()}
    describe_outlets(task(), context, {"job_id": "j"})
    assert len(context["outlet_events"]) == 0
    # Airflow's own tests, and other callers, may have no events at all.
    describe_outlets(task(create_asset(workflow_id="a")), {}, {"job_id": "j"})  # type: ignore[typeddict-item]


def test_an_alias_has_no_event_of_its_own() -> None:
    context: Any = {"outlet_events": outlet_events()}
    describe_outlets(task(airflow_assets.AssetAlias(name="alias"), "text"), context, {"job_id": "j"})
    assert len(context["outlet_events"]) == 0


@needs_watchers
def test_a_reference_that_airflow_cannot_resolve_fails_no_job_that_is_paid_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = outlet_events()
    monkeypatch.setattr(type(events), "_resolve_asset_ref", lambda *_: 1 / 0)
    given = task(Asset.ref(uri=URI))
    describe_outlets(given, {"outlet_events": events}, {"job_id": "j"})  # type: ignore[typeddict-item]
    (line,) = given.log.lines
    assert line == "warning: The events of the outlets lack the job: ZeroDivisionError: division by zero"


def test_nothing_of_it_warns_of_what_airflow_deprecates() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        context: Any = {"outlet_events": outlet_events()}
        assert list(compat.outlet_extras(context, [create_asset(workflow_id="a")])) == [{}]
