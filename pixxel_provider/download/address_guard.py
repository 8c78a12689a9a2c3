"""Which addresses a signed URL may have: public ones over TLS, and none inside a company or a cloud.

A manipulated signed URL must not make a worker send requests to, say, a cloud's metadata service. So
an address is parsed once, by :class:`SignedUrl`: the checked address is the one that is connected to.
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
# Their names in messages.
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
# Metadata services of clouds, and their services for credentials, where these aren't link-local.
_METADATA = frozenset(
    map(
        ip_address,
        "fd00:ec2::254 fd00:ec2::23 fd00:ec2::123 fd00:ec2::253 fd20:ce::254 fd00:42::42 fd00:c1::a9fe:a9fe "
        "169.254.169.254 100.100.100.200 168.63.129.16 192.0.0.192".split(),
    )
)


class AddressGuard:
    """Decides for one connection from which addresses a package may be downloaded."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, url: SignedUrl) -> urls.Url:
        """Check an address as it is written, and return its parts.

        The addresses that its host resolves to are for :meth:`check_peer`.

        :raises PixxelAddressError: it isn't https (or http to this machine), or it leads to a literal address
            that isn't public.
        """
        if "@" in url.authority:
            raise PixxelAddressError("The signed URL holds a user or password.")
        if url.authority and url.scheme not in urls.DEFAULT_PORTS:
            raise PixxelAddressError(
                f"The signed URL begins with {self._settings.redact(url.scheme)}://: "
                "a package is only downloaded over https."
            )
        place = url.place
        if place is None:
            raise PixxelAddressError("The signed URL isn't an address that can be requested.")
        in_the_clear = place.scheme == "http" and not is_loopback(place.host)
        if in_the_clear and place.origin != self._settings.origin:
            raise PixxelAddressError(
                f"The signed URL leads to {self._settings.redact(place.host)} over plain http, where "
                "others could read it; a package is only downloaded over https."
            )
        literal = literal_address(place.host)
        if literal is not None:
            self.check_peer(place.host, literal)
        return place

    def check_peer(self, host: str, address: str | Address) -> None:
        """Check an address that a host name resolves to, before it is connected to.

        :raises PixxelAddressError: it isn't public, not on the network that the API itself is on, and not
            named by the connection's ``private_storage``.
        """
        peer = ip_address(address)
        kind = kind_of(peer)
        if kind == "public" or kind in self._own or self._named(host, peer, kind):
            return
        hint = (
            " If that is intended, name the host, or its network, in the extra 'private_storage' of "
            f"connection {self._settings.conn_id!r}."
        )
        raise PixxelAddressError(
            f"The signed URL leads to {self._settings.redact(host)} at {address}, which isn't a public "
            f"address but {_NAMES[kind]}: no request is sent to it.{hint if kind in _OWN else ''}"
        )

    def _named(self, host: str, address: Address, kind: str) -> bool:
        named = self._settings.private_storage
        if kind == "forbidden":
            return named.hold(address, alone=True)
        inside = [each for each in _embedded(address) if _kind(each) != "public"]
        return named.name(host) or named.hold(address) or all(map(named.hold, inside))

    @cached_property
    def _own(self) -> frozenset[str]:
        """The kinds of addresses that the API's own host has, of those in use inside a company."""
        host = urlsplit(self._settings.base_url).hostname or ""
        return frozenset(kind_of(address) for address in _resolve(host)) & _OWN


def kind_of(address: Address) -> str:
    """Return the kind of network of an address: ``public``, or a key of the names for messages."""
    return next((kind for kind in map(_kind, _embedded(address)) if kind != "public"), "public")


def proxy_for(settings: Settings, url: str) -> str | None:
    """Return the proxy for a storage host: the connection's own, or the environment's for that host.

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
        # Python treats some of these as global; they are for use inside a site.
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
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        # Behind a proxy, names may not resolve here; then only public addresses are permitted.
        return
    for entry in entries:
        yield ip_address(entry[4][0])
