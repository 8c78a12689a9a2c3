"""Look up an Airflow connection, or explain why it can't be: not defined, not decodable, or not reachable.

Airflow hides the difference: whatever a backend raises, ``get_connection`` reports that the connection
isn't defined. So the backends are then queried once more, and their exceptions are examined. These exceptions
are never chained or quoted: they may contain the connection's contents.
"""

from __future__ import annotations

import contextlib
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from pixxel_provider.api.errors import PixxelConnectionError, PixxelError, PixxelInputError
from pixxel_provider.compat import connections
from pixxel_provider.connection import Settings, read_connection

#: What is logged where a connection can't be read again.
STALE = "%s The connection as it was read before stays in use."
_UNDECODABLE = (
    "is defined, but can't be decoded: it must be a JSON object with Airflow's own field names, or a URI "
    "whose key is percent-encoded"
)


def look_up(conn_id: str) -> Settings:
    """Return the settings of an Airflow connection.

    :raises PixxelInputError: it isn't defined, can't be decoded, or has a value that can't be used.
    :raises PixxelConnectionError: Airflow or a secrets backend couldn't be reached.
    """
    found, failure = None, ""
    try:
        found = BaseHook.get_connection(conn_id)
    except Exception as error:
        failure = type(error).__name__
    # Outside the except block, so that no error has Airflow's as its context.
    if failure:
        raise _why_not(conn_id, failure)
    return _read(conn_id, found)


async def look_up_async(conn_id: str) -> Settings:
    """Do the same in an event loop; see :func:`look_up`."""
    from asgiref.sync import sync_to_async

    found, failure = None, ""
    try:
        found = await connections.get_connection(conn_id)
    except Exception as error:
        failure = type(error).__name__
    if failure:
        raise await sync_to_async(_why_not)(conn_id, failure)
    return _read(conn_id, found)


def as_transient(error: PixxelError) -> PixxelError:
    """Return an error in the middle of a wait as transient, if it is about the connection.

    It could be read when the wait began. Its secrets backend may be unavailable, or a person is changing it.
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
    for backend in connections.secrets_backends():
        name = type(backend).__name__
        try:
            value = _value(backend, conn_id)
        except Exception as error:
            away = away or f"the secrets backend {name} raised {type(error).__name__}"
            continue
        if not value:
            continue
        if not _is_decodable(backend, conn_id, value):
            return PixxelInputError(f"connection {conn_id!r}", _UNDECODABLE)
        away = f"the secrets backend {name} could not be reached for a moment"
    if not away and failure == AirflowNotFoundException.__name__:
        return PixxelInputError("pixxel_conn_id", f"is {conn_id!r}, and no such connection is defined")
    return PixxelConnectionError(
        f"The Airflow connection {conn_id!r} could not be looked up: {away or failure}.",
        # No backend has failed: Airflow itself was busy.
        reason="definition" if away else "other",
        sent=False,
    )


def _value(backend: Any, conn_id: str) -> Any:
    """Return a backend's value for the connection, as text or as a connection."""
    try:
        return backend.get_conn_value(conn_id)
    except NotImplementedError:
        return backend.get_connection(conn_id)


def _is_decodable(backend: Any, conn_id: str, value: Any) -> bool:
    try:
        found = value if hasattr(value, "get_uri") else backend.deserialize_connection(conn_id, value)
        # Airflow does this with each connection that it finds.
        found.get_uri()
    except Exception:
        return False
    return True
