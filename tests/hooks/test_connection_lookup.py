"""A connection that can't be had: is it not defined, not decodable, or is its backend away?"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from pixxel_provider.api import calls
from pixxel_provider.api.errors import PixxelConnectionError, PixxelError, PixxelInputError
from pixxel_provider.compat import connections
from pixxel_provider.hooks.connection_lookup import look_up, look_up_async
from tests.support import CANARY
from tests.vault import Vault


@pytest.fixture(params=["sync", "async"])
def error_of(request: pytest.FixtureRequest) -> Callable[[str], PixxelError]:
    """Look a connection up both ways; return the error, after a look for secrets in it."""

    def look(conn_id: str) -> PixxelError:
        with pytest.raises(PixxelError) as caught:
            look_up(conn_id) if request.param == "sync" else asyncio.run(look_up_async(conn_id))
        error = caught.value
        assert error.__cause__ is None
        assert error.__context__ is None
        shown = "".join(traceback.format_exception(error)) + repr(error) + str(error.fields())
        assert CANARY not in shown
        assert "canary" not in shown
        return error

    return look


KEY = f'"password": "{CANARY}"'
UNDECODABLE: dict[str, Any] = {
    "JSON cut short": '{"conn_type": "pixxel", ' + KEY,
    "JSON with a field misspelt": '{"conn_type": "pixxel", ' + KEY.replace("password", "pasword") + "}",
    "JSON with a key for a field": '{"conn_type": "pixxel", "' + CANARY + '": "password"}',
    "JSON with a port that is none": '{"conn_type": "pixxel", "port": "canary-x", ' + KEY + "}",
    "a URI with a slash in the key": f"pixxel://:canary/{CANARY}@",
    "a URI with a hash in the key": f"pixxel://:canary#{CANARY}@",
    "a URI with half an address": f"pixxel://:{CANARY}@[::1",
    "nothing but blanks": "   ",
}


@pytest.mark.parametrize("value", UNDECODABLE.values(), ids=list(UNDECODABLE))
@pytest.mark.parametrize("where", ["environment", "vault"])
def test_one_that_is_defined_and_not_decodable_is_called_that(
    error_of: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch, where: str, value: Any
) -> None:
    if where == "vault":
        vault.values["broken"] = value
    else:
        monkeypatch.setenv("AIRFLOW_CONN_BROKEN", value)
    error = error_of("broken")
    assert isinstance(error, PixxelInputError)
    assert error.field == "connection 'broken'"
    assert "is defined, but can't be decoded" in str(error)


@pytest.mark.parametrize(
    "value",
    [b'{"conn_type": "pixxel", ' + KEY.encode() + b"}", f"pixxel://:{CANARY}@".encode(), 7, [CANARY]],
    ids=["JSON", "URI", "number", "list"],
)
def test_a_value_that_is_no_text_is_not_decodable(error_of: Any, vault: type[Vault], value: Any) -> None:
    vault.values["broken"] = value
    assert "is defined, but can't be decoded" in str(error_of("broken"))


@pytest.mark.parametrize("name", ["password", "host", "conn_type"])
@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 checks the types of some fields by itself")
def test_a_field_of_another_type_is_refused_in_words(error_of: Any, vault: type[Vault], name: str) -> None:
    fields = {"conn_type": "pixxel", "password": CANARY, "host": "https://api.invalid", name: 7_000_000_000}
    vault.values["broken"] = json.dumps(fields)
    assert "connection 'broken'" in str(error_of("broken"))


def test_a_vault_that_is_away_is_no_connection_that_is_not_defined(error_of: Any, vault: type[Vault]) -> None:
    vault.away = True
    error = error_of("in_vault")
    assert isinstance(error, PixxelConnectionError)
    assert (error.reason, error.sent, error.transient) == ("definition", False, True)
    assert str(error) == (
        "The Airflow connection 'in_vault' could not be looked up: the secrets backend Vault raised "
        "ConnectionError."
    )


def test_a_vault_that_is_back_when_it_is_asked_once_more_is_not_taken_for_undecodable(
    error_of: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = connections.secrets_backends

    def come_back() -> list[Any]:
        vault.away = False
        return backends()

    vault.away = True
    monkeypatch.setattr(connections, "secrets_backends", come_back)
    error = error_of("in_vault")
    assert isinstance(error, PixxelConnectionError)
    assert "Vault could not be reached for a moment" in str(error)


def test_what_airflow_logs_of_a_vault_that_is_away_has_no_other_error_as_its_context(
    error_of: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, contexts = vault.get_conn_value, []

    def watched(*arguments: Any, **names: Any) -> Any:
        try:
            return ask(*arguments, **names)
        except ConnectionError as error:
            contexts.append(error.__context__)
            raise

    monkeypatch.setattr(vault, "get_conn_value", watched)
    vault.away = True
    error_of("in_vault")
    assert len(contexts) >= 2
    assert set(contexts) == {None}


def test_a_backend_that_has_connections_and_no_values_is_told_likewise(
    error_of: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"):
        monkeypatch.setenv(name, "tests.vault.Records")
    assert look_up("in_vault").conn_id == "in_vault"
    vault.away = True
    assert "the secrets backend Records raised ConnectionError" in str(error_of("in_vault"))


def test_a_vault_that_is_away_does_not_matter_where_another_backend_has_it(
    pixxel: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.away = True
    vault.values["pixxel_default"] = "away"
    assert look_up("pixxel_default").base_url == pixxel.url
    assert asyncio.run(look_up_async("pixxel_default")).base_url == pixxel.url


def test_one_that_nobody_has_is_not_defined(error_of: Any, vault: type[Vault]) -> None:
    error = error_of("nowhere")
    assert isinstance(error, PixxelInputError)
    assert str(error) == "pixxel_conn_id is 'nowhere', and no such connection is defined"


def test_a_backend_that_can_not_even_be_made_is_told(error_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"):
        monkeypatch.setenv(name, "tests.no_such_module.Vault")
    assert "'pixxel_default'" in str(error_of("pixxel_default"))


def test_what_is_defined_later_is_found(
    client: Any, vault: type[Vault], monkeypatch: pytest.MonkeyPatch, pixxel: Any
) -> None:
    assert "no such connection" in str(client.error(calls.ping(), conn_id="later"))
    vault.values["later"] = pixxel.connection_json()
    assert client.send(calls.ping(), conn_id="later") == "pong"
