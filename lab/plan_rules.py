"""NSG rules with service tags and ASGs resolved to addresses, for the subnet where they apply.

Azure: network-security-groups-overview, service-tags-overview. Default rules are those that
the network holds. Not for the order in which NSGs are asked (``program``), nor for routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network

from harness.network.model import (
    ANY_PORT,
    AddressSelector,
    Direction,
    IPNetwork,
    Network,
    NetworkSecurityGroup,
    PortRange,
    SecurityRule,
    key,
)
from lab.flatten import AddressRange, merge, range_of, subtract
from lab.plan_model import (
    PLATFORM_ADDRESS,
    AddressSet,
    ChainKey,
    Context,
    PlanError,
    PlannedRule,
    rule_id,
)
from lab.plan_routes import connected_peerings

NOT_INTERNET = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "25.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/3",
    )
)
"""What the Internet tag leaves out, as the effective rules of a real NIC list it (2017)."""
INTERNET6 = IPv6Network("2000::/3")
"""Global unicast, RFC 4291."""

_PLATFORM = IPv4Network(f"{PLATFORM_ADDRESS}/32")


def plan_chain(network: Network, chain: ChainKey) -> tuple[PlannedRule, ...]:
    """The rules of an NSG in one direction and context, in the order of their priority."""
    nsg = network.nsgs.get(chain.nsg)
    if nsg is None:
        raise PlanError(f"network security group {chain.nsg} does not exist")
    return tuple(
        PlannedRule(
            id=rule_id(nsg.id, rule.name, default=rule.default),
            access=rule.access,
            protocol=rule.protocol,
            source=_resolve(network, chain.context, nsg, rule, rule.source),
            source_ports=_ports(rule.source_ports),
            destination=_resolve(network, chain.context, nsg, rule, rule.destination),
            destination_ports=_ports(rule.destination_ports),
            explicit=_is_explicit(rule, chain.direction),
        )
        for rule in sorted(nsg.ordered(chain.direction), key=lambda rule: rule.priority)
    )


def _is_explicit(rule: SecurityRule, direction: Direction) -> bool:
    remote = rule.source if direction is Direction.INBOUND else rule.destination
    return not rule.default and bool(remote.prefixes or remote.asgs)


def address_set(prefixes: Iterator[IPNetwork]) -> AddressSet:
    """The addresses of some prefixes, of both families."""
    ranges: dict[int, list[AddressRange]] = {4: [], 6: []}
    for prefix in prefixes:
        ranges[prefix.version].append(range_of(prefix))
    return AddressSet(v4=merge(ranges[4]), v6=merge(ranges[6]))


def _ports(ranges: tuple[PortRange, ...]) -> tuple[PortRange, ...]:
    """Disjoint and ordered; empty where every port matches."""
    merged = merge(AddressRange(item.first, item.last) for item in ranges)
    ports = tuple(PortRange(first, last) for first, last in merged)
    return () if ports == (ANY_PORT,) else ports


def _resolve(
    network: Network, context: Context, nsg: NetworkSecurityGroup, rule: SecurityRule, side: AddressSelector
) -> AddressSet:
    if side.any:
        return AddressSet(any=True)
    parts = [address_set(iter(side.prefixes))]
    for tag in side.tags:
        resolve = _TAGS.get(tag.lower())
        if resolve is None:
            raise PlanError(
                f"{nsg.id}: rule {rule.name}: the lab does not know the addresses of service tag {tag}",
                hint="the lab knows VirtualNetwork, Internet and AzureLoadBalancer",
            )
        parts.append(resolve(network, context))
    parts += [_members(network, key(asg)) for asg in side.asgs]
    return AddressSet(
        v4=merge(item for part in parts for item in part.v4),
        v6=merge(item for part in parts for item in part.v6),
    )


def _members(network: Network, asg: str) -> AddressSet:
    """The addresses of the NICs that are members of an application security group."""
    ranges: dict[int, list[AddressRange]] = {4: [], 6: []}
    for nic in network.nics.values():
        if asg in nic.asgs:
            for config in nic.ip_configurations:
                number = int(config.address)
                ranges[config.address.version].append(AddressRange(number, number))
    return AddressSet(v4=merge(ranges[4]), v6=merge(ranges[6]))


def _virtual_network(network: Network, context: Context) -> AddressSet:
    """VNet and peers (as far as this side allows access), prefixes of user routes, the host VIP."""
    vnet = network.vnets[context.vnet]

    def prefixes() -> Iterator[IPNetwork]:
        yield from vnet.address_space
        for peering in connected_peerings(vnet):
            if peering.allow_virtual_network_access:
                yield from peering.remote_address_space
        if context.route_table is not None:
            yield from (route.prefix for route in network.route_tables[context.route_table].routes)
        yield _PLATFORM

    return address_set(prefixes())


def _internet(network: Network, context: Context) -> AddressSet:
    """Public space outside the VNet and its peers."""
    vnet = network.vnets[context.vnet]

    def private() -> Iterator[IPNetwork]:
        yield from NOT_INTERNET
        yield from vnet.address_space
        for peering in connected_peerings(vnet):
            yield from peering.remote_address_space

    holes = address_set(private())
    return AddressSet(
        v4=subtract([AddressRange(0, (1 << 32) - 1)], holes.v4),
        v6=subtract([range_of(INTERNET6)], holes.v6),
    )


def _azure_load_balancer(_network: Network, _context: Context) -> AddressSet:
    return address_set(iter([_PLATFORM]))


_TAGS: Mapping[str, Callable[[Network, Context], AddressSet]] = {
    "virtualnetwork": _virtual_network,
    "internet": _internet,
    "azureloadbalancer": _azure_load_balancer,
}
