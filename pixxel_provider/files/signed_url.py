"""A signed URL, read once into the parts that it is judged, connected and asked by."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

# Anything else is percent-encoded in an address, and libraries don't agree on what it means.
_PLAIN = re.compile(r"[!-~]+")
# Scheme, authority, path and query; a fragment isn't sent.
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(?:#.*)?", re.I)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
# Some read a backslash or "%" as a part of the host, and some as its end.
_LABEL = "[a-z0-9_-]{1,63}"
_AUTHORITY = re.compile(
    rf"(?:\[([0-9a-f.]*:[0-9a-f:.]*)\]|((?:{_LABEL}\.)*{_LABEL}\.?))(?::([0-9]{{0,5}}))?", re.I
)
# A name whose last label is a number is an address, or nothing at all.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.I)
_PORTS = {"https": 443, "http": 80}
_LONGEST_HOST = 254


class SignedUrl:
    """A signed URL, read once; whoever has it has the package, so no repr of it, and no traceback, shows it.

    :ivar scheme: in small letters; empty where the text isn't an address that can be asked.
    :ivar target: path and query as they were signed, letter by letter.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.scheme = self.host = self.authority = self.target = ""
        self.port = 0
        if _PLAIN.fullmatch(text) and (found := _URL.fullmatch(text)):
            self._read(*found.groups(default=""))

    def _read(self, scheme: str, authority: str, path: str, query: str) -> None:
        self.scheme, self.authority = scheme.lower(), authority
        self.target = f"{path or '/'}{query}"
        found = _AUTHORITY.fullmatch(authority)
        if found and len(found[0]) <= _LONGEST_HOST:
            self.host = (found[1] or found[2]).lower()
            self.port = int(found[3] or _PORTS.get(self.scheme, 0))
            if (found[1] or _NUMBER.fullmatch(self.host)) and literal_address(self.host) is None:
                self.host = ""

    def __repr__(self) -> str:
        return f"<signed URL of {self.host or 'no host'}>"

    @classmethod
    def of(cls, url: str | SignedUrl) -> SignedUrl:
        """Return an address that may still be text as one that no traceback shows."""
        return url if isinstance(url, cls) else cls(str(url))

    @property
    def base(self) -> str:
        """Scheme, host and port, made of what was read."""
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def host_header(self) -> str:
        """The host, with its port where that isn't the scheme's usual one."""
        usual = self.port == _PORTS.get(self.scheme)
        return self._bracketed if usual else f"{self._bracketed}:{self.port}"

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

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


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
