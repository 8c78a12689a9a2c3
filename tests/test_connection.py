from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection
from requests.utils import get_environ_proxies, select_proxy

from pixxel_provider.allowed_hosts import AllowedHosts
from pixxel_provider.api import calls
from pixxel_provider.api.errors import PixxelInputError
from pixxel_provider.connection import Settings, read_connection
from pixxel_provider.hooks.pixxel import PixxelHook
from pixxel_provider.simulator import serve
from tests.hooks.clients import CLIENTS
from tests.support import CANARY

KEY = "a-key-of-some-length"


def read(extra: Any = None, **fields: Any) -> Settings:
    stored = extra if isinstance(extra, str) else json.dumps(extra or {})
    fields = {"conn_type": "pixxel", "password": KEY, "host": None, **fields}
    return read_connection(Connection(conn_id="pixxel_default", extra=stored, **fields))


def problem(extra: Any = None, **fields: Any) -> str:
    with pytest.raises(PixxelInputError) as caught:
        read(extra, **fields)
    words = str(caught.value)
    assert words.startswith("connection 'pixxel_default': ")
    assert KEY not in words
    return words.removeprefix("connection 'pixxel_default': ")


def as_stored(**changes: Any) -> Any:
    """Return what an Airflow connection has, where Airflow itself would not take such values."""
    usual = dict.fromkeys(("host", "port", "schema", "extra"))
    return SimpleNamespace(
        **{**usual, "conn_id": "pixxel_default", "conn_type": "pixxel", "password": KEY, **changes}
    )


@pytest.mark.parametrize("conn_type", ["aws", "postgres", "wasb", "google_cloud_platform"])
def test_another_services_password_is_never_sent_to_pixxel(conn_type: str) -> None:
    words = problem(conn_type=conn_type)
    assert f"conn_type is {conn_type!r}, and 'pixxel' is needed" in words
    assert "isn't Pixxel's" in words


@pytest.mark.parametrize("conn_type", ["pixxel", "Pixxel", "http", "https", "generic", ""])
def test_a_connection_that_says_nothing_of_another_service_is_taken(conn_type: str) -> None:
    assert read(conn_type=conn_type, host="api.example.com").base_url == "https://api.example.com"


@pytest.mark.parametrize("conn_type", ["http", "https", "generic", ""])
def test_only_a_connection_of_its_own_type_has_a_default_host(conn_type: str) -> None:
    assert problem(conn_type=conn_type) == (
        "host is empty, and only connections of type 'pixxel' have a default"
    )


def test_a_key_is_all_that_a_connection_needs() -> None:
    settings = read()
    assert settings.base_url == "https://api.pixxel.space"
    assert settings.authorization == f"Bearer {KEY}"
    assert (settings.connect_timeout, settings.read_timeout) == (10, 60)
    assert settings.verify is True
    assert settings.proxy is None
    assert settings.console_link("w", "j") == "https://aurora.pixxel.space/"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"host": ""}, "https://api.pixxel.space"),
        ({"host": "  "}, "https://api.pixxel.space"),
        ({"host": "api.example.com"}, "https://api.example.com"),
        ({"host": "https://api.example.com/"}, "https://api.example.com"),
        ({"host": "https://api.example.com:8443"}, "https://api.example.com:8443"),
        ({"host": "api.example.com", "port": 8443}, "https://api.example.com:8443"),
        ({"host": "api.example.com", "port": 0}, "https://api.example.com"),
        ({"host": "api.example.com:9", "port": 8443}, "https://api.example.com:9"),
        ({"host": "https://gateway.example.com/pixxel/"}, "https://gateway.example.com/pixxel"),
        ({"host": "gateway.example.com/pixxel"}, "https://gateway.example.com/pixxel"),
        ({"host": "http://127.0.0.1:8000"}, "http://127.0.0.1:8000"),
        ({"host": "http://localhost:8000"}, "http://localhost:8000"),
        ({"host": "http://[::1]:8000"}, "http://[::1]:8000"),
        ({"host": "localhost", "port": 8000, "schema": "http"}, "http://localhost:8000"),
        ({"host": "API.example.com"}, "https://api.example.com"),
        # An IPv6 address has brackets from then on.
        ({"host": "::1"}, "https://[::1]"),
        ({"host": "[::1]"}, "https://[::1]"),
        ({"host": "2001:DB8::0001", "port": 8443}, "https://[2001:db8::1]:8443"),
        ({"host": "https://2001:db8::1/pixxel"}, "https://[2001:db8::1]/pixxel"),
        ({"host": "http://[::1]:8080/v0x"}, "http://[::1]:8080/v0x"),
        ({"host": "[::1]:8080", "port": 9}, "https://[::1]:8080"),
        ({"host": "http://[::1]/v0x", "port": 8080}, "http://[::1]:8080/v0x"),
        ({"host": "[0:0::1]", "port": 8080}, "https://[::1]:8080"),
        ({"host": "2001:0db8::1", "port": 8080}, "https://[2001:db8::1]:8080"),
    ],
)
def test_the_host_may_have_a_scheme_a_port_and_a_path(fields: dict[str, Any], expected: str) -> None:
    assert read(**fields).base_url == expected


@pytest.mark.parametrize(
    ("expected", "hosts"),
    [
        ("must begin with https://", ["ftp://api.example.com"]),
        ("names no host", ["https://"]),
        ("isn't an address such as https://host/path", ["https:/api.example.com", "HTTP:/localhost:8080"]),
        ("holds white space, a backslash", ["https://a b", "http://evil.example\\@api.example.com"]),
        ("names a host whose brackets or port can't be read", ["https://a:port", "https://[half", "::1]"]),
        ("names a port that isn't a number from 1 to 65535", ["https://api.example.com:0"]),
        ("names a host whose IPv6 address can't be read", ["https://[::g]"]),
        ("names an IPv6 address with a zone, which isn't supported", ["fe80::1%eth0"]),
        ("names a host that no name service knows", ["a..example.com", "xn--\u00fc"]),
        ("names a host that is neither a name nor an IPv4 address", ["127.1"]),
        ("holds a user or password", ["https://user:secret@api.example.com"]),
        ("holds a query or a fragment", ["https://api.example.com?key=1", "https://api.example.com#top"]),
        ("is plain http", ["http://api.example.com", "http://10.0.0.1", "http://localhost.example.com"]),
    ],
)
def test_a_host_that_can_not_be_used_is_refused_in_words(expected: str, hosts: list[str]) -> None:
    for host in hosts:
        words = problem(host=host)
        assert words.startswith(f"host {expected}")
        assert "secret" not in words


def test_plain_http_can_be_allowed() -> None:
    assert read({"allow_http": "true"}, host="http://api.example.com").base_url == "http://api.example.com"


@pytest.mark.parametrize(
    ("key", "scheme", "expected"),
    [
        (KEY, None, f"Bearer {KEY}"),
        (KEY, "", f"Bearer {KEY}"),
        (KEY, "none", KEY),
        (KEY, "None", KEY),
        (KEY, "Token", f"Token {KEY}"),
        (f"Bearer {KEY}", None, f"Bearer {KEY}"),
        (f"bearer {KEY}", "Token", f"bearer {KEY}"),
        (f"Api-Key {KEY}", None, f"Api-Key {KEY}"),
        (f"  {KEY}\n", None, f"Bearer {KEY}"),
    ],
)
def test_a_key_gets_its_scheme_unless_it_has_one(key: str, scheme: str | None, expected: str) -> None:
    assert read({"auth_scheme": scheme}, password=key).authorization == expected


@pytest.mark.parametrize(
    "key", [None, "", "  ", "line\nbreak-in-the-key", "schlüssel-mit-umlaut", "nul\x00inside"]
)
def test_a_key_that_can_not_stand_in_a_header_is_refused_unseen(key: str | None) -> None:
    with pytest.raises(PixxelInputError, match="password") as caught:
        read(password=key)
    if key and key.strip():
        assert key.strip()[:8] not in str(caught.value)


HUNDREDS_OF_DIGITS = ["9" * 400, 10**400, int("9" * 4000), "-" + "9" * 400, "0." + "0" * 400 + "1"]


@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout"])
@pytest.mark.parametrize(
    "value", ["soon", "0", 0, -1, "nan", "inf", 3601, [], {"a": 1}, True, "1\0", *HUNDREDS_OF_DIGITS]
)
def test_a_timeout_must_be_a_number_of_seconds(name: str, value: Any) -> None:
    words = problem({name: value})
    assert words.startswith(f"extra '{name}' must be a number of seconds above 0, at most 3600, not ")
    assert len(words) < 150


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    found = tmp_path / "ca.pem"
    found.write_text("")
    return found


def test_extras_arrive_as_text_from_a_uri_or_the_form(bundle: Path) -> None:
    extra = {"connect_timeout": "2.5", "read_timeout": "7", "verify": str(bundle), "allow_http": "yes"}
    settings = read(extra)
    assert (settings.connect_timeout, settings.read_timeout) == (2.5, 7)
    assert settings.verify == str(bundle)


def test_a_uri_means_what_the_form_means(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"pixxel://:{KEY}@api.example.com:8443/?auth_scheme=none&read_timeout=5&verify=false"
    monkeypatch.setenv("AIRFLOW_CONN_C", uri)
    settings = PixxelHook("c").settings
    assert settings.base_url == "https://api.example.com:8443"
    assert settings.authorization == KEY
    assert settings.read_timeout == 5
    assert settings.verify is False


def test_fields_stored_by_old_forms_are_read() -> None:
    assert read({"extra__pixxel__read_timeout": 5}).read_timeout == 5


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("true", True), ("False", False), ("no", False), ("", True), (None, True)],
)
def test_verify_is_a_switch(value: Any, expected: bool) -> None:
    assert read({"verify": value}).verify is expected


def test_the_environments_ca_bundle_counts_unless_verify_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert read().verify == str(bundle)
    assert read({"verify": False}).verify is False
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    assert problem().startswith("REQUESTS_CA_BUNDLE")
    assert "'/no/such/file'" in problem({"verify": "/no/such/file"})


def test_the_password_of_a_proxy_is_never_shown() -> None:
    settings = read({"proxy": "http://user:proxy-secret@proxy.example.com:3128"})
    assert settings.proxy == "http://user:proxy-secret@proxy.example.com:3128"
    assert "proxy-secret" not in repr(settings)
    assert "proxy-secret" not in problem({"proxy": "socks5://user:proxy-secret@proxy.example.com"})


def test_a_proxy_of_the_environment_is_read_once_for_both_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy.example.com:3128")
    assert read().proxy == "http://proxy.example.com:3128"
    monkeypatch.setenv("no_proxy", "pixxel.space")
    assert read().proxy is None
    assert read({"proxy": "http://own.example.com:1"}).proxy == "http://own.example.com:1"


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("auth_scheme", ["two words"], "must be one word"),
        ("proxy", ["***"], "is '***': Airflow's form has saved its mask"),
        (
            "proxy",
            ["socks5://127.0.0.1:1", "http://", "http://host:port", "ftp://host"],
            "must be the address",
        ),
        ("allow_http", ["maybe", "1\0", 7, [], {}], "must be true or false"),
        ("console_url", [7, [], {}], "must be text"),
        (
            "console_url",
            ["javascript:alert(1)", "aurora", "https://x/{job}", "https://x/{", "https://x/{0}"],
            "",
        ),
        ("private_storage", ["https://storage.example", "*", "10.0.0.1/8", ["10.0.0.0/8"], 10], "must "),
    ],
)
def test_an_extra_that_can_not_be_used_is_refused_by_its_field(
    field: str, values: list[Any], words: str
) -> None:
    for value in values:
        assert problem({field: value}).startswith(f"extra '{field}' {words}")


@pytest.mark.parametrize(
    # Airflow itself would not store the last ones.
    "extra",
    ["[]", "not json", '"text"', "7", "[" * 100_000, 7, ["read_timeout"]],
)
def test_extras_must_be_an_object(extra: Any) -> None:
    with pytest.raises(PixxelInputError, match=r"^connection 'pixxel_default': extra isn't a JSON object$"):
        read_connection(as_stored(extra=extra))


def test_extras_may_be_parsed_already() -> None:
    assert read_connection(as_stored(extra={"read_timeout": "5"})).read_timeout == 5


def test_unknown_extras_are_left_alone() -> None:
    assert read({"something": "else"}).base_url == "https://api.pixxel.space"


def test_storage_with_private_addresses_is_named_by_hosts_and_networks() -> None:
    assert read().private_storage == AllowedHosts()
    found = read({"private_storage": " *.storage.example, 10.20.0.0/16 ,fd12::/48"}).private_storage
    assert found.name("bucket.storage.example")
    assert found.hold(ip_address("10.20.30.40"))
    assert found.hold(ip_address("fd12::5"))


def test_the_console_link_is_a_template_whose_ids_are_quoted() -> None:
    settings = read({"console_url": "https://console.example.com/w/{workflow_id}?job={job_id}"})
    assert settings.console_link("a/b", "ü&x") == "https://console.example.com/w/a%2Fb?job=%C3%BC%26x"


def test_the_key_is_in_no_repr_and_is_redacted_with_and_without_its_scheme() -> None:
    assert KEY not in repr(read()) + str(read())
    settings = read(password=f"Bearer {KEY}")
    assert settings.redact(f"you sent Bearer {KEY}, {KEY}") == "you sent ***, ***"
    assert settings.redact_bytes(f"you sent {KEY}".encode()) == b"you sent ***"


@pytest.mark.parametrize("slash", ["/", "\\/"])
@pytest.mark.parametrize(
    ("plus", "less", "amp"),
    [("+", "<", "&"), ("+", "\\u003c", "\\u0026"), ("\\u002b", "\\u003C", "\\u0026")],
    ids=["plain", "as Go does", "as .NET does"],
)
def test_the_key_is_redacted_however_json_has_it(slash: str, plus: str, less: str, amp: str) -> None:
    key = "a/key+with<signs&that-are-escaped"
    echoed = f'"a{slash}key{plus}with{less}signs{amp}that-are-escaped"'
    if less == "\\u003C":
        echoed = echoed.replace("\\u002b", "\\u002B")
    assert json.loads(echoed) == key
    assert read(password=key).redact_bytes(echoed.encode()) == b'"***"'


def test_a_key_like_a_common_word_is_not_looked_for() -> None:
    assert read(password="demo").redact("a demo workflow") == "a demo workflow"


def loopback_has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def over_ipv6() -> Iterator[Any]:
    if not loopback_has_ipv6():
        pytest.skip("this machine's loopback has no IPv6, as in some containers")
    with serve(host="::1", key=KEY) as running:
        yield running


#: What stands in an environment variable, with P for the port.
IPV6: dict[str, Any] = {
    "host and port": {"host": "::1", "port": "P", "schema": "http"},
    "brackets and port": {"host": "[::1]", "port": "P", "schema": "http"},
    "port as text of its own": {"host": "[::1]:P", "schema": "http"},
    "in full": {"host": "[0:0:0:0:0:0:0:1]:P", "schema": "http"},
    "an address": {"host": "http://[::1]:P"},
    "an address with a slash": {"host": "http://[::1]:P/"},
    "an address and a port": {"host": "http://[::1]", "port": "P"},
    "an address without brackets, and a port": {"host": "http://::1", "port": "P"},
    "a URI": f"pixxel://:{KEY}@[::1]:P/http",
    "a URI with a scheme": f"pixxel://http://:{KEY}@[::1]:P",
    "a URI with a scheme and a slash": f"pixxel://http://:{KEY}@[::1]:P/",
    "a URI in full": f"pixxel://http://:{KEY}@[0:0::0001]:P",
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("form", [*IPV6, "its own JSON", "its own URI"])
def test_a_host_that_is_an_ipv6_address_is_reached_in_every_form(
    over_ipv6: Any, monkeypatch: pytest.MonkeyPatch, form: str, client: str
) -> None:
    port = over_ipv6.url.rpartition(":")[2]
    given = {
        "its own JSON": over_ipv6.connection_json(),
        "its own URI": over_ipv6.connection_uri(),
    }.get(form) or IPV6[form]
    if isinstance(given, dict):
        given = json.dumps({"conn_type": "pixxel", "password": KEY, **given})
    monkeypatch.setenv("AIRFLOW_CONN_IPV6", given.replace('"P"', port).replace(":P", f":{port}"))
    (found,) = CLIENTS[client]([calls.get_job("wf-succeeds", "job-finished")], "ipv6")
    assert found.kind == "answer", found
    assert found.answer.id == "job-finished"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"pixxel://:{KEY}@[::1]:8080/", "https://[::1]:8080"),
        (f"pixxel://:{KEY}@[::1]", "https://[::1]"),
        (f"pixxel://http://:{KEY}@[::1]:8080", "http://[::1]:8080"),
        (f"pixxel://https://:{KEY}@[2001:DB8::0001]:8080/", "https://[2001:db8::1]:8080"),
    ],
)
def test_a_uri_may_name_an_ipv6_address(uri: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_IPV6", uri)
    assert PixxelHook("ipv6").settings.base_url == expected


@pytest.mark.parametrize("port", [-1, 65536, 10**400, "http", "8O", "٨٠", "80 ", "9" * 5000, 80.5, True])
def test_a_port_out_of_range_is_refused_by_its_field(port: Any) -> None:
    # Airflow would refuse some of them itself, but not from every backend.
    with pytest.raises(PixxelInputError) as caught:
        read_connection(as_stored(host="a.example", port=port))
    words = str(caught.value)
    assert words.startswith("connection 'pixxel_default': port must be a number from 1 to 65535, not ")
    assert len(words) < 150


@pytest.mark.parametrize("field", ["auth_scheme", "verify", "proxy", "console_url", "private_storage"])
@pytest.mark.parametrize("value", ["a\0b", "\0", "a\nb", "a\x1bb", "a\u2028b"])
def test_a_control_character_in_an_extra_is_refused_by_its_field(field: str, value: str) -> None:
    assert problem({field: value}) == f"extra '{field}' holds a line break or another control character"


@pytest.mark.parametrize(
    "proxy",
    [
        "http://secret@evil\\@proxy.example:1",
        "http://user:secret@proxy.example:99999",
        f"http://user:secret@proxy.example:{'9' * 5000}",
        "http://user:secret@[::1",
        "http://user:secret@[::1]x:1",
        "http://user:secret@::1:3128",
        "http://user:secret@",
        "http://user:secret@a b",
        "http://user:secret@a..b",
        "user:secret",
        "://",
        "proxy.example:port",
        "http:/proxy.example:3128",
    ],
)
def test_a_proxy_that_can_not_be_read_is_refused_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = problem({"proxy": proxy})
    assert words.startswith("extra 'proxy' must be the address of an http or https proxy")
    assert "secret" not in words
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    words = problem()
    assert words.startswith("the proxy that the environment names must be the address of")
    assert "secret" not in words


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("proxy.example", "http://proxy.example:80"),
        ("HTTPS://Proxy.example/path?q", "https://proxy.example:443"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("http://us%40er:pa%2Fss@[2001:DB8::1]:3128/", "http://us%40er:pa%2Fss@[2001:db8::1]:3128"),
        ("user:password@proxy.example:3128", "http://user:password@proxy.example:3128"),
    ],
)
def test_a_proxy_is_used_as_it_was_read(proxy: str, expected: str) -> None:
    assert read({"proxy": proxy}).proxy == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("https://evil.example\\@console.example/{job_id}", "holds white space, a backslash"),
        ("https://console.example/\\evil.example", "holds white space, a backslash"),
        ("https://user:secret@console.example/{job_id}", "holds a user or password"),
        ("https://@console.example/", "holds a user or password"),
        ("https://{job_id}@console.example/", "holds a user or password"),
        ("https://console.example:99999/", "names a port"),
        ("//console.example/", "isn't an address"),
        ("https://[::1/", "names a host whose brackets"),
    ],
)
def test_a_console_link_leads_where_it_seems_to_lead(template: str, words: str) -> None:
    found = problem({"console_url": template})
    assert found.startswith(f"extra 'console_url' {words}")
    assert "secret" not in found


VARIABLES: list[dict[str, str]] = [
    {"HTTPS_PROXY": "http://upper:1"},
    {"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"},
    {"http_proxy": "http://plain:1"},
    {"ALL_PROXY": "http://all:1"},
    {"all_proxy": "http://all:1", "https_proxy": "http://lower:1"},
    {"https_proxy": ""},
]
EXCEPTIONS = [
    "",
    "*",
    "api.example.com",
    "API.example.com",
    "example.com",
    ".example.com",
    "xample.com",
    "*.example.com",
    "other.example, example.com ",
    "api.example.com:8443",
    "api.example.com:443",
    "10.0.0.0/8",
    "10.1.2.3",
    "10.1.2.0/24,localhost",
    "10.1.2.3/32",
    "10.",
    "127.0.0.0/8",
    "::1",
    "[::1]",
    "::/0",
    "2001:db8::/32",
    "2001:db8::1",
    "localhost",
]
HOSTS = [
    "https://api.example.com",
    "https://api.example.com:8443",
    "https://10.1.2.3",
    "https://10.1.2.3:8443",
    "https://[2001:db8::1]",
    "https://[::1]:8443",
    "http://127.0.0.1:8080",
    "http://localhost:8080",
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("variables", VARIABLES, ids=str)
def test_proxies_of_the_environment_mean_what_they_mean_for_requests(
    variables: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for exceptions in EXCEPTIONS:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, exceptions)
            expected = select_proxy(host, get_environ_proxies(host))
            assert read(host=host).proxy == (expected or None), f"{name}={exceptions}"
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("host", "exceptions", "through"),
    [
        ("https://api.example.com", "example.org", True),
        ("https://api.example.com", "example.com", False),
        ("https://api.example.com", "*", False),
        ("https://10.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "11.0.0.0/8", True),
    ],
)
def test_exceptions_from_a_proxy_are_hosts_suffixes_and_ranges(
    host: str, exceptions: str, through: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", exceptions)
    assert read(host=host).proxy == ("http://proxy.example:3128" if through else None)


@pytest.mark.parametrize("name", ["conn_type", "host", "schema", "password"])
@pytest.mark.parametrize("value", [1234567890123, ["x"], b"bytes"])
def test_a_field_that_is_no_text_is_named(name: str, value: Any) -> None:
    fields = {
        "conn_id": "c",
        "conn_type": "pixxel",
        "host": "",
        "schema": None,
        "password": "key",
        "port": None,
    }
    with pytest.raises(PixxelInputError) as caught:
        read_connection(SimpleNamespace(**{**fields, "extra": None, name: value}))  # type: ignore[arg-type]
    assert str(caught.value) == f"connection 'c': {name} must be text, not {type(value).__name__}"


@pytest.mark.parametrize(
    "fields",
    [
        {"conn_type": CANARY},
        {"host": f"{CANARY}://x"},
        {"extra": {"verify": f"/{CANARY}"}},
        {"extra": {"read_timeout": CANARY}},
        {"extra": {"private_storage": f"{CANARY}/64"}},
    ],
    ids=repr,
)
def test_a_key_in_another_field_as_well_is_not_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(PixxelInputError) as caught:
        read(**{"conn_type": "pixxel", "password": CANARY, **fields})
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("host", {"host": KEY}),
        ("host", {"host": f"https://{KEY}.example/v"}),
        ("host", {"host": f"https://pixxel.example/{KEY}"}),
        ("extra 'console_url'", {"extra": {"console_url": f"https://console.example/?key={KEY}"}}),
    ],
    ids=repr,
)
def test_a_key_in_an_address_is_refused_before_anybody_looks_it_up(name: str, fields: dict[str, Any]) -> None:
    assert problem(**fields) == f"{name} holds the key, which belongs into the password field alone"


def test_no_key_and_no_value_in_a_message_is_longer_than_people_read() -> None:
    with pytest.raises(PixxelInputError, match="has 4097 characters; no API key is that long"):
        read(conn_type="pixxel", password="k" * 4_097)
    assert read(conn_type="pixxel", password="k" * 4_096).redact("k" * 4_096) == "***"
    for fields in ({"conn_type": "x" * 9_000}, {"extra": {"verify": "/x" * 9_000}}):
        with pytest.raises(PixxelInputError) as caught:
            read(**{"conn_type": "pixxel", "password": "key", **fields})
        assert len(str(caught.value)) < 500
