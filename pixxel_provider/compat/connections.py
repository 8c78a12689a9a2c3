"""Connections, the secrets backends behind them, and the storage that they lead to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from pixxel_provider.compat.versions import HAS_TASK_SDK

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

# Airflow's own: its supervisor never says why, and without its database no task is run.
_SILENT = frozenset({"ExecutionAPISecretsBackend", "MetastoreBackend"})


async def get_connection(conn_id: str) -> Connection:
    """Return a connection in an event loop; what it raises is Airflow's, or a secrets backend's."""
    from airflow.providers.common.compat.connection import get_async_connection
    from asgiref.sync import sync_to_async

    with contextlib.suppress(AirflowNotFoundException):
        return await get_async_connection(conn_id)
    # dag.test() of Airflow 3.3 finds a connection of the database only this way. Not in an except block: what
    # Airflow then logs of a secrets backend would have the first error as its context.
    return await sync_to_async(BaseHook.get_connection)(conn_id)


def secrets_backends() -> list[Any]:
    """Return the secrets backends that can say why they don't give a connection."""
    load: Callable[[], list[Any]]
    try:
        from airflow.sdk.execution_time import supervisor

        load = supervisor.ensure_secrets_backend_loaded
    except ImportError:
        from airflow import configuration

        load = configuration.ensure_secrets_loaded
    try:
        return [backend for backend in load() if type(backend).__name__ not in _SILENT]
    except Exception:
        # One that can't even be made. Without them it is only less certain why.
        return []


def file_system(scheme: str, conn_id: str | None) -> Any:
    """Return fsspec's file system for a scheme, as a provider of Airflow makes it of a connection.

    An ObjectStoragePath asks the same, but can't be made with every release of its own library.

    :raises ValueError: no installed provider offers that storage.
    """
    io = import_module("airflow.sdk.io" if HAS_TASK_SDK else "airflow.io.store")
    return io.attach(scheme, conn_id).fs
