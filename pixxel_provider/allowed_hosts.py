"""Hosts and networks that a field of the connection names, such as storage inside a private network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from pixxel_provider.api import urls
from pixxel_provider.api.errors import PixxelInputError

# What looks like a host or a network may be shown; anything else could be the key in the wrong field.
_SHOWN = re.compile(r"(?=.*[.:/*]).{1,45}")


@dataclass(frozen=True)
class AllowedHosts:
    """What a list such as ``*.storage.example, 10.20.0.0/16`` names."""

    names: frozenset[str] = frozenset()
    """Host names in small letters; ``*.example`` stands for all below it."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def name(self, host: str) -> bool:
        """Tell whether a host is named, itself or by a domain above it."""
        host = host.rstrip(".").lower()
        labels = host.split(".")
        above = (f"*.{'.'.join(labels[n:])}" for n in range(1, len(labels)))
        return host in self.names or any(pattern in self.names for pattern in above)

    def hold(self, address: IPv4Address | IPv6Address, *, alone: bool = False) -> bool:
        """Tell whether an address is in one of the networks.

        :param alone: only where the address is named by itself, and not a network around it.
        """
        return any(
            address in network and (not alone or network.num_addresses == 1) for network in self.networks
        )


def read_allowed_hosts(field: str, text: str) -> AllowedHosts:
    """Read host names, ``*.`` before a domain, addresses and networks (CIDR), separated by commas or blanks.

    :raises PixxelInputError: an entry is none of these; the message names it.
    """
    names: set[str] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for number, entry in enumerate(re.findall(r"[^\s,]+", text.lower()), 1):
        try:
            found = _read(entry)
        except ValueError as error:
            shown = repr(entry) if _SHOWN.fullmatch(entry) else f"entry {number}"
            why = ": it has host bits set" if "host bits" in str(error) else ""
            raise PixxelInputError(
                field,
                "must hold host names, *.domains, addresses and networks such as 10.0.0.0/8, "
                f"separated by commas; {shown} is none of these{why}",
            ) from None
        if isinstance(found, str):
            names.add(found)
        else:
            networks.append(found)
    return AllowedHosts(frozenset(names), tuple(networks))


def _read(entry: str) -> str | IPv4Network | IPv6Network:
    if ":" in entry or "/" in entry:
        bracketed = entry.startswith("[") and entry.endswith("]")
        if "%" in entry:
            raise ValueError("has a zone")
        return ip_network(entry[1:-1] if bracketed else entry)
    # A dot in front, as in NO_PROXY, means what "*." does.
    domain = entry.removeprefix("*") if entry.startswith("*.") else entry
    name = urls.read_host(domain.removeprefix(".")).rstrip(".")
    if domain.startswith("."):
        return f"*.{name}"
    return ip_network(name) if name.rpartition(".")[2].isdigit() else name
