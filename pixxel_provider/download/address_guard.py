"""Where a signed URL may lead: to public addresses over TLS, and to nothing inside a company or a cloud.

Whoever can make the API hand out an address must not make a worker ask, say, a cloud's metadata service. So
an address is read once, by :class:`SignedUrl`: what is judged is what is connected to and asked.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from pixxel_provider.api import urls
from pixxel_provider.connection import Settings, environment_proxy, is_loopback
from pixxel_provider.download.errors import PixxelAddressError
from pixxel_provider.download.signed_url import Address, SignedUrl, literal_address

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
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")
# Metadata services of clouds, and what they hand out credentials at, where that isn't link-local.
_METADATA = frozenset(
    map(
        ip_address,
        "fd00:ec2::254 fd00:ec2::23 fd00:ec2::123 fd00:ec2::253 fd20:ce::254 fd00:42::42 fd00:c1::a9fe:a9fe "
        "169.254.169.254 100.100.100.200 168.63.129.16 192.0.0.192".split(),
    )
)


class AddressGuard:
    """Decides for one connection which addresses may be asked for a package."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, url: str | SignedUrl) -> urls.Url:
        """Check an address as it is written, and return where it leads.

        What its host resolves to is for :meth:`check_peer`.

        :raises PixxelAddressError: it isn't https (or http to this machine), or it leads to a literal address
            that isn't public.
        """
        url = SignedUrl.of(url)
        if "@" in url.authority:
            raise PixxelAddressError("The signed URL holds a user or password.")
        if url.authority and url.scheme not in urls.DEFAULT_PORTS:
            raise PixxelAddressError(
                f"The signed URL begins with {self._settings.redact(url.scheme)}://: "
                "a package comes over https."
            )
        place = url.place
        if place is None:
            raise PixxelAddressError("The signed URL isn't an address that can be asked.")
        in_the_clear = place.scheme == "http" and not is_loopback(place.host)
        if in_the_clear and place.origin != self._settings.origin:
            raise PixxelAddressError(
                f"The signed URL leads to {self._settings.redact(place.host)} over plain http, where "
                "others could read it; a package is fetched over https."
            )
        literal = literal_address(place.host)
        if literal is not None:
            self.check_peer(place.host, literal)
        return place

    def check_peer(self, host: str, address: str | Address) -> None:
        """Check the address that a host name stands for, before it is connected to.

        :raises PixxelAddressError: it isn't public, not on the network that the API itself is on, and not
            named by the connection's ``private_storage``.
        """
        found = ip_address(address)
        kind = kind_of(found)
        if kind == "public" or kind in self._own or self._named(host, found, kind):
            return
        hint = (
            " Where that is meant, name the host, or its network, in the extra 'private_storage' of "
            f"connection {self._settings.conn_id!r}."
        )
        raise PixxelAddressError(
            f"The signed URL leads to {self._settings.redact(host)} at {address}, which isn't a public "
            f"address but {_NAMES[kind]}: it isn't asked.{hint if kind in _OWN else ''}"
        )

    def _named(self, host: str, address: Address, kind: str) -> bool:
        named = self._settings.private_storage
        if kind == "forbidden":
            return named.hold(address, alone=True)
        inside = [each for each in _embedded(address) if _kind(each) != "public"]
        return named.name(host) or named.hold(address) or all(map(named.hold, inside))

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
    if settings.proxy is not None and settings.proxy != environment_proxy(settings.base_url):
        return settings.proxy
    return environment_proxy(url)


def _kind(address: Address) -> str:
    if _is_metadata(address) or address.is_link_local or address.is_multicast or address.is_unspecified:
        return "forbidden"
    if address.is_loopback:
        return "loopback"
    if isinstance(address, IPv6Address) and (address.is_site_local or address in _LOCAL_NAT64):
        # Python calls some of these global; they are for use inside a site.
        return "private"
    if address in _SHARED:
        return "shared"
    if address.is_reserved or address in _THIS_NETWORK:
        return "forbidden"
    if address.is_private:
        return "private"
    return "public" if address.is_global else "forbidden"


def _is_metadata(address: Address) -> bool:
    # Also at the end of an IPv6 address, whatever prefix a network uses for its NAT64.
    return address in _METADATA or IPv4Address(int(address) & 0xFFFFFFFF) in _METADATA


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


def _resolve(host: str) -> Iterator[Address]:
    literal = literal_address(host)
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
