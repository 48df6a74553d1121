"""Hands out a subnet's private addresses as Azure does: from .4 on, the lowest free one.

Azure keeps the first four addresses of a subnet and the last one of an IPv4 subnet.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_RESERVED = 4


class AddressPool:
    """The addresses of one subnet. Take the given ones first, then ask for free ones."""

    def __init__(self, prefixes: Iterable[IPNetwork]) -> None:
        self._prefixes = tuple(prefixes)
        self._taken: set[IPAddress] = set()
        self._cursor = dict.fromkeys(self._prefixes, _RESERVED)

    def take(self, address: IPAddress) -> IPAddress:
        """Reserves this address; raises ValueError if it is outside, Azure's own, or taken."""
        prefix = next((prefix for prefix in self._prefixes if address in prefix), None)
        if prefix is None:
            raise ValueError(f"{address} is not in the subnet {', '.join(map(str, self._prefixes))}")
        if not self._usable(prefix, int(address) - int(prefix.network_address)):
            raise ValueError(f"{address} is reserved: Azure keeps the first four and the last of a subnet")
        if address in self._taken:
            raise ValueError(f"{address} is given twice")
        self._taken.add(address)
        return address

    def next(self, family: int) -> IPAddress:
        """The lowest free address of a family; raises ValueError if there is none."""
        for prefix in self._prefixes:
            if prefix.version != family:
                continue
            offset = self._cursor[prefix]
            while self._usable(prefix, offset):
                address = prefix[offset]
                offset += 1
                self._cursor[prefix] = offset
                if address not in self._taken:
                    self._taken.add(address)
                    return address
        of_family = [str(prefix) for prefix in self._prefixes if prefix.version == family]
        if not of_family:
            raise ValueError(f"the subnet has no IPv{family} prefix")
        raise ValueError(f"the subnet {', '.join(of_family)} has no free address left")

    @staticmethod
    def _usable(prefix: IPNetwork, offset: int) -> bool:
        last = prefix.num_addresses - (1 if prefix.version == 4 else 0)
        return _RESERVED <= offset < last
