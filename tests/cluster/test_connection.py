"""The connection, in a running Airflow: its form, its test, and where it is kept."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from pixxel_provider import __version__
from pixxel_provider.provider_info import CONNECTION_FIELDS
from tests.cluster.conftest import KEY, NO_ACCESS_KEY


def test_the_connection_is_in_the_database_and_its_key_is_not_shown(airflow: Any, pixxel: Any) -> None:
    assert "AIRFLOW_CONN_PIXXEL_DEFAULT" not in airflow.environ
    shown = airflow.get("/api/v2/connections/pixxel_default")
    assert (shown["conn_type"], shown["host"]) == ("pixxel", pixxel.url)
    assert KEY not in str(shown)


@pytest.fixture
def form(airflow: Any) -> dict[str, Any]:
    (found,) = [
        each for each in airflow.get("/ui/connections/hook_meta") if each["connection_type"] == "pixxel"
    ]
    return found


def test_the_form_shows_all_fields_with_their_defaults_and_none_is_required(form: dict[str, Any]) -> None:
    if not form["extra_fields"]:
        pytest.skip("Airflow 3.0 shows no provider's form unless Flask-AppBuilder is installed")
    assert list(form["extra_fields"]) == [field.name for field in CONNECTION_FIELDS]
    for field in CONNECTION_FIELDS:
        shown = form["extra_fields"][field.name]
        assert shown["value"] == field.default or (not field.default and not shown["value"])
        assert "null" in shown["schema"]["type"]
        assert shown["schema"]["title"] == field.label


def test_the_form_asks_for_a_host_and_a_key_and_hides_what_has_no_meaning(form: dict[str, Any]) -> None:
    if not form["standard_fields"]:
        pytest.skip("Airflow 3.0 shows no provider's form unless Flask-AppBuilder is installed")
    standard = form["standard_fields"]
    assert standard["password"]["title"] == "API key"
    assert {name for name, look in standard.items() if look and look["hidden"]} == {
        "login",
        "port",
        "url_schema",
    }


def test_a_connection_saved_as_the_form_shows_it_works(
    airflow: Any, form: dict[str, Any], pixxel: Any, ask: Any
) -> None:
    extra = {name: shown["value"] for name, shown in (form["extra_fields"] or {}).items()}
    assert ask(host=pixxel.url, password=KEY, extra=json.dumps(extra))["status"] is True


@pytest.fixture
def ask(airflow: Any) -> Any:
    def test(**connection: Any) -> dict[str, Any]:
        body = {"connection_id": "tried", "conn_type": "pixxel", **connection}
        return airflow.ask("POST", "/api/v2/connections/test", body)

    return test


def test_a_good_connection_says_that_it_works_and_what_it_sees(ask: Any, pixxel: Any) -> None:
    answer = ask(host=pixxel.url, password=KEY)
    assert answer["status"] is True
    assert "Connected" in answer["message"]
    assert "2 projects" in answer["message"]


def test_a_port_of_zero_as_the_form_sends_it_does_no_harm(ask: Any, pixxel: Any) -> None:
    assert ask(host=pixxel.url, password=KEY, port=0)["status"] is True


def test_a_wrong_key_is_named(ask: Any, pixxel: Any) -> None:
    answer = ask(host=pixxel.url, password="a-key-that-nobody-knows")
    assert answer["status"] is False
    assert "401" in answer["message"]
    assert "a-key-that-nobody-knows" not in answer["message"]


def test_a_key_without_access_is_told_from_a_wrong_one(ask: Any, pixxel: Any) -> None:
    answer = ask(host=pixxel.url, password=NO_ACCESS_KEY)
    assert answer["status"] is False
    assert "403" in answer["message"]


def test_a_host_that_does_not_exist_is_named(ask: Any) -> None:
    answer = ask(host="https://pixxel.invalid", password=KEY)
    assert answer["status"] is False
    assert "pixxel.invalid" in answer["message"]


def test_a_server_that_is_no_pixxel_is_told_so(ask: Any, airflow: Any) -> None:
    answer = ask(host=airflow.url, password=KEY)
    assert answer["status"] is False
    assert "isn't a Pixxel API" in answer["message"]


def test_airflows_own_command_shows_the_provider(airflow: Any) -> None:
    done = subprocess.run(
        ["airflow", "providers", "get", "airflow-provider-pixxel"],
        env=airflow.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert __version__ in done.stdout
