"""An Azure network -> what the lab's packet fabric does with it, as a pure :class:`FabricPlan`.

Resolves everything that depends on where it applies: port ids, effective routes, service tags,
application security groups. Shares no evaluation with the policy engine on purpose: the two are
independent readings of the same documents and are tested against each other. Not for making
anything real (``program``, ``fabric``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from types import MappingProxyType

from harness.network.model import Direction, IPAddress, Network, NetworkInterface, VirtualMachine, key
from lab.plan_edge import check_hosts, edge_keys, edge_port, host_key, host_port, needs_edges, plan_edges
from lab.plan_model import (
    FABRIC_GATEWAY6,
    INTERNET,
    AddressSet,
    Binding,
    ChainKey,
    Context,
    DropReason,
    EdgePlan,
    FabricPlan,
    InternetHost,
    PlanError,
    Port,
    RouteTarget,
    VNetPlan,
)
from lab.plan_routes import connected_peerings, plan_routes
from lab.plan_rules import address_set, plan_chain

__all__ = ["build_plan"]

_NO_PORTS: Mapping[str, int] = MappingProxyType({})
_MAC = re.compile(r"[0-9a-f]{12}")


def build_plan(
    network: Network,
    port_ids: Mapping[str, int] = _NO_PORTS,
    internet_hosts: Sequence[InternetHost] = (),
) -> FabricPlan:
    """The plan of ``network`` and the internet around it.

    NICs (and what else has a port) in ``port_ids`` keep their port id, new ones get the lowest free.
    Only NICs of VMs get a port. VNets have an edge where there is somebody on the internet, or a public
    IP. Raises PlanError that names the object which the fabric cannot carry.
    """
    check_hosts(network, internet_hosts)
    nics = list(_nics(network))
    numbers = _numbered(network, [key(nic.id) for _, nic, _ in nics], internet_hosts, port_ids)
    at_nics = [_port(network, vm, nic, interface, numbers[key(nic.id)]) for vm, nic, interface in nics]
    bindings = {port.id: _binding(network, network.nics[port.nic]) for port in at_nics}
    addresses: dict[str, dict[IPAddress, int]] = {vnet: {} for vnet in network.vnets}
    by_number = {port.id: port for port in at_nics}
    for port in at_nics:
        _register(addresses[bindings[port.id].context.vnet], port, by_number)
    contexts = dict.fromkeys(binding.context for binding in bindings.values())
    chains = dict.fromkeys(chain for binding in bindings.values() for chain in _chains(binding))
    at_hosts = [
        host_port(host, number, _generated_mac(number))
        for host in internet_hosts
        for number in (numbers[host_key(host)],)
    ]
    edges = plan_edges(network, _edge_ports(network, numbers), internet_hosts)
    return FabricPlan(
        ports={port.id: port for port in (*at_nics, *at_hosts)},
        bindings=bindings,
        vnets={
            **{vnet: _vnet(network, vnet, addresses[vnet]) for vnet in network.vnets},
            **({INTERNET: _internet(at_hosts, edges.values())} if edges or at_hosts else {}),
        },
        routes={
            context: plan_routes(network, context, addresses, _way_out(edges, context.vnet))
            for context in contexts
        },
        chains={chain: plan_chain(network, chain) for chain in chains},
        edges=edges,
    )


def _nics(network: Network) -> Iterator[tuple[VirtualMachine, NetworkInterface, str]]:
    """Every NIC of a VM, with its interface in the guest."""
    names: dict[str, str] = {}
    for vm in network.vms.values():
        if (other := names.setdefault(vm.name.lower(), vm.id)) != vm.id:
            raise PlanError(
                f"two VMs have the name {vm.name}: {other} and {vm.id}",
                hint="the lab knows VMs by name; rename one",
            )
        for position, nic_key in enumerate(vm.nics):
            nic = network.nics.get(key(nic_key))
            if nic is None:
                raise PlanError(f"{vm.id}: network interface {nic_key} does not exist")
            yield vm, nic, f"eth{position}"


def _numbered(
    network: Network, nics: Sequence[str], hosts: Sequence[InternetHost], known: Mapping[str, int]
) -> dict[str, int]:
    """A port id for everything that has a port: NICs, hosts on the internet, edges on either side."""
    wanted = [*nics, *(host_key(host) for host in hosts)]
    if needs_edges(network, hosts):
        homes = dict.fromkeys(network.subnets[network.nics[nic].subnet].vnet for nic in nics)
        wanted += [name for vnet in homes for name in edge_keys(vnet)]
    taken = {known[name] for name in wanted if name in known}
    free = (number for number in count(1) if number not in taken)
    return {name: known.get(name) or next(free) for name in wanted}


def _edge_ports(network: Network, numbers: Mapping[str, int]) -> dict[str, tuple[Port, Port]]:
    """The ports inside and outside of every VNet that has an edge."""
    found = {}
    for name, vnet in network.vnets.items():
        inside, outside = (numbers.get(port) for port in edge_keys(name))
        if inside is not None and outside is not None:
            found[name] = (
                edge_port(vnet, inside, _generated_mac(inside), outside=False),
                edge_port(vnet, outside, _generated_mac(outside), outside=True),
            )
    return found


def _internet(hosts: Iterable[Port], edges: Iterable[EdgePlan]) -> VNetPlan:
    """Who has which public address: the first one where several claim it."""
    addresses = {address: port.id for port in hosts for address, _ in port.addresses}
    for edge in edges:
        for address in sorted(edge.public_addresses, key=int):
            addresses.setdefault(address, edge.outside.id)
    return VNetPlan(INTERNET, AddressSet(any=True), addresses, frozenset())


def _way_out(edges: Mapping[str, EdgePlan], vnet: str) -> RouteTarget:
    if vnet not in edges:
        return RouteTarget.drop(DropReason.INTERNET)
    return RouteTarget.edge(vnet, edges[vnet].inside.id)


def _port(network: Network, vm: VirtualMachine, nic: NetworkInterface, interface: str, number: int) -> Port:
    addresses = tuple(
        (config.address, _prefix_length(network, nic, config.address))
        for config in sorted(nic.ip_configurations, key=lambda config: not config.primary)
    )
    # Azure: the first address of a subnet is its default gateway
    gateway4 = next(
        (
            prefix.network_address + 1
            for prefix in network.subnets[nic.subnet].prefixes
            if prefix.version == 4 and any(address in prefix for address, _ in addresses)
        ),
        None,
    )
    return Port(
        id=number,
        nic=key(nic.id),
        vm=vm.name,
        interface=interface,
        mac=_mac(nic, number),
        addresses=addresses,
        gateway4=gateway4,
        gateway6=FABRIC_GATEWAY6 if any(address.version == 6 for address, _ in addresses) else None,
        ip_forwarding=nic.ip_forwarding,
    )


def _prefix_length(network: Network, nic: NetworkInterface, address: IPAddress) -> int:
    """What Azure's DHCP hands out: the subnet's prefix length for IPv4, a single address for IPv6."""
    subnet = network.subnets.get(nic.subnet)
    if subnet is None:
        raise PlanError(f"{nic.id}: subnet {nic.subnet} does not exist")
    for prefix in subnet.prefixes:
        if address in prefix:
            return prefix.prefixlen if address.version == 4 else 128
    raise PlanError(f"{nic.id}: address {address} is in no prefix of subnet {subnet.id}")


def _mac(nic: NetworkInterface, number: int) -> str:
    if not nic.mac:
        return _generated_mac(number)
    digits = re.sub(r"[-:.]", "", nic.mac).lower()
    if not _MAC.fullmatch(digits):
        raise PlanError(f"{nic.id}: macAddress {nic.mac!r} is not a MAC address")
    return _with_colons(digits)


def _generated_mac(number: int) -> str:
    return _with_colons(f"000d3a{number & 0xFFFFFF:06x}")


def _with_colons(digits: str) -> str:
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))


def _binding(network: Network, nic: NetworkInterface) -> Binding:
    subnet = network.subnets[nic.subnet]
    return Binding(Context(subnet.vnet, subnet.route_table), nic_nsg=nic.nsg, subnet_nsg=subnet.nsg)


def _register(addresses: dict[IPAddress, int], port: Port, ports: Mapping[int, Port]) -> None:
    for address, _ in port.addresses:
        other = addresses.setdefault(address, port.id)
        if other != port.id:
            raise PlanError(f"{port.nic} and {ports[other].nic} both have the address {address}")


def _chains(binding: Binding) -> Iterator[ChainKey]:
    for nsg in (binding.nic_nsg, binding.subnet_nsg):
        if nsg is not None:
            for direction in Direction:
                yield ChainKey(nsg, direction, binding.context)


def _vnet(network: Network, vnet_key: str, addresses: Mapping[IPAddress, int]) -> VNetPlan:
    vnet = network.vnets[vnet_key]
    return VNetPlan(
        key=vnet_key,
        space=address_set(iter(vnet.address_space)),
        addresses=addresses,
        forwarded_from=frozenset(
            key(peering.remote_vnet)
            for peering in connected_peerings(vnet)
            if peering.allow_forwarded_traffic
        ),
    )
