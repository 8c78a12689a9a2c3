"""An Airflow connection, read once into settings that both clients share.

Everything that could differ between two HTTP libraries (scheme, proxies, CA bundle, time-outs, the key's
header) is decided here, so that it can't.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.provider_info import CONNECTION_FIELDS, CONNECTION_TYPE, DEFAULT_HOST

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
# RFC 9110's auth-scheme: a token. Whoever pastes "Bearer abc" as the key means just that.
_WITH_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9-]*\s+\S")
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
# Besides our own, those that say nothing of whose password it is.
_TYPES = frozenset({CONNECTION_TYPE, "http", "https", "generic", ""})
# What Airflow 3's form shows, and on "Save" stores, for a field whose name looks secret, such as "proxy".
_MASK = "***"
#: Shorter keys than this are not looked for in answers: they would match ordinary words.
_SHORTEST_REDACTED = 12


@dataclass(frozen=True)
class Settings:
    """How to reach a Pixxel API and as whom. No repr of it holds a secret."""

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

    @property
    def origin(self) -> str:
        """Scheme, host and port: where the key may go, and nowhere else."""
        return origin_of(self.base_url)

    @property
    def exchange_timeout(self) -> float:
        """Seconds for a request and its whole answer, however little of it comes at a time."""
        return self.connect_timeout + 3 * self.read_timeout

    def console_link(self, workflow_id: str, job_id: str) -> str:
        """Return the address of a job's page in Pixxel's console, as the connection's template gives it."""
        link = self.console_url
        for name, value in (("workflow_id", workflow_id), ("job_id", job_id)):
            link = link.replace("{" + name + "}", quote(value, safe=""))
        return link

    def redact(self, words: str) -> str:
        """Return the text without the key, for whatever a server echoes."""
        for secret in self.secrets:
            words = words.replace(secret, "***")
        return words

    def redact_bytes(self, body: bytes) -> bytes:
        """Return an answer's body without the key."""
        for secret in self.secrets:
            for form in _as_json_may_have_it(secret):
                body = body.replace(form.encode(), b"***")
        return body


def _as_json_may_have_it(words: str) -> set[str]:
    """Return the ways in which encoders write a text into JSON; some escape more than they must."""
    plain = json.dumps(words)[1:-1]
    numbered = re.sub(r"[&<>+=']", lambda sign: f"\\u{ord(sign[0]):04x}", plain)
    shouted = re.sub(r"\\u[0-9a-f]{4}", lambda code: "\\u" + code[0][2:].upper(), numbered)
    html = re.sub(r"[&<>]", lambda sign: f"\\u{ord(sign[0]):04x}", plain)
    forms = {words, plain, numbered, shouted, html}
    return forms | {form.replace("/", "\\/") for form in forms}


def read_connection(conn: Connection) -> Settings:
    """Read an Airflow connection.

    :raises PixxelInputError: a field can't be used; the message names the connection and the field, never a
        secret.
    """
    try:
        _check_type(conn.conn_type)
        extras = _extras(conn)
        base_url = _base_url(conn, allow_http=extras["allow_http"])
        key = _key(conn.password)
        return Settings(
            conn_id=conn.conn_id or "",
            base_url=base_url,
            authorization=_authorization(key, extras["auth_scheme"]),
            secrets=_secrets(key),
            connect_timeout=extras["connect_timeout"],
            read_timeout=extras["read_timeout"],
            verify=_verify(extras["verify"]),
            proxy=_proxy(extras["proxy"], base_url),
            console_url=_console_url(extras["console_url"]),
        )
    except PixxelInputError as error:
        raise PixxelInputError(f"connection {conn.conn_id!r}: {error.field}", error.problem) from None


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, the port always named."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host name is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_type(conn_type: str | None) -> None:
    # Who mistypes an id, or writes another one into an XCom, must not send that service's password to Pixxel.
    if (conn_type or "").lower() not in _TYPES:
        raise PixxelInputError(
            "conn_type", f"is {conn_type!r}, and {CONNECTION_TYPE!r} is needed: its password isn't Pixxel's"
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
    return value.strip()


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
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
    words = repr(value)
    return words if len(words) < _SHORTEST_REDACTED else f"a value of {len(str(value))} characters"


def _base_url(conn: Connection, *, allow_http: bool) -> str:
    host = (conn.host or "").strip() or DEFAULT_HOST
    if "://" not in host:
        scheme = conn.schema if conn.schema in ("http", "https") else "https"
        host = f"{scheme}://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or conn.port or None
    except ValueError:
        raise PixxelInputError("host", "isn't an address: its port or brackets are wrong") from None
    if parts.scheme not in ("http", "https"):
        raise PixxelInputError("host", f"must begin with https:// (or http://), not {parts.scheme}://")
    if not parts.hostname or any(c.isspace() for c in host):
        raise PixxelInputError("host", "names no host")
    if parts.username is not None or parts.password is not None:
        raise PixxelInputError("host", "holds a user or password; the key belongs into the password field")
    if parts.query or parts.fragment:
        raise PixxelInputError("host", "holds a query or a fragment; it may have a path, no more")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise PixxelInputError(
            "host", "is plain http, which would send the key in the clear; use https, or set allow_http"
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _key(password: str | None) -> str:
    key = (password or "").strip()
    if not key:
        raise PixxelInputError("password", "is empty; it holds the API key")
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
    # With its scheme first, so that an echo of the whole header goes as a whole.
    candidates = (key, key.split(None, 1)[-1])
    return tuple(dict.fromkeys(secret for secret in candidates if len(secret) >= _SHORTEST_REDACTED))


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
    # Not Path.exists: a text that is too long for a path would be an error of that one's own.
    if not os.access(value, os.F_OK):
        shown = repr(value) if value.startswith((os.sep, ".", "~")) else _shown(value)
        raise PixxelInputError(name, f"must be true, false or a path of CA certificates; {shown} isn't there")
    return value


def _proxy(value: str, base_url: str) -> str | None:
    name = "extra 'proxy'"
    if not value:
        parts = urlsplit(base_url)
        if proxy_bypass(parts.netloc):
            return None
        value, name = getproxies().get(parts.scheme, ""), f"{parts.scheme}_proxy of the environment"
        if not value:
            return None
    if "://" not in value:
        value = f"http://{value}"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise PixxelInputError(name, "must be the address of an http or https proxy")
    return value


def _console_url(template: str) -> str:
    if urlsplit(template).scheme not in ("http", "https"):
        raise PixxelInputError("extra 'console_url'", "must begin with https://")
    left = re.sub(r"\{(workflow_id|job_id)\}", "", template)
    if "{" in left or "}" in left:
        raise PixxelInputError(
            "extra 'console_url'", "may hold {workflow_id} and {job_id}, and no other braces"
        )
    return template
