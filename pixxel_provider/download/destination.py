"""The destination of a package, read from the operator's argument."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.compat.connections import file_system
from pixxel_provider.download.local_disk import LocalTarget
from pixxel_provider.download.object_store import StoreTarget, account_name

Place = LocalTarget | StoreTarget

_LOCAL = frozenset({"", "file", "local"})
_AMAZON = "apache-airflow-providers-amazon[s3fs]"
_GOOGLE = "apache-airflow-providers-google"
_MICROSOFT = "apache-airflow-providers-microsoft-azure"
# Object stores: after the scheme comes a bucket or container, then the object's key.
_PROVIDERS = {
    **dict.fromkeys(("s3", "s3a", "s3n"), _AMAZON),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("abfs", "abfss", "adl", "az", "wasb", "wasbs"), _MICROSOFT),
}
# The most bytes of a key, in each of them.
_LONGEST_KEY = 1024
# Other names of storages that no provider registers.
_ALIASES = dict.fromkeys(("az", "wasb", "wasbs"), "abfs")
_SCHEME = re.compile(r"([A-Za-z][\w+.-]*):(.*)", re.DOTALL)


def read_destination(given: Any, conn_id: str | None = None, *, folder: bool = False) -> Place:
    """Return the place that a path, a URL or an ``ObjectStoragePath`` names.

    :param conn_id: the Airflow connection of the storage.
    :param folder: whether it has to be a folder.
    :raises PixxelInputError: it can't be used, or no installed provider offers that storage.
    """
    text = _decoded(_text(given))
    if not text.strip() or any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise _unusable("is empty, or holds a line break or an invalid character")
    if text != text.strip():
        raise _unusable("begins or ends with a space")
    if not isinstance(given, str) and ("{{" in text or "{%" in text):
        kind = type(given).__name__
        raise _unusable(f"holds a template, which isn't rendered in a {kind}: give it as text")
    scheme, rest = _taken_apart(text)
    if not folder and rest.rpartition("/")[2] in ("", ".", ".."):
        raise _unusable(f"is {text!r}, which names a folder: give the file's name too, or set unpack")
    if scheme in _LOCAL:
        return LocalTarget(_local_path(scheme, rest))
    return _stored(scheme, rest[2:], conn_id or getattr(given, "conn_id", None), folder=folder)


def _unusable(problem: str) -> PixxelInputError:
    return PixxelInputError("destination", problem)


def _text(given: Any) -> str:
    if hasattr(given, "protocol") and hasattr(given, "path"):
        # An ObjectStoragePath, whose text isn't always a URL.
        local = given.protocol in _LOCAL
        return str(given.path) if local else f"{given.protocol}://{str(given.path).lstrip('/')}"
    if not isinstance(given, (str, os.PathLike)):
        raise _unusable(f"must be a path or a URL, not {type(given).__name__}")
    return os.fsdecode(given)


def _decoded(text: str) -> str:
    """Return a file's URL without escapes; in those of stores, they are part of the key."""
    match = _SCHEME.match(text)
    if match is None or match[1].lower() not in _LOCAL:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _unusable("has escapes (%) that aren't UTF-8") from None


def _taken_apart(text: str) -> tuple[str, str]:
    """Return the scheme, which a path doesn't have, and the text after its colon."""
    match = _SCHEME.match(text)
    if match is None:
        return "", text
    scheme, rest = match[1].lower(), match[2]
    if rest.startswith("//") and scheme in ("http", "https"):
        raise _unusable("is a web address, and those can't be written to")
    if rest.startswith("//") or scheme in _LOCAL:
        authority = rest.removeprefix("//").partition("/")[0]
        if ("[" in authority) != ("]" in authority):
            raise _unusable("isn't a path or a URL: its brackets are wrong")
        if ":" in authority.rpartition("@")[0]:
            raise _unusable("holds a password: put it into a connection (storage_conn_id)")
        return scheme, rest
    if rest.startswith(":") and "://" in rest:
        raise _unusable("names several file systems, one in the other (::)")
    if scheme in _PROVIDERS or (rest.startswith("/") and _is_known(scheme)):
        raise _unusable(
            f"begins with {scheme}: and not with {scheme}://; a pathlib.Path makes one slash of two, "
            "so give the address as text",
        )
    if len(scheme) == 1 and rest[:1] in ("/", "\\"):
        raise _unusable(f"begins with {match[1]}:, as paths of Windows do")
    return "", text


def _is_known(scheme: str) -> bool:
    from fsspec import available_protocols  # type: ignore[import-untyped]

    return scheme in available_protocols()


def _local_path(scheme: str, rest: str) -> Path:
    path = rest
    if scheme and rest.startswith("//"):
        host, _, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost") and not host.startswith("~"):
            raise _unusable(
                f"names the machine {host!r}, and only this one's files can be written: "
                f"a path follows {scheme}://",
            )
        path = rest[2:] if host.startswith("~") else f"/{path}"
    if scheme and path.startswith("/~"):
        raise _unusable(f"has a ~ after a slash: {scheme}://~/ is the home folder")
    if scheme and not path.startswith(("/", "~")):
        raise _unusable(f"has no path from / on after {scheme}:")
    if path.startswith("~"):
        try:
            return Path(path).expanduser().absolute()
        except RuntimeError:
            problem = "begins with ~, and this machine knows no such home folder: give a path from / on"
            raise _unusable(problem) from None
    # Two slashes at the beginning stay two in a Path.
    return Path(re.sub("^/+", "/", path)).absolute()


def _stored(scheme: str, rest: str, conn_id: str | None, *, folder: bool) -> StoreTarget:
    authority, slash, key = rest.partition("/")
    # In Airflow, the connection's id may be written as a user, before the bucket.
    user, _, host = authority.rpartition("@")
    shown, account = host, ""
    if _PROVIDERS.get(scheme) == _MICROSOFT and "." in host:
        # The long form, container@account.dfs.core.windows.net: no container's name has a full stop.
        account = host.partition(".")[0]
        user, _, container = user.rpartition("@")
        shown, host = f"{container}@{host}", container
    if scheme in _PROVIDERS and not (host and (folder or key)):
        raise _unusable(f"has to name a bucket or container after {scheme}://, and a key in it")
    if scheme in _PROVIDERS and len(key.encode()) > _LONGEST_KEY:
        raise _unusable(f"has a key of more than {_LONGEST_KEY} bytes")
    if any(step in (".", "..") for step in key.split("/")):
        raise _unusable("has a step . or .., which stores take for names, or not at all")
    address = f"{scheme}://{shown}{slash}{key}"
    fs = _file_system(scheme, conn_id or user or None, address)
    reached = account_name(fs)
    if account and reached and reached != account:
        raise _unusable(f"names the account {account!r}, and the connection leads to {reached!r}")
    plain = f"{host}{slash}{key}"
    path = fs._strip_protocol(plain if scheme in _PROVIDERS else f"{scheme}://{plain}")  # noqa: SLF001
    if not path.rstrip("/").endswith(key.rstrip("/")):
        raise _unusable(f"is read as {path!r} by the storage's library: choose another name")
    return StoreTarget(fs, path, address)


def _file_system(scheme: str, conn_id: str | None, address: str) -> Any:
    problem: Exception
    try:
        return file_system(_ALIASES.get(scheme, scheme), conn_id)
    except AirflowNotFoundException:
        words = f"is {conn_id!r}, and no such connection is defined"
        raise PixxelInputError("storage_conn_id", words) from None
    except (ImportError, ValueError) as error:
        problem = error
    if conn_id is None:
        # Airflow has no provider for it, but fsspec may know it.
        from fsspec import get_filesystem_class

        try:
            kind = get_filesystem_class(_ALIASES.get(scheme, scheme))
            # Some need the host, or the account, that only the address has.
            return kind(**kind._get_kwargs_from_urls(address))  # noqa: SLF001
        except (ImportError, ValueError) as error:
            problem = error
        except Exception as error:
            # Each library has its own exceptions, and some connect at once.
            words = (
                f"begins with {scheme}://, and that storage can't be opened ({type(error).__name__}: {error})"
            )
            raise _unusable(words) from error
    hint = f"; install {_PROVIDERS[scheme]}" if scheme in _PROVIDERS else ""
    raise _unusable(
        f"begins with {scheme}://, and no installed provider offers that storage{hint} ({problem})",
    )
