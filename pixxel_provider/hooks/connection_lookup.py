"""Look an Airflow connection up, or tell why it can't be had: not defined, not decodable, or out of reach.

Airflow hides the difference: whatever a secrets backend raises, ``get_connection`` says that the connection
isn't defined. So the backends are asked once more then, and what they raise is read. Nothing that they raise
is chained or quoted: it may hold the connection's contents.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError, PixxelInputError
from pixxel_provider.connection import Settings, read_connection

_UNDECODABLE = (
    "is defined, but can't be decoded: it must be a JSON object with Airflow's own field names, or a URI "
    "whose key is percent-encoded"
)

# Not asked once more: Airflow's supervisor never says why, and without Airflow's database no task is run.
_SILENT = frozenset({"ExecutionAPISecretsBackend", "MetastoreBackend"})


def look_up(conn_id: str) -> Settings:
    """Return what an Airflow connection says.

    :raises PixxelInputError: it isn't defined, can't be decoded, or holds a value that can't be used.
    :raises PixxelConnectionError: Airflow or a secrets backend couldn't be asked.
    """
    found, failure = None, ""
    try:
        found = BaseHook.get_connection(conn_id)
    except Exception as error:
        failure = type(error).__name__
    # Out here, so that no error has Airflow's as its context.
    if failure:
        raise _why_not(conn_id, failure)
    return _read(conn_id, found)


async def look_up_async(conn_id: str) -> Settings:
    """Do the same in an event loop; see :func:`look_up`."""
    from airflow.providers.common.compat.connection import get_async_connection
    from asgiref.sync import sync_to_async

    found, failure = None, ""
    try:
        try:
            found = await get_async_connection(conn_id)
        except AirflowNotFoundException:
            # dag.test() of Airflow 3.3 finds a connection of the database only this way.
            found = await sync_to_async(BaseHook.get_connection)(conn_id)
    except Exception as error:
        failure = type(error).__name__
    if failure:
        raise await sync_to_async(_why_not)(conn_id, failure)
    return _read(conn_id, found)


def as_transient(error: PixxelError) -> PixxelError:
    """Return an error in the middle of a wait as one that may pass, where it is about the connection.

    It could be read when the wait began. Now its secrets backend may be away, or a person is changing it.
    """
    if isinstance(error, PixxelInputError):
        return PixxelConnectionError(str(error), reason="definition", sent=False)
    return error


def _read(conn_id: str, found: Any) -> Settings:
    with contextlib.suppress(AttributeError, TypeError):
        return read_connection(found)
    # A backend may give fields of any type, such as bytes.
    raise PixxelInputError(f"connection {conn_id!r}", _UNDECODABLE)


def _why_not(conn_id: str, failure: str) -> PixxelError:
    away = ""
    for backend in _backends():
        name = type(backend).__name__
        if name in _SILENT:
            continue
        try:
            value = _value(backend, conn_id)
        except Exception as error:
            away = away or f"the secrets backend {name} raised {type(error).__name__}"
            continue
        if not value:
            continue
        if not _is_decodable(backend, conn_id, value):
            return PixxelInputError(f"connection {conn_id!r}", _UNDECODABLE)
        away = f"the secrets backend {name} was out of reach for a moment"
    if not away and failure == AirflowNotFoundException.__name__:
        return PixxelInputError("pixxel_conn_id", f"is {conn_id!r}, and no such connection is defined")
    return PixxelConnectionError(
        f"The Airflow connection {conn_id!r} could not be looked up: {away or failure}.",
        # Without a backend to blame, Airflow itself was busy.
        reason="definition" if away else "other",
        sent=False,
    )


def _value(backend: Any, conn_id: str) -> Any:
    """Return what a backend holds for the connection, as a text or as a connection."""
    try:
        return backend.get_conn_value(conn_id)
    except NotImplementedError:
        return backend.get_connection(conn_id)


def _is_decodable(backend: Any, conn_id: str, value: Any) -> bool:
    try:
        found = value if hasattr(value, "get_uri") else backend.deserialize_connection(conn_id, value)
        # Airflow does that with each connection that it finds.
        found.get_uri()
    except Exception:
        return False
    return True


def _backends() -> list[Any]:
    load: Callable[[], list[Any]]
    try:
        from airflow.sdk.execution_time import supervisor

        load = supervisor.ensure_secrets_backend_loaded
    except ImportError:
        from airflow import configuration

        load = configuration.ensure_secrets_loaded
    try:
        return load()
    except Exception:
        # One that can't even be made. Without them it is only less certain why.
        return []
