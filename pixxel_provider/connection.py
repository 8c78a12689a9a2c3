"""An Airflow connection, read once into settings that both clients share.

Everything that could differ between two HTTP libraries (scheme, proxies, CA bundle, timeouts, the key's
header) is decided here once.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import getproxies

from pixxel_provider.allowed_hosts import AllowedHosts, read_allowed_hosts
from pixxel_provider.api import redaction, urls
from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.api.parsing import shown
from pixxel_provider.provider_info import CONNECTION_FIELDS, CONNECTION_TYPE, DEFAULT_HOST

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
# RFC 9110's auth-scheme: a token. A key that was pasted as "Bearer abc" already has one.
_WITH_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9-]*\s+\S")
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
# Besides our own, the types that don't name another service.
_TYPES = frozenset({CONNECTION_TYPE, "http", "https", "generic", ""})
# With one slash as well: https:/host is a typing error, not a host whose name is https.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_BARE_IPV6 = re.compile(r"^([^:/]+://)([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[^/\[\]@]*)(?=/|$)")
# What Airflow 3's form shows, and on "Save" stores, for a field whose name looks secret, such as "proxy".
_MASK = "***"
#: Shorter keys than this aren't redacted in answers: they would match ordinary words.
_SHORTEST_REDACTED = 12
# Of servers, few accept longer headers; and the search for a key takes longer to prepare than to do.
_LONGEST_KEY = 4_096


@dataclass(frozen=True)
class Settings:
    """The address of a Pixxel API and the credentials for it. No repr of it holds a secret."""

    conn_id: str
    base_url: str
    """Scheme, host, port and an optional path, without a slash at the end."""
    authorization: str = field(repr=False)
    """Value of the Authorization header."""
    secrets: tuple[str, ...] = field(repr=False)
    connect_timeout: float
    """Seconds."""
    read_timeout: float
    """Seconds."""
    verify: bool | str
    """Whether to verify TLS, or the path of the CA certificates to trust."""
    proxy: str | None = field(repr=False)
    """Address of the proxy; may hold its password."""
    console_url: str
    conn_type: str = CONNECTION_TYPE
    private_storage: AllowedHosts = field(default_factory=AllowedHosts)
    """Storage hosts from which packages may be downloaded although their addresses are private."""

    @cached_property
    def origin(self) -> str:
        """Scheme, host and port: the only place where the key may be sent."""
        return urls.parse(self.base_url).origin

    @property
    def exchange_timeout(self) -> float:
        """Seconds for a request and its whole answer, however slowly it arrives."""
        return self.connect_timeout + 3 * self.read_timeout

    def console_link(self, workflow_id: str, job_id: str) -> str:
        """Return the address of a job's page in Pixxel's console, from the connection's template."""
        link = self.console_url
        for name, value in (("workflow_id", workflow_id), ("job_id", job_id)):
            link = link.replace("{" + name + "}", quote(value, safe=""))
        return link

    def redact(self, words: str) -> str:
        """Return the text without the key, which a server may repeat."""
        return redaction.redact(words, self.secrets)

    def redact_bytes(self, body: bytes) -> bytes:
        """Return the body of a JSON answer without the key."""
        return redaction.redact_json(body, self.secrets)


def read_connection(conn: Connection) -> Settings:
    """Read an Airflow connection.

    :raises PixxelInputError: a field can't be used; the message names the connection and the field, never a
        secret.
    """
    try:
        for name in ("conn_type", "host", "schema", "password"):
            if not isinstance(value := getattr(conn, name), str | None):
                raise PixxelInputError(name, f"must be text, not {type(value).__name__}")
        _check_type(conn.conn_type)
        extras = _extras(conn)
        base_url = _base_url(conn, allow_http=extras["allow_http"])
        key = _key(conn.password)
        for name, text in (("host", conn.host or ""), ("extra 'console_url'", extras["console_url"])):
            # Both are shown, and a host is looked up by its name.
            if any(each in text for each in _secrets(key)):
                raise PixxelInputError(name, "holds the key, which belongs into the password field alone")
        return Settings(
            conn_id=conn.conn_id or "",
            conn_type=(conn.conn_type or "").lower(),
            base_url=base_url,
            authorization=_authorization(key, extras["auth_scheme"]),
            secrets=_secrets(key),
            connect_timeout=extras["connect_timeout"],
            read_timeout=extras["read_timeout"],
            verify=_verify(extras["verify"]),
            proxy=_proxy(extras["proxy"], base_url),
            console_url=_console_url(extras["console_url"]),
            private_storage=read_allowed_hosts("extra 'private_storage'", extras["private_storage"]),
        )
    except PixxelInputError as error:
        # A key may have been entered into another field, too.
        problem = redaction.redact(error.problem, _secrets(str(conn.password or "").strip()))
        raise PixxelInputError(f"connection {conn.conn_id!r}: {error.field}", problem) from None


def is_loopback(host: str) -> bool:
    """Return whether a host name is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a host, None if it names none.

    :raises PixxelInputError: it isn't one that can be used.
    """
    return _proxy("", url)


def _check_type(conn_type: str | None) -> None:
    # A mistyped id, or another one in an XCom, must not send that service's password to Pixxel.
    if (conn_type or "").lower() not in _TYPES:
        raise PixxelInputError(
            "conn_type",
            f"is {shown(conn_type)}, and {CONNECTION_TYPE!r} is needed: its password isn't Pixxel's",
        )


def _extras(conn: Connection) -> dict[str, Any]:
    # Not extra_dejson: inside an event loop of Airflow 3 it calls the supervisor, which raises there.
    try:
        # Airflow 3.2 leaves the extras of a URI as they are parsed.
        given = json.loads(conn.extra) if isinstance(conn.extra, str) and conn.extra else conn.extra or {}
    except (TypeError, ValueError, RecursionError):
        given = None
    if not isinstance(given, Mapping):
        raise PixxelInputError("extra", "isn't a JSON object")
    readers = {"string": _text, "integer": _seconds, "boolean": _boolean}
    found: dict[str, Any] = {}
    for spec in CONNECTION_FIELDS:
        # Airflow before 2.3 stored form fields under this longer name.
        value = given.get(spec.name, given.get(f"extra__{CONNECTION_TYPE}__{spec.name}"))
        if value is None or (isinstance(value, str) and not value.strip()):
            value = spec.default
        if value == _MASK:
            raise PixxelInputError(
                f"extra {spec.name!r}",
                f"is {_MASK!r}: Airflow's form has saved its mask; enter the value again",
            )
        found[spec.name] = readers[spec.kind](f"extra {spec.name!r}", value)
    return found


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise PixxelInputError(name, f"must be text, not {type(value).__name__}")
    if not value.isprintable():
        # NUL among them, which would raise other exceptions wherever a path or an address is used.
        raise PixxelInputError(name, "holds a line break or another control character")
    return value.strip()


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds <= 3600:
        shown = _shown(value)
        raise PixxelInputError(name, f"must be a number of seconds above 0, at most 3600, not {shown}")
    return seconds


def _boolean(name: str, value: Any) -> bool:
    word = str(value).strip().lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise PixxelInputError(name, f"must be true or false, not {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a value for a message, unless it is so long that it may be the key in the wrong field."""
    words = shown(value)
    return words if len(words) < _SHORTEST_REDACTED else "a longer value"


def _base_url(conn: Connection, *, allow_http: bool) -> str:
    host = (conn.host or "").strip()
    if not host:
        if (conn.conn_type or "").lower() != CONNECTION_TYPE:
            # Another service's password would otherwise be sent to Pixxel.
            raise PixxelInputError(
                "host", f"is empty, and only connections of type {CONNECTION_TYPE!r} have a default"
            )
        host = DEFAULT_HOST
    if not _SCHEME.match(host):
        scheme = conn.schema if conn.schema in ("http", "https") else "https"
        host = f"{scheme}://{host}"
    # Airflow removes the brackets of an IPv6 address from a URI.
    host = _BARE_IPV6.sub(r"\1[\2]", host)
    found = _url("host", host)
    if found.userinfo is not None:
        raise PixxelInputError("host", "holds a user or password; the key belongs into the password field")
    if found.query is not None or "#" in host:
        raise PixxelInputError("host", "holds a query or a fragment; it may have a path, no more")
    if not found.path.isascii():
        raise PixxelInputError("host", "has a path with characters that must be escaped")
    if found.scheme == "http" and not allow_http and not is_loopback(found.host):
        raise PixxelInputError(
            "host", "is plain http, which would send the key in the clear; use https, or set allow_http"
        )
    authority = found.authority
    if port := _port(conn.port):
        # The address's own port takes precedence over the field.
        named = re.match(r"[^:]+://(?:\[[^\]]*\]|[^/:\[]*):\d", host)
        authority = authority if named else replace(found, port=port).authority
    return f"{found.scheme}://{authority}{found.path.rstrip('/')}"


def _port(value: Any) -> int | None:
    # Airflow's form sends 0 for none.
    if value in (None, "", 0, "0"):
        return None
    try:
        return urls.read_port(str(value))
    except ValueError:
        raise PixxelInputError("port", f"must be a number from 1 to 65535, not {_shown(value)}") from None


def _url(name: str, text: str) -> urls.Url:
    try:
        return urls.parse(text)
    except ValueError as error:
        raise PixxelInputError(name, str(error)) from None


def _key(password: str | None) -> str:
    key = (password or "").strip()
    if not key:
        raise PixxelInputError("password", "is empty; it holds the API key")
    if len(key) > _LONGEST_KEY:
        raise PixxelInputError("password", f"has {len(key)} characters; no API key is that long")
    if not key.isascii() or not key.isprintable():
        raise PixxelInputError("password", "holds characters that can't stand in a header")
    return key


def _authorization(key: str, scheme: str) -> str:
    if _WITH_SCHEME.match(key) or scheme.lower() == "none":
        return key
    if not _TOKEN.match(scheme):
        raise PixxelInputError("extra 'auth_scheme'", "must be one word, such as Bearer, or none")
    return f"{scheme} {key}"


def _secrets(key: str) -> tuple[str, ...]:
    # With its scheme first, so that a repeated header is redacted as a whole.
    candidates = (key, *key.split(None, 1)[-1:])
    return tuple(
        dict.fromkeys(each for each in candidates if _SHORTEST_REDACTED <= len(each) <= _LONGEST_KEY)
    )


def _verify(value: str) -> bool | str:
    word = value.lower()
    if word in _FALSE:
        return False
    from_environment = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if word in _TRUE:
        if not from_environment:
            return True
        value, name = from_environment, "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE of the environment"
    else:
        name = "extra 'verify'"
    # Not Path.exists: a text that is too long for a path would raise another exception.
    if not os.access(value, os.F_OK):
        path = shown(value) if value.startswith((os.sep, ".", "~")) else _shown(value)
        raise PixxelInputError(name, f"must be true, false or a path of CA certificates; {path} isn't there")
    return value


def _proxy(value: str, base_url: str) -> str | None:
    name = "extra 'proxy'"
    if not value:
        value = _environment_proxy(base_url)
        if not value:
            return None
        name = "the proxy that the environment names"
    if not _SCHEME.match(value):
        value = f"http://{value}"
    try:
        found = urls.parse(value)
    except ValueError as error:
        raise PixxelInputError(
            name, f"must be the address of an http or https proxy; this one {error}"
        ) from None
    user = "" if found.userinfo is None else f"{found.userinfo}@"
    # From its parts, with the port: two libraries parse one address, with different default ports.
    return f"{found.scheme}://{user}{found.origin.removeprefix(f'{found.scheme}://')}"


def _environment_proxy(base_url: str) -> str:
    if getproxies().keys() <= {"no"}:
        # The usual case, without importing requests.
        return ""
    from requests.utils import get_environ_proxies, select_proxy

    # So that variables, exceptions and their ranges mean the same as in requests, in both clients.
    return select_proxy(base_url, get_environ_proxies(base_url)) or ""


def _console_url(template: str) -> str:
    name = "extra 'console_url'"
    filled = re.sub(r"\{(workflow_id|job_id)\}", "id", template)
    if "{" in filled or "}" in filled:
        raise PixxelInputError(name, "may hold {workflow_id} and {job_id}, and no other braces")
    if _url(name, filled).userinfo is not None:
        raise PixxelInputError(name, "holds a user or password, which the link would show")
    return template
