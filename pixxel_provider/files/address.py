"""Where a signed URL may lead: to public addresses over TLS, and to nothing inside a company or a cloud.

Whoever can make the API hand out an address must not make a worker ask, say, a cloud's metadata service.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pixxel_provider.connection import Settings, is_loopback, origin_of
from pixxel_provider.files.errors import PixxelAddressError

Address = IPv4Address | IPv6Address

#: Kinds of addresses that count as the API's own network where the API itself is on one.
_OWN = frozenset({"loopback", "private", "shared"})
# What messages call them.
_NAMES = {
    "loopback": "this machine",
    "private": "a private network",
    "shared": "a provider's or an overlay network",
    "forbidden": "a link-local, multicast, reserved or metadata address",
}
_SHARED = ip_network("100.64.0.0/10")
_THIS_NETWORK = ip_network("0.0.0.0/8")
_NAT64 = ip_network("64:ff9b::/96")
# Metadata services of clouds that don't stand at a link-local address.
_METADATA = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
# Anything else is percent-encoded in an address, and libraries don't agree on what it means.
_PLAIN = re.compile(r"[!-\[\]-~]+")


class Guard:
    """Decides for one connection which addresses may be asked for a package."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, url: str) -> None:
        """Check an address as it is written; what its host resolves to is for :meth:`check_peer`.

        :raises PixxelAddressError: it isn't https (or http to this machine), or it leads to a literal address
            that isn't public.
        """
        try:
            parts = urlsplit(url)
            host, scheme, port = parts.hostname or "", parts.scheme, parts.port
        except ValueError:
            host, scheme, port = "", "", None
        if not host or port == 0 or not _PLAIN.fullmatch(url):
            raise PixxelAddressError("The signed URL isn't an address that can be asked.")
        if parts.username is not None or parts.password is not None:
            raise PixxelAddressError("The signed URL holds a user or password.")
        if scheme not in ("https", "http"):
            raise PixxelAddressError(
                f"The signed URL begins with {self._settings.redact(scheme)}://: a package comes over https."
            )
        if scheme == "http" and not is_loopback(host) and origin_of(url) != self._settings.origin:
            raise PixxelAddressError(
                f"The signed URL leads to {self._settings.redact(host)} over plain http, where others could "
                "read it; a package is fetched over https."
            )
        literal = _literal(host)
        if literal is not None:
            self.check_peer(host, literal)

    def check_peer(self, host: str, address: str | Address) -> None:
        """Check the address that a host name stands for, before anything is sent there.

        :raises PixxelAddressError: it isn't public, and not on the network that the API itself is on.
        """
        kind = kind_of(ip_address(address))
        if kind == "public" or kind in self._own:
            return
        raise PixxelAddressError(
            f"The signed URL leads to {self._settings.redact(host)} at {address}, which isn't a public "
            f"address but {_NAMES[kind]}: it isn't asked."
        )

    @cached_property
    def _own(self) -> frozenset[str]:
        """The kinds of addresses that the API's own host has, of those that a company uses inside."""
        host = urlsplit(self._settings.base_url).hostname or ""
        return frozenset(kind_of(address) for address in _resolve(host)) & _OWN


def kind_of(address: Address) -> str:
    """Return what sort of network an address is in: ``public``, or a key of what messages call it."""
    for found in _embedded(address):
        kind = _kind(found)
        if kind != "public":
            return kind
    return "public"


def proxy_for(settings: Settings, url: str) -> str | None:
    """Return the proxy for a storage host: the connection's own, or what the environment says of that host.

    The settings name the proxy for the API's host, which the environment may treat differently.
    """
    of_api = _from_environment(settings.base_url)
    if settings.proxy is not None and settings.proxy != of_api:
        return settings.proxy
    return None if proxy_bypass(urlsplit(url).netloc) else _from_environment(url)


def _from_environment(url: str) -> str | None:
    found = getproxies().get(urlsplit(url).scheme, "")
    if not found:
        return None
    return found if "://" in found else f"http://{found}"


def _kind(address: Address) -> str:
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return "forbidden"
    if address.is_loopback:
        return "loopback"
    if isinstance(address, IPv6Address) and address.is_site_local:
        # Python calls these global; they were for use inside a site.
        return "private"
    if address in _SHARED:
        return "shared"
    if address.is_reserved or address in _THIS_NETWORK:
        return "forbidden"
    if address.is_private:
        return "private"
    return "public" if address.is_global else "forbidden"


def _embedded(address: Address) -> Iterator[Address]:
    """Yield an address, or the IPv4 addresses that it stands for."""
    if not isinstance(address, IPv6Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
        return
    yield address


def _literal(host: str) -> Address | None:
    """Return the address that a host is, in any of the spellings that the system's resolver takes for one."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(name)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(name))
    except OSError:
        return None


def _resolve(host: str) -> Iterator[Address]:
    literal = _literal(host)
    if literal is not None:
        yield literal
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        # Behind a proxy names need not resolve here; then nothing but public addresses is asked.
        return
    for entry in found:
        yield ip_address(entry[4][0])
