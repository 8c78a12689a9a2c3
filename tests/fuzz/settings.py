"""The Airflow connection: its fields and extras, however they were entered."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import requests
import yarl
from hypothesis import strategies as st

from pixxel_provider.api import calls, urls
from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.connection import Settings
from pixxel_provider.hooks import connection_lookup, protocol
from pixxel_provider.provider_info import CONNECTION_FIELDS
from tests.fuzz.surface import attempt, surface
from tests.fuzz.texts import RUNS, SHORT_RUNS, VALUE
from tests.support import CANARY

NAMES = [field.name for field in CONNECTION_FIELDS]
GOOD: dict[str, Any] = {
    "auth_scheme": st.sampled_from(["Bearer", "none", "Token"]),
    "connect_timeout": st.sampled_from([1, "5", 0.5]),
    "read_timeout": st.sampled_from([1, "5", 3600]),
    "verify": st.sampled_from(["true", "false", True, "/dev/null"]),
    "proxy": st.sampled_from(["proxy.example:3128", "http://user:pass@proxy.example", "***"]),
    "console_url": st.sampled_from(["https://console.example/{job_id}", "https://console.example/"]),
    "allow_http": st.sampled_from([True, "yes", "0"]),
    "private_storage": st.sampled_from(["*.storage.example, 10.0.0.0/8", ".inside", "fd00::/8"]),
}
HOSTS = st.builds(
    lambda start, words, end: start + words + end,
    st.sampled_from(
        ["", "https://", "http://", "//", "https:/", "ftp://", "http://127.0.0.1", "https://[::1]", "::1"]
    ),
    SHORT_RUNS | RUNS | st.sampled_from(["api.example", "bücher.example", "1.2.3.4", "0x7f.1"]),
    st.sampled_from(["", "/", "/path", ":8443", ":99999", "?q", "#f", "@", "/%2e%2e/"]),
)
EXTRAS = st.fixed_dictionaries({}, optional={name: GOOD[name] | GOOD[name] | VALUE for name in NAMES})
EXTRA = st.one_of(
    EXTRAS,
    EXTRAS.map(lambda found: {f"extra__pixxel__{name}": value for name, value in found.items()}),
    EXTRAS.map(json.dumps),
    EXTRAS.map(lambda found: json.dumps(found)[:-1]),
    VALUE,
    st.integers(10, 20_000).map(lambda depth: '{"verify":' * depth + "1" + "}" * depth),
    st.integers(10, 20_000).map(lambda depth: '{"verify":' + "[" * depth + "]" * depth + "}"),
    st.integers(10, 6_000).map(lambda digits: '{"read_timeout":' + "9" * digits + "}"),
)
KEYLESS = VALUE.filter(lambda value: CANARY not in json.dumps(value))
CONNECTIONS = st.fixed_dictionaries(
    {
        "conn_id": st.just("pixxel_default"),
        "conn_type": st.sampled_from(["pixxel"] * 6 + ["http", "", None, "aws", "PIXXEL"]) | VALUE,
        "host": st.sampled_from(["", None, "api.example", "https://api.example/v1"]) | HOSTS | VALUE,
        "password": st.sampled_from([CANARY, CANARY, f"Bearer {CANARY}", f"{CANARY}\n", ""]) | KEYLESS,
        "schema": st.sampled_from([None, "http", "https"]) | VALUE,
        "port": st.sampled_from([None, 0, 443, "8443", 70_000]) | VALUE,
        "extra": EXTRA,
    }
)


@surface("connections", 10, CONNECTIONS)
def connections(case: Any) -> None:
    """A connection is settings that every library can use, or an error that names the field."""
    if CANARY not in str(case["password"]):
        # It is no key there, and may be shown.
        case = json.loads(json.dumps(case).replace(CANARY, "a word"))
    found = attempt(lambda: connection_lookup._read("pixxel_default", SimpleNamespace(**case)))
    if isinstance(found, PixxelInputError):
        assert found.field.startswith("connection 'pixxel_default'")
        assert "Traceback" not in str(found)
        assert len(str(found)) < 1_000, len(str(found))
        return
    assert type(found) is Settings, found
    base = urls.parse(found.base_url)
    assert base.origin == found.origin
    assert found.origin.startswith(("https://", "http://"))
    call = calls.get_job("w", "j")
    headers = protocol.headers(found, call)
    for value in headers.values():
        value.encode("latin-1")
        assert not {"\r", "\n", "\0"} & set(value)
    address = protocol.url(found, call)
    requests.Request("GET", address, headers=headers).prepare()
    assert yarl.URL(address, encoded=True).host
    assert 0 < found.exchange_timeout <= 4 * 3600
    assert type(found.verify) in (bool, str)
    if found.proxy is not None:
        assert urls.parse(found.proxy).port
    urls.parse(found.console_link("a b/ü", "{job_id}"))
    assert CANARY not in repr(found)
    assert CANARY not in found.redact(f"you sent {found.authorization}")
