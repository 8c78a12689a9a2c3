"""A signed URL, read once into the parts that it is judged, connected and asked by."""

from __future__ import annotations

import contextlib
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from pixxel_provider.api import urls

Address = IPv4Address | IPv6Address

# Anything else is percent-encoded in an address, and libraries don't agree on what it means.
_PLAIN = re.compile(r"[!-~]+")
# Scheme, authority, path and query; a fragment isn't sent.
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(?:#.*)?", re.I)
# Some resolvers, and who knows which proxies, take such a name for an IPv4 address.
_HEXADECIMAL = re.compile(r"(?:.*\.)?0x[0-9a-f]*\.?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)


class SignedUrl:
    """A signed URL, read once; whoever has it has the package, so no repr of it, and no traceback, shows it.

    :ivar scheme: in small letters; empty where the text isn't an address.
    :ivar place: where it leads, as the whole package reads that; None where nobody can be asked there.
    :ivar target: path and query as they were signed, letter by letter.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.scheme = self.authority = self.target = ""
        self.place: urls.Url | None = None
        if _PLAIN.fullmatch(text) and (found := _URL.fullmatch(text)):
            scheme, self.authority, path, query = found.groups(default="")
            self.scheme, self.target = scheme.lower(), f"{path or '/'}{query}"
            with contextlib.suppress(ValueError):
                place = urls.parse(f"{scheme}://{self.authority}")
                self.place = None if _HEXADECIMAL.fullmatch(place.host) else place

    def __repr__(self) -> str:
        return f"<signed URL of {self.place.host if self.place else 'no host'}>"

    @classmethod
    def of(cls, url: str | SignedUrl) -> SignedUrl:
        """Return an address that may still be text as one that no traceback shows."""
        return url if isinstance(url, cls) else cls(str(url))

    @property
    def absolute(self) -> str:
        """The whole address as it was signed, for a proxy that fetches it."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def follow(self, location: str) -> SignedUrl:
        """Return the address that a redirect leads to, its letters as they are."""
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
