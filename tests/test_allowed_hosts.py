"""A field of the connection may name hosts, domains, addresses and networks, and nothing else."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pixxel_provider.allowed_hosts import AllowedHosts, read_allowed_hosts
from pixxel_provider.api.errors import PixxelInputError

FIELD = "extra 'private_storage'"


def read(text: str) -> AllowedHosts:
    return read_allowed_hosts(FIELD, text)


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_an_empty_list_names_nothing(text: str) -> None:
    assert read(text) == AllowedHosts()


@pytest.mark.parametrize(
    ("text", "named", "others"),
    [
        ("storage.inside", ["storage.inside", "STORAGE.inside."], ["a.storage.inside", "storage.inside.x"]),
        ("Storage.Inside.", ["storage.inside"], ["inside"]),
        ("*.inside", ["a.inside", "a.b.inside."], ["inside", "ainside", "inside.example", ""]),
        (".inside", ["a.inside", "a.b.inside"], ["inside"]),
        ("a *.b.c\n,d_e-f", ["a", "x.b.c", "d_e-f"], ["b.c", "c", "x.c"]),
        (
            "1and1.example, 10.example, bücher.example",
            ["xn--bcher-kva.example", "1and1.example", "10.example"],
            ["10.0.0.1"],
        ),
    ],
)
def test_names_and_domains_are_taken_without_regard_to_capitals(
    text: str, named: list[str], others: list[str]
) -> None:
    found = read(text)
    assert [host for host in (*named, *others) if found.name(host)] == named


@pytest.mark.parametrize(
    ("text", "held", "others"),
    [
        ("10.20.0.0/16", ["10.20.0.0", "10.20.255.255"], ["10.21.0.0", "fd12::1"]),
        ("100.64.0.0/10,fd12::/48", ["100.127.0.1", "fd12::ffff"], ["fd12:0:1::", "100.128.0.0"]),
        ("10.0.0.5", ["10.0.0.5"], ["10.0.0.6"]),
        ("[fd12::5], FD13::/16", ["fd12::5", "fd13:1::"], ["fd12::6"]),
    ],
)
def test_addresses_and_networks_are_taken(text: str, held: list[str], others: list[str]) -> None:
    found = read(text)
    assert [address for address in (*held, *others) if found.hold(ip_address(address))] == held


def test_an_address_is_named_by_itself_or_by_a_network_around_it() -> None:
    found = read("10.0.0.0/8, 192.168.0.1")
    assert [found.hold(ip_address(each), alone=True) for each in ("10.0.0.1", "192.168.0.1")] == [False, True]


@pytest.mark.parametrize(
    "entry",
    [
        "https://storage.inside/", "storage.inside:443", "storage.inside/path", "*", "*.", "*.*.inside",
        "a.*.b", "a..b", ".", "..a", "-a", "user@storage.inside", "a\\b", "a%2fb",
        "a" * 64, "a." * 127 + "a", "10.1", "1.2.3.4.5", "0x7f.1", "01.2.3.4", "10.0.0.0/33",
        "10.0.0.0/", "10.0.0.0/8/8", "fe80::1%eth0", "[fd12::5", "fd12::5]", "[fd12::]/48", "::/129", "\x00",
    ],
)  # fmt: skip
def test_what_names_nothing_is_refused_with_the_fields_name(entry: str) -> None:
    with pytest.raises(PixxelInputError) as caught:
        read(f"storage.inside, {entry}")
    assert caught.value.field == FIELD
    assert "host names, *.domains, addresses and networks such as 10.0.0.0/8" in str(caught.value)


def test_a_network_with_host_bits_is_refused_and_says_why() -> None:
    with pytest.raises(PixxelInputError, match=r"'10\.0\.0\.1/8' is none of these: it has host bits set"):
        read("10.0.0.1/8")


def test_what_could_be_a_key_in_the_wrong_field_isnt_shown() -> None:
    with pytest.raises(PixxelInputError, match="entry 2 is none of these") as caught:
        read("a, s3cr3t+k3y=")
    assert "s3cr3t" not in str(caught.value)
