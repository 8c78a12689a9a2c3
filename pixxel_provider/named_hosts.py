"""Hosts and networks that a field of the connection names, such as storage inside a private network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from pixxel_provider.api.errors import PixxelInputError

# With or without "*." in front. A last label of digits is an address, and not a name.
_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,62})\.)*(?![0-9]+$|0x)[a-z0-9_][a-z0-9_-]{0,62}")
# What looks like a host or a network may be shown; anything else could be the key in the wrong field.
_SHOWN = re.compile(r"(?=.*[.:/*]).{1,45}")


@dataclass(frozen=True)
class NamedHosts:
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


def read_named_hosts(field: str, text: str) -> NamedHosts:
    """Read host names, ``*.`` before a domain, addresses and networks (CIDR), separated by commas or blanks.

    :raises PixxelInputError: an entry is none of these; the message names it.
    """
    names: set[str] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for number, entry in enumerate(re.findall(r"[^\s,]+", text.lower()), 1):
        plain = entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry
        problem = ""
        try:
            if "%" not in plain:
                networks.append(ip_network(plain))
                continue
        except ValueError as error:
            problem = ": it has host bits set" if "host bits" in str(error) else ""
        # A dot in front, as in NO_PROXY, means what "*." does.
        name = f"*{entry}".rstrip(".") if entry.startswith(".") else entry.rstrip(".")
        if len(name) > 253 or not _NAME.fullmatch(name):
            shown = repr(entry) if _SHOWN.fullmatch(entry) else f"entry {number}"
            raise PixxelInputError(
                field,
                "must hold host names, *.domains, addresses and networks such as 10.0.0.0/8, "
                f"separated by commas; {shown} is none of these{problem}",
            )
        names.add(name)
    return NamedHosts(frozenset(names), tuple(networks))
