"""The ends of flows as people know them: a VM's address with its names, its place and its NSGs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from ipaddress import ip_address, ip_network

from harness.errors import UnknownNameError
from harness.network.model import Network, key
from harness.policy.classes import Endpoint
from harness.policy.reachability import machine_of
from harness.predict.names import NaturalKey, natural_key, unambiguous
from harness.text import plain

_KNOWN = 10
"""Names that an error lists."""


@dataclass(frozen=True, slots=True)
class End:
    """An address of a VM (of a NIC that has none). Names are unambiguous in their network and safe to print.

    ``machine`` is a key: nothing is asked from a machine to itself. ``subnet`` is ``vnet/subnet``.
    """

    machine: str
    name: str
    nic: str
    address: str
    family: int
    vnet: str
    subnet: str
    nsgs: tuple[str, ...]

    @property
    def order(self) -> tuple[NaturalKey, NaturalKey, NaturalKey, int]:
        """The order of tables and pictures: virtual network, subnet, name, address."""
        return (
            natural_key(self.vnet),
            natural_key(self.subnet),
            natural_key(self.name),
            int(ip_address(self.address)),
        )


def ends_of(network: Network, endpoints: Iterable[Endpoint]) -> tuple[End, ...]:
    """The endpoints in their order."""
    found = tuple(endpoints)
    nics = {key(endpoint.nic.id): endpoint.nic for endpoint in found}
    machines = unambiguous(_machine_id(network, endpoint) for endpoint in found)
    nic_names = unambiguous(nic.id for nic in nics.values())
    vnets = unambiguous(vnet.id for vnet in network.vnets.values())
    nsgs = unambiguous(nsg.id for nsg in network.nsgs.values())
    ends = []
    for endpoint in found:
        nic, address = endpoint.nic, endpoint.configuration.address
        subnet = network.subnets[nic.subnet]
        machine = machine_of(endpoint)
        vnet = vnets[subnet.vnet]
        ends.append(
            End(
                machine=machine,
                name=machines[machine],
                nic=nic_names[key(nic.id)],
                address=str(address),
                family=address.version,
                vnet=vnet,
                subnet=f"{vnet}/{plain(subnet.name)}",
                nsgs=tuple(dict.fromkeys(nsgs[nsg] for nsg in (subnet.nsg, nic.nsg) if nsg is not None)),
            )
        )
    return tuple(ends)


def _machine_id(network: Network, endpoint: Endpoint) -> str:
    """The machine's id as it is spelled; its key where the network does not hold the VM."""
    vm = network.vms.get(machine_of(endpoint))
    return vm.id if vm is not None else endpoint.nic.vm or endpoint.nic.id


def labels_of(ends: Iterable[End]) -> tuple[str, ...]:
    """For each end the machine's name, with the address where the machine has several of its family."""
    found = tuple(ends)
    uses = Counter((end.machine, end.family) for end in found)
    return tuple(
        end.name if uses[end.machine, end.family] == 1 else f"{end.name} {end.address}" for end in found
    )


def chosen(ends: Sequence[End], patterns: Sequence[str], option: str) -> tuple[int, ...]:
    """The positions of the ends that a pattern means, in the order of tables; no pattern: all.

    A pattern is a glob of a VM's or a NIC's name or of an address, or a prefix (``10.1.0.0/16``).
    Raises UnknownNameError for one that means nothing.
    """
    found: set[int] = set()
    for pattern in patterns:
        mine = _matching(ends, pattern)
        if not mine:
            names = list(dict.fromkeys(end.name for end in ends))
            more = f" and {len(names) - _KNOWN:,} more" if len(names) > _KNOWN else ""
            raise UnknownNameError(
                f"{option}: '{plain(pattern)}' matches no VM, NIC or address",
                hint=f"there are: {', '.join(names[:_KNOWN])}{more}",
            )
        found.update(mine)
    return tuple(sorted(found if patterns else range(len(ends)), key=lambda place: ends[place].order))


def _matching(ends: Sequence[End], pattern: str) -> set[int]:
    try:
        prefix = ip_network(pattern.strip(), strict=False)
    except ValueError:
        matches = re.compile(translate(pattern.strip().lower())).match
        return {
            place
            for place, end in enumerate(ends)
            if matches(end.name.lower())
            or matches(end.name.rpartition("/")[2].lower())
            or matches(end.nic.lower())
            or matches(end.address)
        }
    return {place for place, end in enumerate(ends) if ip_address(end.address) in prefix}
