"""An Azure network -> what the lab's packet fabric does with it, as a pure :class:`FabricPlan`.

Resolves everything that depends on where it applies: port ids, effective routes, service tags,
application security groups. Shares no evaluation with the policy engine on purpose: the two are
independent readings of the same documents and are tested against each other. Not for making
anything real (``program``, ``fabric``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count
from types import MappingProxyType

from harness.network.model import Direction, IPAddress, Network, NetworkInterface, VirtualMachine, key
from lab.plan_model import (
    FABRIC_GATEWAY6,
    Binding,
    ChainKey,
    Context,
    FabricPlan,
    PlanError,
    Port,
    VNetPlan,
)
from lab.plan_routes import connected_peerings, plan_routes
from lab.plan_rules import address_set, plan_chain

__all__ = ["build_plan"]

_NO_PORTS: Mapping[str, int] = MappingProxyType({})
_MAC = re.compile(r"[0-9a-f]{12}")


def build_plan(network: Network, port_ids: Mapping[str, int] = _NO_PORTS) -> FabricPlan:
    """The plan of ``network``; NICs (keys) in ``port_ids`` keep their port id, new ones get the lowest free.

    Only NICs of VMs get a port. Raises PlanError that names the object which the fabric cannot carry.
    """
    ports = dict(_ports(network, port_ids))
    bindings = {port.id: _binding(network, network.nics[port.nic]) for port in ports.values()}
    addresses: dict[str, dict[IPAddress, int]] = {vnet: {} for vnet in network.vnets}
    for port in ports.values():
        _register(addresses[bindings[port.id].context.vnet], port, ports)
    contexts = dict.fromkeys(binding.context for binding in bindings.values())
    chains = dict.fromkeys(chain for binding in bindings.values() for chain in _chains(binding))
    return FabricPlan(
        ports=ports,
        bindings=bindings,
        vnets={vnet: _vnet(network, vnet, addresses[vnet]) for vnet in network.vnets},
        routes={context: plan_routes(network, context, addresses) for context in contexts},
        chains={chain: plan_chain(network, chain) for chain in chains},
    )


def _ports(network: Network, port_ids: Mapping[str, int]) -> Iterator[tuple[int, Port]]:
    names: dict[str, str] = {}
    taken = {number for nic, number in port_ids.items() if nic in network.nics}
    free = (number for number in count(1) if number not in taken)
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
            number = port_ids.get(key(nic_key)) or next(free)
            yield number, _port(network, vm, nic, f"eth{position}", number)


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
    digits = re.sub(r"[-:.]", "", nic.mac).lower() if nic.mac else f"000d3a{number & 0xFFFFFF:06x}"
    if not _MAC.fullmatch(digits):
        raise PlanError(f"{nic.id}: macAddress {nic.mac!r} is not a MAC address")
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
