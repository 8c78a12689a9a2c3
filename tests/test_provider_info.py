from __future__ import annotations

import json
import re
from importlib import import_module, metadata
from pathlib import Path

import airflow
import jsonschema
import pytest

from pixxel_provider.provider_info import CONNECTION_FIELDS, FORM_BEHAVIOUR, get_provider_info
from tests.support import run_python

AIRFLOW = Path(airflow.__file__).parent


def test_it_satisfies_the_schema_of_the_installed_airflow() -> None:
    schema = json.loads((AIRFLOW / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_finds_it_by_one_entry_point_of_the_installed_distribution() -> None:
    points = metadata.distribution("airflow-provider-pixxel").entry_points
    (point,) = points.select(group="apache_airflow_provider")
    assert point.load() is get_provider_info


def test_the_package_name_is_the_distributions_canonical_name() -> None:
    name = metadata.metadata("airflow-provider-pixxel")["Name"]
    assert get_provider_info()["package-name"] == re.sub(r"[-_.]+", "-", name).lower()
    assert name == "airflow-provider-pixxel"


def test_every_module_and_class_it_names_exists() -> None:
    info = get_provider_info()
    for kind in ("operators", "sensors", "hooks", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                import_module(module)
    (asset_uri,) = info["asset-uris"]
    functions = [asset_uri[kind] for kind in ("handler", "factory", "to_openlineage_converter")]
    for path in (info["connection-types"][0]["hook-class-name"], *info["extra-links"], *functions):
        module, _, name = path.rpartition(".")
        assert getattr(import_module(module), name)


def test_the_form_shows_each_field_of_the_table_and_requires_none() -> None:
    connection = get_provider_info()["connection-types"][0]
    shown = connection["conn-fields"]
    assert list(shown) == [field.name for field in CONNECTION_FIELDS]
    for field in CONNECTION_FIELDS:
        assert shown[field.name]["schema"]["type"] == [field.kind, "null"]
        # Airflow 3.3 would show and save an empty default as "***" where a field's name looks secret.
        assert shown[field.name]["schema"]["default"] == (
            field.default or (None if field.default == "" else False)
        )
    assert connection["ui-field-behaviour"]["hidden-fields"] == FORM_BEHAVIOUR["hidden_fields"]


def test_the_form_fields_satisfy_airflows_schema_where_it_ships_one() -> None:
    path = AIRFLOW / "provider.yaml.schema.json"
    if not path.exists():
        pytest.skip("this Airflow ships no schema of provider.yaml")
    whole = json.loads(path.read_text())
    section = whole["properties"]["connection-types"]
    if "conn-fields" not in section["items"]["properties"]:
        pytest.skip("this Airflow reads the fields from the hook, not from provider.yaml")
    definitions = whole.get("definitions", {})
    jsonschema.validate(get_provider_info()["connection-types"], {**section, "definitions": definitions})


def test_telling_airflow_imports_nothing_but_the_standard_library() -> None:
    found = run_python(
        "import sys; from pixxel_provider.provider_info import get_provider_info; get_provider_info();"
        "print([m for m in ('airflow', 'requests', 'aiohttp', 'tenacity', 'fastapi') if m in sys.modules])"
    )
    assert found.strip() == "[]"


def test_a_dag_file_that_names_a_sensor_pays_for_no_http_client() -> None:
    found = run_python(
        "import sys; import airflow.providers.common.compat.sdk as sdk; sdk.BaseSensorOperator;"
        "before = set(sys.modules);"
        "import pixxel_provider.sensors.pixxel, pixxel_provider.operators.pixxel;"
        "new = set(sys.modules) - before;"
        "print(sorted(m for m in new if not m.startswith('pixxel_provider')"
        " and m.split('.')[0] in ('requests', 'aiohttp', 'tenacity', 'fastapi', 'urllib3')))"
    )
    assert found.strip().splitlines()[-1] == "[]"
