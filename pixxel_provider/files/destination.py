"""Where a package is to lie, read from what a DAG says."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.files.local import LocalPlace
from pixxel_provider.files.store import StoredPlace

Place = LocalPlace | StoredPlace

_LOCAL = frozenset({"", "file", "local"})
_PROVIDERS = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "s3a": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
    "adl": "apache-airflow-providers-microsoft-azure",
}


def read_destination(given: Any, conn_id: str | None = None, *, folder: bool = False) -> Place:
    """Return the place that a path, a URL or an ``ObjectStoragePath`` names.

    :param conn_id: the Airflow connection of the storage.
    :param folder: whether it is to be a folder.
    :raises PixxelInputError: it can't be used, or no installed provider offers that storage.
    """
    text = _text(given)
    if not text.strip() or any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise PixxelInputError("destination", "is empty, or holds a line break or what isn't a character")
    if text.endswith("/") and not folder:
        raise PixxelInputError(
            "destination", f"is {text!r}, which names a folder: give the file's name too, or set unpack"
        )
    scheme, host, user = _taken_apart(text)
    if scheme in _LOCAL:
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        path = LocalFileSystem._strip_protocol(scheme + text[len(scheme) :]) if scheme else text
        return LocalPlace(Path(path).absolute())
    address = urlsplit(text)._replace(netloc=host).geturl()
    fs = _file_system(scheme, conn_id or getattr(given, "conn_id", None) or user)
    return StoredPlace(fs, fs._strip_protocol(address), address)


def _text(given: Any) -> str:
    if hasattr(given, "protocol") and hasattr(given, "path"):
        # An ObjectStoragePath, which doesn't always write itself as a URL.
        local = given.protocol in _LOCAL
        return str(given.path) if local else f"{given.protocol}://{str(given.path).lstrip('/')}"
    if not isinstance(given, (str, os.PathLike)):
        raise PixxelInputError("destination", f"must be a path or a URL, not {type(given).__name__}")
    return str(given)


def _taken_apart(text: str) -> tuple[str, str, str | None]:
    """Return scheme, host, and the connection's id, which Airflow lets people write as a user before it."""
    if "://" not in text:
        return "", "", None
    try:
        parts = urlsplit(text)
    except ValueError:
        raise PixxelInputError("destination", "isn't a path or a URL: its brackets are wrong") from None
    user, _, host = parts.netloc.rpartition("@")
    if ":" in user:
        raise PixxelInputError("destination", "holds a password: put it into a connection (storage_conn_id)")
    return parts.scheme, host, user or None


def _file_system(scheme: str, conn_id: str | None) -> Any:
    # What an ObjectStoragePath asks, which for its part can't be made with every release of its own library.
    attach = import_module("airflow.sdk.io" if AIRFLOW_V_3_0_PLUS else "airflow.io.store").attach
    trouble: Exception
    try:
        return attach(scheme, conn_id).fs
    except AirflowNotFoundException:
        problem = f"is {conn_id!r}, and no such connection is defined"
        raise PixxelInputError("storage_conn_id", problem) from None
    except (ImportError, ValueError) as error:
        trouble = error
    if conn_id is None:
        # Airflow has no provider for it, and fsspec may know it all the same.
        import fsspec  # type: ignore[import-untyped]

        try:
            return fsspec.filesystem(scheme)
        except (ImportError, ValueError) as error:
            trouble = error
    hint = f"; install {_PROVIDERS[scheme]}" if scheme in _PROVIDERS else ""
    raise PixxelInputError(
        "destination",
        f"begins with {scheme}://, and no installed provider offers that storage{hint} ({trouble})",
    )
