"""What Airflow finds of the pages, and what finding it costs."""

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

from pixxel_provider.plugins import pixxel as plugin_module
from pixxel_provider.plugins.pixxel import LazyApp, PixxelPlugin
from tests.plugins.pages import HAS_A_PLACE, WHY_NOT
from tests.support import run_python

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
NAME = "airflow-provider-pixxel"
ENTRY = "pixxel_provider.plugins.pixxel:PixxelPlugin"
needs_a_place = pytest.mark.skipif(not HAS_A_PLACE, reason=WHY_NOT)
needs_none = pytest.mark.skipif(HAS_A_PLACE, reason="this Airflow's UI has a place for pages of plugins")


def loaded_beside(base: type, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read the plugin's module anew, on an Airflow whose plugins derive from another class."""
    monkeypatch.setattr(plugins_manager, "AirflowPlugin", base)
    spec = importlib.util.spec_from_file_location("pixxel_plugin_read_again", plugin_module.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert issubclass(module.PixxelPlugin, base)
    return module.PixxelPlugin


class OfAirflow2:
    name: str | None = None


class OfAirflow30(OfAirflow2):
    fastapi_apps: list[Any] = []


class OfAirflow31(OfAirflow30):
    external_views: list[Any] = []


# ------------------------------------------------------------------------------------------- what there is


@needs_a_place
def test_the_plugin_offers_an_app_a_tab_and_a_page() -> None:
    assert_offers(PixxelPlugin)


def test_it_offers_them_wherever_there_are_external_views(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_offers(loaded_beside(OfAirflow31, monkeypatch))


def assert_offers(plugin: Any) -> None:
    (app,) = plugin.fastapi_apps
    assert (app["url_prefix"], app["name"]) == ("/pixxel", "Pixxel")
    assert callable(app["app"])
    tab, page = plugin.external_views
    assert tab["destination"] == "task_instance"
    assert tab["url_route"] == "pixxel-job"
    assert tab["href"] == "pixxel/job/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}"
    assert page["destination"] == "nav"
    assert page["category"] == "browse"
    assert (page["url_route"], page["href"]) == ("pixxel-jobs", "pixxel/jobs")
    # Airflow takes a bad view out of this very list.
    assert isinstance(plugin.external_views, list)


@needs_a_place
def test_every_address_stays_below_the_path_that_airflow_has() -> None:
    for view in PixxelPlugin.external_views:
        for address in (view["href"], view["icon"]):
            assert address.startswith("pixxel/")
            assert "?" not in address


@needs_a_place
def test_airflow_accepts_each_field() -> None:
    from airflow.api_fastapi.core_api.datamodels import plugins as shapes

    (app,) = PixxelPlugin.fastapi_apps
    assert shapes.FastAPIAppResponse.model_validate({**app, "app": str(app["app"])}).url_prefix == "/pixxel"
    for view in PixxelPlugin.external_views:
        answer = shapes.ExternalViewResponse.model_validate(view).model_dump()
        assert {key: answer[key] for key in view} == view


@needs_none
def test_this_airflow_is_left_as_it_is() -> None:
    assert_silent(PixxelPlugin)


@pytest.mark.parametrize("base", [OfAirflow2, OfAirflow30])
def test_an_airflow_without_external_views_is_left_as_it_is(
    base: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_silent(loaded_beside(base, monkeypatch))


def assert_silent(plugin: Any) -> None:
    assert plugin.name == "pixxel"
    assert not getattr(plugin, "fastapi_apps", [])
    assert not hasattr(plugin, "external_views")


# ------------------------------------------------------------------------------------------- how it is found


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
def test_the_entry_point_leads_to_the_plugin() -> None:
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
    assert ("external_views" in found[0]) == HAS_A_PLACE
    assert "Failed to import plugin" not in done.stdout + done.stderr


# -------------------------------------------------------------------------------------------- what it costs

# Each try in a process of its own, which has nothing of ours yet; without the time that others take.
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


def test_importing_it_brings_nothing_but_itself(tries: list[dict[str, Any]]) -> None:
    for each in tries:
        # Airflow may have read what the provider says of itself before.
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
