"""Airflow finds the installed package by itself, and has nothing to say against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pixxel_provider import __version__
from pixxel_provider.provider_info import CONNECTION_FIELDS, ConnectionField

NAME = "airflow-provider-pixxel"

# The form first: Airflow 3.0 and 3.1 need it so, where Flask-AppBuilder isn't installed.
ASK = """
import json
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
try:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
except ImportError:  # Airflow 2
    fields = {
        name.removeprefix("extra__pixxel__"): {"value": info.field.kwargs.get("default")}
        for name, info in manager.connection_form_widgets.items()
        if name.startswith("extra__pixxel__")
    }
    behaviour = manager.field_behaviours["pixxel"]
    standard = {
        name: {"hidden": name in behaviour["hidden_fields"], "title": behaviour["relabeling"].get(name)}
        for name in ("host", "password", "login", "port", "schema")
    }
else:
    (meta,) = [each for each in HookMetaService.hook_meta_data() if each.connection_type == "pixxel"]
    fields = standard = None
    if meta.extra_fields is not None:
        fields, standard = dict(meta.extra_fields), meta.standard_fields.model_dump()
        standard["schema"] = standard.pop("url_schema")

found = manager.providers["airflow-provider-pixxel"]
hook = manager.hooks["pixxel"]
print("FOUND", json.dumps({
    "version": found.version,
    "hook": [hook.hook_class_name, hook.connection_id_attribute_name, hook.hook_name, hook.package_name],
    "testable": hook.connection_testable,
    "fields": fields,
    "standard": standard,
    "links": [name for name in manager.extra_links_class_names if "pixxel" in name],
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    try:
        metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{NAME} is not installed, so it has no entry point that Airflow could find")
    done = subprocess.run(
        [sys.executable, "-W", "error:::pixxel_provider", "-c", ASK],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, _, answer = done.stdout.partition("FOUND")
    first, _, after = answer.strip().partition("\n")
    return {**json.loads(first), "said": before + after + done.stderr}


@pytest.fixture
def form(found: dict[str, Any]) -> dict[str, Any]:
    if found["fields"] is None:
        pytest.skip("Airflow 3.0 shows no provider's form unless Flask-AppBuilder is installed")
    return found


def test_the_provider_is_listed_under_its_version(found: dict[str, Any]) -> None:
    assert found["version"] == __version__


def test_the_connection_type_leads_to_the_hook(found: dict[str, Any]) -> None:
    assert found["hook"] == ["pixxel_provider.hooks.pixxel.PixxelHook", "pixxel_conn_id", "Pixxel", NAME]
    assert found["testable"] is True


def test_the_form_has_each_field_of_the_one_table(form: dict[str, Any]) -> None:
    assert list(form["fields"]) == [field.name for field in CONNECTION_FIELDS]


@pytest.mark.parametrize("field", CONNECTION_FIELDS, ids=lambda field: field.name)
def test_the_form_begins_with_a_value_that_can_be_saved(form: dict[str, Any], field: ConnectionField) -> None:
    # Airflow shows "***" for a default of a field with a name such as "proxy", and saves that.
    shown = form["fields"][field.name]["value"]
    assert shown == field.default or (not field.default and not shown)


@pytest.mark.parametrize("field", CONNECTION_FIELDS, ids=lambda field: field.name)
def test_no_field_of_the_form_is_required(form: dict[str, Any], field: ConnectionField) -> None:
    schema = form["fields"][field.name].get("schema")
    if schema is None:
        pytest.skip("this Airflow has no schema for its form")
    assert "null" in schema["type"]


def test_the_form_asks_for_a_host_and_a_key(form: dict[str, Any]) -> None:
    assert form["standard"]["password"]["title"] == "API key"
    hidden = {name for name, look in form["standard"].items() if look and look["hidden"]}
    assert hidden == {"login", "port", "schema"}


def test_the_extra_link_is_listed(found: dict[str, Any]) -> None:
    assert found["links"] == ["pixxel_provider.links.pixxel.PixxelJobLink"]


def test_airflow_says_nothing_against_it(found: dict[str, Any]) -> None:
    # What 3.0 says of every hook with a form, where Flask-AppBuilder isn't installed.
    usual = "UI widgets will be missing"
    complaints = [
        line for line in found["said"].splitlines() if "pixxel" in line.lower() and usual not in line
    ]
    assert complaints == []


def test_airflows_own_command_shows_it(tmp_path: Path, found: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "providers", "get", NAME],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert NAME in done.stdout
    assert __version__ in done.stdout
