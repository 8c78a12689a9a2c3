"""How Airflow finds the plugin, and what importing it costs."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import airflow
import pytest
from airflow import plugins_manager
from airflow.providers.common.compat.sdk import BaseOperator

from pixxel_provider.operators.pixxel import (
    PixxelDownloadJobOperator,
    PixxelGetJobOperator,
    PixxelRunJobOperator,
)
from pixxel_provider.plugins import pixxel as plugin_module
from pixxel_provider.plugins.pixxel import LazyApp, PixxelPlugin
from pixxel_provider.sensors.pixxel import PixxelJobSensor
from tests.plugins.pages import HAS_PAGES, WHY_NOT
from tests.support import run_python

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
NAME = "airflow-provider-pixxel"
ENTRY = "pixxel_provider.plugins.pixxel:PixxelPlugin"
needs_pages = pytest.mark.skipif(not HAS_PAGES, reason=WHY_NOT)


class OfAirflow2:
    name: str | None = None


class OfAirflow30(OfAirflow2):
    fastapi_apps: list[Any] = []


class OfAirflow31(OfAirflow30):
    external_views: list[Any] = []


def plugin_of(base: type | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the plugin, or import it anew for an Airflow whose plugins derive from another class."""
    if base is None:
        return PixxelPlugin
    monkeypatch.setattr(plugins_manager, "AirflowPlugin", base)
    spec = importlib.util.spec_from_file_location("pixxel_plugin_read_again", plugin_module.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert issubclass(module.PixxelPlugin, base)
    return module.PixxelPlugin


# --------------------------------------------------------------------------------------------- the plugin


@pytest.mark.parametrize("base", [pytest.param(None, marks=needs_pages), OfAirflow31])
def test_an_airflow_with_external_views_gets_an_app_a_tab_and_a_page(
    base: type | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = plugin_of(base, monkeypatch)
    (app,) = plugin.fastapi_apps
    assert (app["url_prefix"], app["name"]) == ("/pixxel", "Pixxel")
    assert callable(app["app"])
    # Airflow removes an invalid view from this very list.
    assert isinstance(plugin.external_views, list)
    tab, page = plugin.external_views
    assert (tab["destination"], tab["url_route"]) == ("task_instance", "pixxel-job")
    assert tab["href"] == "pixxel/job/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}"
    assert (page["destination"], page["category"]) == ("nav", "browse")
    assert (page["url_route"], page["href"]) == ("pixxel-jobs", "pixxel/jobs")
    # Relative, and so below Airflow's own path.
    for address in (tab["href"], tab["icon"], page["href"], page["icon"]):
        assert address.startswith("pixxel/")
        assert "?" not in address


without_pages = pytest.mark.skipif(HAS_PAGES, reason="this Airflow's UI shows pages of plugins")


@pytest.mark.parametrize("base", [pytest.param(None, marks=without_pages), OfAirflow2, OfAirflow30])
def test_an_airflow_without_external_views_gets_nothing(
    base: type | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = plugin_of(base, monkeypatch)
    assert plugin.name == "pixxel"
    assert not getattr(plugin, "fastapi_apps", [])
    assert not hasattr(plugin, "external_views")


@needs_pages
def test_the_tab_applies_to_what_airflow_knows_of_each_operator_and_of_no_other_task() -> None:
    from airflow.api_fastapi.core_api.datamodels.tasks import TaskResponse

    ((path, values),) = PixxelPlugin.external_views[0]["applies_to"].items()
    record, _, name = path.partition(".")
    assert record == "task"
    assert name in TaskResponse.model_fields
    for operator in (PixxelJobSensor, PixxelRunJobOperator, PixxelGetJobOperator, PixxelDownloadJobOperator):
        assert set(getattr(operator, name)) & set(values), operator
    assert not set(getattr(BaseOperator, name)) & set(values)


@pytest.mark.skipif(
    not hasattr(plugins_manager, "_validate_applies_to"), reason="Airflow knows applies_to from 3.4 on"
)
def test_airflow_finds_nothing_wrong_with_where_the_tab_applies(caplog: pytest.LogCaptureFixture) -> None:
    view = dict(PixxelPlugin.external_views[0])
    assert plugins_manager._validate_applies_to("pixxel", view, "external view")
    assert view == PixxelPlugin.external_views[0]
    assert caplog.messages == []


@needs_pages
def test_airflow_accepts_each_field() -> None:
    from airflow.api_fastapi.core_api.datamodels import plugins as shapes

    (app,) = PixxelPlugin.fastapi_apps
    assert shapes.FastAPIAppResponse.model_validate({**app, "app": str(app["app"])}).url_prefix == "/pixxel"
    for view in PixxelPlugin.external_views:
        answer = shapes.ExternalViewResponse.model_validate(view).model_dump()
        assert {key: answer[key] for key in view} == view


# ---------------------------------------------------------------------------------------- the entry point


def test_the_package_names_its_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["entry-points"]["airflow.plugins"] == {"pixxel": ENTRY}


@pytest.fixture
def _installed() -> None:
    try:
        where = metadata.distribution(NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        pytest.skip(f"{NAME} is not installed, so it has no entry point that Airflow could find")
    if where and json.loads(where).get("url", "").removeprefix("file://") != str(ROOT):
        pytest.skip(f"the {NAME} that is installed is not this one")


@pytest.mark.usefixtures("_installed")
def test_the_entry_point_is_the_plugin() -> None:
    (found,) = [each for each in metadata.entry_points(group="airflow.plugins") if each.name == "pixxel"]

    assert found.value == ENTRY
    assert found.load() is PixxelPlugin


@pytest.mark.usefixtures("_installed")
def test_airflow_finds_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "plugins", "--output", "json"],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = [each for each in json.loads(done.stdout[done.stdout.index("[{") :]) if each["name"] == "pixxel"]
    assert len(found) == 1
    assert ("external_views" in found[0]) == HAS_PAGES
    assert "Failed to import plugin" not in done.stdout + done.stderr


# ---------------------------------------------------------------------------------------------- the import

# Each import in a process of its own without our modules; the CPU's time, without that of other processes.
MEASURE = """
import json, os, sys, time
import airflow.plugins_manager

assert "pixxel_provider.plugins" not in sys.modules
for _ in range(5):
    reader, writer = os.pipe()
    if not os.fork():
        before = set(sys.modules)
        start = time.thread_time()
        import pixxel_provider.plugins.pixxel
        spent = time.thread_time() - start
        new = sorted(set(sys.modules) - before)
        os.write(writer, json.dumps({"spent": spent, "new": new}).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        print("TRY", answer.read())
    os.wait()
"""


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    home = str(tmp_path_factory.mktemp("airflow"))
    printed = run_python(MEASURE, AIRFLOW_HOME=home, PYTHONPATH=str(ROOT))
    return [json.loads(line[4:]) for line in printed.splitlines() if line.startswith("TRY ")]


def test_importing_it_takes_under_twenty_milliseconds(tries: list[dict[str, Any]]) -> None:
    assert len(tries) == 5
    assert min(each["spent"] for each in tries) < 0.020, airflow.__version__


def test_importing_it_imports_no_other_module(tries: list[dict[str, Any]]) -> None:
    for each in tries:
        # Airflow may have read the provider's metadata before.
        assert [name for name in each["new"] if name != "pixxel_provider"] == [
            "pixxel_provider.plugins",
            "pixxel_provider.plugins.pixxel",
        ]


def test_the_app_is_made_at_the_first_request_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, served = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append((scope, receive, send))

    def make_app() -> Any:
        made.append(app)
        return app

    stand_in = ModuleType("pixxel_provider.plugins.app")
    stand_in.make_app = make_app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    lazy = LazyApp()
    assert made == []

    asyncio.run(lazy("scope", "receive", "send"))
    asyncio.run(lazy("another", "receive", "send"))

    assert len(made) == 1
    assert served == [("scope", "receive", "send"), ("another", "receive", "send")]
