"""A signed URL, parsed once into the parts for checks, the connection and the request."""

from __future__ import annotations

import contextlib
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from pixxel_provider.api import urls

Address = IPv4Address | IPv6Address

# Anything else is percent-encoded in an address, and libraries interpret it differently.
_PLAIN = re.compile(r"[!-~]+")
# Scheme, authority, path and query; a fragment isn't sent.
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(?:#.*)?", re.I)
# Some resolvers, and perhaps some proxies, treat such a name as an IPv4 address.
_HEXADECIMAL = re.compile(r"(?:.*\.)?0x[0-9a-f]*\.?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)


class SignedUrl:
    """A signed URL, parsed once. It gives access to the package, so no repr and no traceback shows it.

    :ivar scheme: in lower case; empty if the text isn't an address.
    :ivar place: its host and port, as the whole package uses them; None if no request can be sent there.
    :ivar target: path and query as they were signed, character by character.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.scheme = self.authority = self.target = ""
        self.place: urls.Url | None = None
        if _PLAIN.fullmatch(text) and (match := _URL.fullmatch(text)):
            scheme, self.authority, path, query = match.groups(default="")
            self.scheme, self.target = scheme.lower(), f"{path or '/'}{query}"
            with contextlib.suppress(ValueError):
                place = urls.parse(f"{scheme}://{self.authority}")
                self.place = None if _HEXADECIMAL.fullmatch(place.host) else place

    def __repr__(self) -> str:
        return f"<signed URL of {self.place.host if self.place else 'no host'}>"

    @property
    def absolute(self) -> str:
        """The whole address as it was signed, for a proxy."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def follow(self, location: str) -> SignedUrl:
        """Return the address of a redirect, its characters unchanged."""
        if _SCHEME.match(location):
            return SignedUrl(location)
        before = f"{self.scheme}://{self.authority}"
        if location.startswith("//"):
            return SignedUrl(f"{self.scheme}:{location}")
        path = self.target.partition("?")[0]
        if location.startswith("/"):
            return SignedUrl(f"{before}{location}")
        if location.startswith("?"):
            return SignedUrl(f"{before}{path}{location}")
        folder = path.rpartition("/")[0]
        while step := re.match(r"\.?\./", location):
            location = location[step.end() :]
            folder = folder.rpartition("/")[0] if len(step[0]) > 2 else folder
        return SignedUrl(f"{before}{folder}/{location}")


def literal_address(host: str) -> Address | None:
    """Return the address that a host is, in any spelling that the system's resolver accepts."""
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
