r"""HTTP addresses, parsed strictly, because libraries interpret malformed ones differently.

``urllib.parse`` reads ``http://a\@b/`` as an address of host b, urllib3 connects to a. So an address is
parsed once, here, and later addresses are built from its parts and never from the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 3986, appendix B, for addresses with an authority.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.S)
_AUTHORITY = re.compile(r"(?:(.*)@)?(\[[^\[\]]*\]|[^:\[\]@]*)(?::([0-9]*))?", re.S)
# White space, control characters, and characters with two interpretations: no address needs them unescaped.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_NAME = 253
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_RESERVED = "!#$&'()*+,/:;=?@"


@dataclass(frozen=True)
class Url:
    """The parts of an http or https address."""

    scheme: str
    host: str
    """Lower case and ASCII, IPv6 without brackets."""
    port: int
    path: str
    query: str | None = field(repr=False)
    userinfo: str | None = field(default=None, repr=False)
    """User and password, as they were written."""

    @property
    def authority(self) -> str:
        """Return host and port as in an address; the default port is left out."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def origin(self) -> str:
        """Return scheme, host and port, the port always named."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{name}:{self.port}"


def parse(text: str) -> Url:
    """Parse an http or https address.

    :raises ValueError: it isn't one; the message has the reason and quotes nothing but its scheme.
    """
    if _FORBIDDEN.search(text):
        raise ValueError("holds white space, a backslash or a control character")
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError("isn't an address such as https://host/path")
    scheme, authority, path, query = found.groups()
    scheme = scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"must begin with https:// or http://, not {scheme[:20]}://")
    userinfo, host, port = read_authority(authority)
    return Url(scheme, host, port or DEFAULT_PORTS[scheme], path, query, userinfo)


def read_authority(text: str) -> tuple[str | None, str, int | None]:
    """Return user info, host and port of what stands between the slashes; None for what isn't there.

    :raises ValueError: the host or the port can't be one.
    """
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        raise ValueError("names a host whose brackets or port can't be read")
    userinfo, host, port = parts.groups()
    return userinfo, read_host(host), read_port(port)


def normal_path(path: str) -> str:
    """Return a path as all libraries send it: without dot segments, and escaped only where necessary."""
    found: list[str] = []
    parts = requoted(path).split("/")
    for part in parts:
        if part == "..":
            found[1:] = found[1:-1]
        elif part != ".":
            found.append(part)
    if parts[-1] in (".", ".."):
        found.append("")
    joined = "/".join(found)
    return joined if joined.startswith("/") else f"/{joined}"


def requoted(text: str) -> str:
    """Return a part of an address in which only the necessary characters are escaped (RFC 3986)."""

    def escape(match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if char in _UNRESERVED else f"%{match[1].upper()}"

    stray = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(re.sub(r"%([0-9A-Fa-f]{2})", escape, stray), safe=f"%{_RESERVED}~")


def read_port(text: str | None) -> int | None:
    """Return a port, None for an empty text.

    :raises ValueError: it isn't a number from 1 to 65535.
    """
    if not text:
        return None
    # Length first: Python refuses to parse thousands of digits, with a message of its own.
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65536:
        raise ValueError("names a port that isn't a number from 1 to 65535")
    return int(text)


def read_host(text: str) -> str:
    """Return a host as it is resolved: a name in lower case and ASCII, or an IP address without brackets.

    :raises ValueError: no host can have that name.
    """
    if text.startswith("[") or ":" in text:
        return _ipv6(text)
    name = text if text.isascii() else _idna(text)
    name = name.lower()
    labels = name.removesuffix(".").split(".")
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("names a host that no name service knows" if name else "names no host")
    if _NUMBER.fullmatch(labels[-1]):
        # getaddrinfo reads 127.1 and 0x7f000001 as addresses, others as names.
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise ValueError("names a host that is neither a name nor an IPv4 address") from None
    return name


def _ipv6(text: str) -> str:
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" in inside:
        raise ValueError("names an IPv6 address with a zone, which isn't supported")
    try:
        return str(IPv6Address(inside))
    except ValueError:
        raise ValueError("names a host whose IPv6 address can't be read") from None


def _idna(text: str) -> str:
    # The library that requests and yarl use, so that all of them resolve the same name.
    import idna

    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError("names a host that no name service knows") from None
