"""A package is asked for at public addresses over TLS, and on the API's own network where that is none."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixxel_provider.allowed_hosts import read_allowed_hosts
from pixxel_provider.download.address_guard import AddressGuard, kind_of, proxy_for
from pixxel_provider.download.errors import PixxelAddressError
from pixxel_provider.download.signed_url import SignedUrl
from tests.download.hosting import SIGNATURE, everything_said, settings_for
from tests.support import CANARY

PUBLIC, PRIVATE, SHARED = "https://8.8.8.8", "https://10.0.0.5", "https://100.64.0.9"
LOOPBACK = "http://127.0.0.1:8765"
TAIL = f"/package.zip?signature={SIGNATURE}"


def guard(api: str = PUBLIC) -> AddressGuard:
    return AddressGuard(settings_for(api))


def refusal(url: str, api: str = PUBLIC) -> str:
    with pytest.raises(PixxelAddressError) as caught:
        guard(api).check(SignedUrl(url))
    assert SIGNATURE not in everything_said(caught.value)
    return str(caught.value)


# -------------------------------------------------------------------------------------- what may be asked


@pytest.mark.parametrize(
    "place",
    [
        "storage.example",
        "storage.example:8443",
        "STORAGE.example.",
        "8.8.8.8",
        "[2001:4860:4860::8888]",
        "[64:ff9b::8.8.8.8]",
        "[::ffff:8.8.8.8]",
        "xn--bcher-kva.example",
        "10.example",
        "deadbeef.example",
    ],
)
@pytest.mark.parametrize("api", [PUBLIC, PRIVATE, LOOPBACK])
def test_a_public_host_over_tls_may_be_asked_whatever_network_the_api_is_on(place: str, api: str) -> None:
    guard(api).check(SignedUrl(f"https://{place}{TAIL}"))


@pytest.mark.parametrize("place", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "127.9.9.9"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_api_on_this_machine_may_name_this_machine(scheme: str, place: str) -> None:
    guard(LOOPBACK).check(SignedUrl(f"{scheme}://{place}{TAIL}"))
    assert "this machine" in refusal(f"{scheme}://{place}{TAIL}")


@pytest.mark.parametrize(
    ("api", "own", "others"),
    [
        (PRIVATE, ["10.1.2.3", "192.168.0.1", "[fd12::1]"], ["127.0.0.1", "100.64.0.1", "169.254.169.254"]),
        (SHARED, ["100.127.0.1"], ["10.0.0.1", "127.0.0.1", "100.100.100.200"]),
        (LOOPBACK, ["127.0.0.2"], ["10.0.0.1", "100.64.0.1", "169.254.169.254", "[fd00:ec2::254]"]),
        ("https://169.254.0.9", [], ["169.254.0.9", "169.254.169.254", "10.0.0.1"]),
        (PUBLIC, [], ["10.0.0.1", "100.64.0.1", "127.0.0.1", "[fd12::1]"]),
    ],
)
def test_the_apis_own_network_may_be_asked_and_no_other(api: str, own: list[str], others: list[str]) -> None:
    for place in own:
        guard(api).check(SignedUrl(f"https://{place}{TAIL}"))
    for place in others:
        assert "isn't a public address" in refusal(f"https://{place}{TAIL}", api)


def test_what_the_apis_name_stands_for_decides_what_its_own_network_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {"pixxel.inside": "10.0.0.5", "api.example": "8.8.4.4"}

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (names[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    guard("https://pixxel.inside").check(SignedUrl(f"https://10.9.9.9{TAIL}"))
    assert "a private network" in refusal(f"https://10.9.9.9{TAIL}", "https://api.example")
    assert "a private network" in refusal(f"https://10.9.9.9{TAIL}", "https://behind-a-proxy.example")


# ----------------------------------------------------------------------- storage inside a private network

BUCKET = "bucket.storage.example"


def named_by(text: str, api: str = PUBLIC) -> AddressGuard:
    return AddressGuard(settings_for(api, private_storage=read_allowed_hosts("private_storage", text)))


@pytest.mark.parametrize(
    "address", ["10.20.30.40", "172.16.5.4", "100.64.7.9", "fd12::5", "127.0.0.1", "::1"]
)
@pytest.mark.parametrize("text", [BUCKET, "*.storage.example", "*.example, 8.8.8.8", ""])
def test_a_host_with_a_private_address_may_be_asked_where_it_is_named(address: str, text: str) -> None:
    if text:
        named_by(text).check_peer(BUCKET, address)
    with pytest.raises(
        PixxelAddressError, match=r"the extra 'private_storage' of connection 'pixxel_default'"
    ):
        named_by(text).check_peer("elsewhere.invalid", address)


@pytest.mark.parametrize(
    ("text", "address", "other"),
    [
        ("10.20.0.0/16", "10.20.30.40", "10.21.0.1"),
        ("100.64.0.0/10", "100.64.7.9", "10.0.0.1"),
        ("fd12::/16", "fd12::5", "fd13::5"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:192.168.0.1"),
        ("10.0.0.0/8", "64:ff9b::10.0.0.1", "64:ff9b::192.168.0.1"),
        ("64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", "64:ff9b:1::169.254.169.254"),
        ("64:ff9b::/96", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254"),
        ("0.0.0.0/0,::/0", "192.168.0.1", "169.254.169.254"),
    ],
)
def test_an_address_may_be_asked_in_a_network_that_is_named(text: str, address: str, other: str) -> None:
    guard = named_by(text)
    guard.check_peer(BUCKET, address)
    literal = f"[{address}]" if ":" in address else address
    guard.check(SignedUrl(f"https://{literal}{TAIL}"))
    with pytest.raises(PixxelAddressError):
        guard.check_peer(BUCKET, other)


def test_an_address_behind_nat64_is_the_one_that_it_stands_for() -> None:
    guard().check_peer(BUCKET, "64:ff9b::8.8.8.8")
    with pytest.raises(PixxelAddressError, match="a private network"):
        guard().check_peer(BUCKET, "64:ff9b::10.0.0.1")


METADATA = [
    "169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe",
    "fd00:42::42", "fe80::a9fe:a9fe", "fd12::a9fe:a9fe", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe",
    "::ffff:169.254.169.254", "100.100.100.200", "fd12::100.100.100.200", "168.63.129.16", "192.0.0.192",
]  # fmt: skip


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("api", [PUBLIC, PRIVATE, SHARED, "https://[fd00:ec2::1]"])
def test_metadata_is_refused_though_its_network_or_its_host_is_named(address: str, api: str) -> None:
    text = f"{BUCKET}, *.example, 169.254.0.0/16, 100.64.0.0/10, 168.0.0.0/8, 192.0.0.0/24, ::/0, fd00::/8"
    with pytest.raises(PixxelAddressError, match=r"metadata address: no request is sent to it\.$"):
        named_by(text, api).check_peer(BUCKET, address)


@pytest.mark.parametrize("address", ["169.254.171.9", "fd00:ec2::254"])
def test_a_link_local_or_metadata_address_may_be_asked_where_just_that_one_is_named(address: str) -> None:
    named_by(address).check_peer(BUCKET, address)


def test_plain_http_stays_refused_to_storage_that_is_named() -> None:
    with pytest.raises(PixxelAddressError, match="plain http"):
        named_by("10.0.0.0/8, storage.inside").check(SignedUrl(f"http://storage.inside{TAIL}"))


# --------------------------------------------------------------------------------------------- the scheme


@pytest.mark.parametrize("scheme", ["ftp", "gopher", "ws", "javascript", "s3", "data", "httpsx"])
def test_another_scheme_is_refused_by_its_name(scheme: str) -> None:
    assert refusal(f"{scheme}://storage.example{TAIL}").startswith(f"The signed URL begins with {scheme}://")


@pytest.mark.parametrize("place", ["storage.example", "8.8.8.8", "10.0.0.1", "localhost.example"])
@pytest.mark.parametrize("api", [PUBLIC, LOOPBACK])
def test_plain_http_is_refused_but_to_this_machine(place: str, api: str) -> None:
    assert "plain http, where others could read it" in refusal(f"http://{place}{TAIL}", api)


def test_plain_http_is_taken_from_an_api_that_is_asked_so_itself_at_the_same_place_only() -> None:
    api = "http://10.0.0.5:8080"
    guard(api).check(SignedUrl(f"http://10.0.0.5:8080{TAIL}"))
    for place in ("10.0.0.5", "10.0.0.5:8081", "10.0.0.6:8080"):
        assert "plain http" in refusal(f"http://{place}{TAIL}", api)


def test_upper_case_letters_make_no_other_scheme() -> None:
    guard().check(SignedUrl(f"HTTPS://storage.example{TAIL}"))
    assert "plain http" in refusal(f"HTTP://storage.example{TAIL}")


# --------------------------------------------------------------------- addresses in every spelling there is


@pytest.mark.parametrize(
    "place",
    [
        # This machine
        "127.0.0.1",
        "127.255.255.254", "localhost", "LOCALHOST",
        "localhost.", "files.localhost", "a.b.LocalHost.", "[::1]", "[0:0:0:0:0:0:0:1]",
        "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
        "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]",
        "[64:ff9b::127.0.0.1]", "[64:ff9b:1::127.0.0.1]",
        # No machine, or all of them
        "0.0.0.0", "0.1.2.3",  # noqa: S104 - refused, not bound
        "[::]", "255.255.255.255", "[::ffff:0.0.0.0]",
        # Private
        "10.0.0.1", "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "[fc00::1]", "[fd12:3456:789a::1]",
        "[::ffff:10.0.0.1]", "[2002:a00:1::1]", "[2002:c0a8:101::]", "[64:ff9b::192.168.1.1]",
        "[2001:0:a00:1::]",
        # Link-local, and what clouds put there and elsewhere
        "169.254.169.254", "169.254.1.1",
        "[fe80::1]", "[febf::1]", "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]",
        "100.100.100.200", "192.0.0.192",
        # Shared by a provider's customers
        "100.64.0.1", "100.127.255.255", "[::ffff:100.64.0.1]",
        # Multicast, reserved, for documentation, for measurements
        "224.0.0.1", "239.255.255.250", "[ff02::1]", "[ff0e::1]", "240.0.0.1", "192.0.2.1", "198.51.100.1",
        "[fec0::1]", "[feff::1]", "203.0.113.1", "198.18.0.1", "192.0.0.1", "[2001:db8::1]", "[100::1]",
    ],
)  # fmt: skip
def test_an_address_that_isnt_public_is_refused_however_it_is_spelt(place: str) -> None:
    assert "isn't a public address" in refusal(f"https://{place}{TAIL}")


@pytest.mark.parametrize("place", ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "224.0.0.1", "[::]"])
@pytest.mark.parametrize("api", [PUBLIC, PRIVATE, SHARED, LOOPBACK])
def test_link_local_multicast_and_metadata_are_refused_from_any_api(place: str, api: str) -> None:
    assert "a link-local, multicast, reserved or metadata address" in refusal(f"https://{place}{TAIL}", api)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_the_same_within_an_ipv6_one_and_its_other_spellings_refused(
    number: int,
) -> None:
    plain = ip_address(number)
    a, b, c, d = plain.packed

    def allowed(place: str) -> bool:
        try:
            guard().check(SignedUrl(f"https://{place}{TAIL}"))
        except PixxelAddressError:
            return False
        return True

    same = [f"{plain}", f"[::ffff:{plain}]", f"[64:ff9b::{plain}]"]
    assert {allowed(place) for place in same} == {kind_of(plain) == "public"}
    others = [
        f"{number}", f"{number:#x}", f"0{number:o}", f"{a}.{(b << 16) + (c << 8) + d}",
        f"{a}.{b}.{(c << 8) + d}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a:#x}.{b:#x}.{c}.{d}", f"{plain}.",
    ]  # fmt: skip
    assert not any(map(allowed, others))


@given(st.ip_addresses())
def test_no_address_that_python_calls_private_is_called_public(address: Any) -> None:
    inside = address.is_private or address.is_link_local or address.is_multicast or address.is_loopback
    embedded = getattr(address, "ipv4_mapped", None)
    if inside and embedded is None:
        assert kind_of(address) != "public"


# ------------------------------------------------------------------------------------------- the address


@pytest.mark.parametrize("user", ["user:password@", "user@", ":password@", "@", ":@", "storage.example@"])
def test_a_user_or_password_is_refused(user: str) -> None:
    assert refusal(f"https://{user}storage.example{TAIL}") == "The signed URL holds a user or password."


# What resolvers take for IPv4 addresses besides four decimal numbers: others take some for names.
SPELLINGS = """
    127.0.0.1. 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0X7F.0.0.1 017700000001 0177.0.0.1 127.0.0.0x1 0
    10.1 167772161 0xa000001 012.0.0.1 0300.0250.1.1 3232235777 2852039166 0xa9fea9fe 0251.0376.0251.0376
    169.254.43518""".split()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "storage.example/package.zip",
        "/package.zip",
        "//storage.example/package.zip",
        "https:///package.zip",
        "https://",
        "https://:443/package.zip",
        "https://?x",
        "file:///etc/passwd",
        "https://storage.example:0/",
        "https://storage.example:99999/",
        "https://storage.example:-1/",
        "https://storage.example:https/",
        "https://storage.example:443:80/",
        "https://[::1/",
        "https://::1]/",
        "https://storage.example\\@127.0.0.1/",
        "https://127.0.0.1\\@storage.example/",
        "https://storage.example%2f@127.0.0.1/",
        "https://storage.example%40127.0.0.1/",
        "https://127.0.0.1%2f.storage.example/",
        "https://%31%32%37.0.0.1/",
        "https://169.254.169.254%00.storage.example/",
        "https://[::1%25lo]/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[v1.x]/",
        "https://[127.0.0.1]:443@/",
        "https://[8.8.8.8]/",
        "https://127.0.0.08/",
        "https://1.2.3.4.5/",
        "https://256.0.0.1/",
        "https://0x/",
        *(f"https://{spelling}/" for spelling in SPELLINGS),
        "https://storage..example/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 127}example/",
        "https://storage.example;@127.0.0.1/",
        "https:/storage.example/",
        "https:\\\\storage.example/",
        "https:storage.example/",
        "https://storage.example\\.elsewhere.example/",
        "https://storage.example/a b",
        " https://storage.example/",
        "https://storage.example/\n",
        "https://storage.example/\r\nHost: elsewhere",
        "https://storage.example/\t",
        "https://storage.example/\x00",
        "https://storage.example/\x7f",
        "https://bücher.example/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://storage.example/\u200b",
    ],
)
def test_what_libraries_could_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(PixxelAddressError):
        guard().check(SignedUrl(url))


def test_a_refusal_names_the_host_and_neither_path_nor_signature() -> None:
    words = refusal(f"https://10.0.0.1/jobs/secret-path{TAIL}")
    assert "10.0.0.1" in words
    assert "secret-path" not in words


@pytest.mark.parametrize("url", [f"http://{CANARY}.example/", f"{CANARY}://storage.example/"])
def test_a_key_that_an_address_holds_isnt_repeated(url: str) -> None:
    assert CANARY not in refusal(url)


def test_a_peer_is_judged_whatever_its_host_is_called() -> None:
    guard().check_peer("storage.example", "8.8.8.8")
    for peer in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"):
        with pytest.raises(PixxelAddressError, match=r"storage\.example at .* isn't a public address"):
            guard().check_peer("storage.example", peer)


# ------------------------------------------------------------------------------------------------ proxies


def test_the_connections_own_proxy_is_asked_for_packages_too() -> None:
    settings = settings_for(PUBLIC, proxy="http://proxy.example:3128")
    assert proxy_for(settings, f"https://storage.example{TAIL}") == "http://proxy.example:3128"


def test_the_environment_decides_by_the_storage_host_and_not_by_the_apis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://plain.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    through = settings_for("https://api.example", proxy="http://proxy.example:3128")
    direct = settings_for("https://api.inside.example", proxy=None)
    for settings in (through, direct):
        assert proxy_for(settings, f"https://storage.example{TAIL}") == "http://proxy.example:3128"
        assert proxy_for(settings, f"http://storage.example{TAIL}") == "http://plain.example:3128"
        assert proxy_for(settings, f"https://storage.inside.example{TAIL}") is None


def test_without_a_proxy_there_is_none() -> None:
    assert proxy_for(settings_for(PUBLIC), f"https://storage.example{TAIL}") is None


@pytest.mark.parametrize("exempt", ["10.0.0.0/8", "10.20.30.40", "storage.example, 10.20.0.0/16"])
def test_the_environment_exempts_hosts_as_it_does_for_requests(
    monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", exempt)
    settings = settings_for("https://api.example", proxy="http://proxy.example:3128")
    assert proxy_for(settings, "https://10.20.30.40:8443/") is None
    assert proxy_for(settings, "https://11.0.0.1:8443/") == "http://proxy.example:3128"
