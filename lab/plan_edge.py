"""What the Internet edge of each VNet translates: public IPs, NAT gateways, default outbound access.

Azure: nat-overview, public-ip-addresses, default-outbound-access. A table of private addresses as
pure data; load balancers are to fill in more of it. Shares no evaluation with the policy engine, on
purpose (see ``plan``). Not for carrying it out (``edge_rules``, ``edge``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from harness.network.model import (
    IPAddress,
    IpConfiguration,
    Network,
    NetworkInterface,
    PublicIPAddress,
    Subnet,
    VirtualNetwork,
    key,
)
from lab.plan_model import (
    FABRIC_GATEWAY6,
    INTERNET,
    EdgePlan,
    InternetHost,
    Outbound,
    OutboundMethod,
    PlanError,
    Port,
    Translation,
)
from lab.plan_rules import INTERNET6, NOT_INTERNET

OWN_ADDRESSES = (IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.0/24"))
"""Where default outbound access takes its addresses from, the highest first (RFC 5737). Azure's own
documents use 192.0.2.0/24 too, but the Internet tag leaves that out."""

_OUTSIDE = (IPv4Address("169.254.0.2"), IPv4Address("169.254.0.1"))
_INSIDE = (IPv4Address("169.254.0.6"), IPv4Address("169.254.0.5"))
"""An edge's own address on a side and its next hop there; nobody else ever sees them."""
_LINK_LENGTH = 30
_HOST_LENGTH = {4: 24, 6: 128}


def needs_edges(network: Network, hosts: Collection[InternetHost]) -> bool:
    """Whether the internet makes a difference to any machine of the lab."""
    return bool(hosts) or any(
        config.public_ip is not None for nic in network.nics.values() for config in nic.ip_configurations
    )


def edge_keys(vnet: str) -> tuple[str, str]:
    """What the ports of a VNet's edge are known by: inside, outside."""
    return f"{vnet}/edge/inside", f"{vnet}/edge/outside"


def host_key(host: InternetHost) -> str:
    """What the port of a host on the internet is known by."""
    return f"{INTERNET}/hosts/{host.name}"


def check_hosts(network: Network, hosts: Sequence[InternetHost]) -> None:
    """Raises PlanError for a host that the internet cannot have."""
    names = {vm.name.lower(): vm.id for vm in network.vms.values()}
    owners = {public.address: public.id for public in network.public_ips.values() if public.address}
    for host in hosts:
        label = f"internet host {host.name}"
        if (other := names.setdefault(host.name.lower(), label)) is not label:
            raise PlanError(
                f"{label} has the name of {other}", hint="the lab knows machines by name; rename one"
            )
        for address in host.addresses:
            if not _is_public(address):
                raise PlanError(
                    f"{label}: {address} is no address that Azure counts as Internet",
                    hint="take one of 198.51.100.0/24, 203.0.113.0/24 or 2001:db8::/32",
                )
            if (other := owners.setdefault(address, label)) is not label:
                raise PlanError(f"{label} and {other} both have the address {address}")


def host_port(host: InternetHost, number: int, mac: str) -> Port:
    """The port of a host on the internet; its gateway is the first address, as in any network."""
    gateway = next(
        (
            IPv4Network((int(address), _HOST_LENGTH[4]), strict=False).network_address + 1
            for address in host.addresses
            if isinstance(address, IPv4Address)
        ),
        None,
    )
    has_6 = any(isinstance(address, IPv6Address) for address in host.addresses)
    return Port(
        id=number,
        nic=host_key(host),
        vm=host.name,
        interface="eth0",
        mac=mac,
        addresses=tuple((address, _HOST_LENGTH[address.version]) for address in host.addresses),
        gateway4=gateway,
        gateway6=FABRIC_GATEWAY6 if has_6 else None,
        ip_forwarding=False,
    )


def edge_port(vnet: VirtualNetwork, number: int, mac: str, *, outside: bool) -> Port:
    """One port of a VNet's edge. It forwards, so that nobody asks for the addresses that it sends from."""
    own, next_hop = _OUTSIDE if outside else _INSIDE
    return Port(
        id=number,
        nic=edge_keys(key(vnet.id))[outside],
        vm=f"edge of {vnet.id}",
        # eth0 is where a machine's default route leads
        interface="eth0" if outside else "eth1",
        mac=mac,
        addresses=((own, _LINK_LENGTH),),
        gateway4=next_hop,
        gateway6=FABRIC_GATEWAY6 if any(prefix.version == 6 for prefix in vnet.address_space) else None,
        ip_forwarding=True,
    )


def plan_edges(
    network: Network, ports: Mapping[str, tuple[Port, Port]], hosts: Collection[InternetHost]
) -> dict[str, EdgePlan]:
    """The edges of the VNets in ``ports``, which holds the port inside and the one outside."""
    spare = _spare_addresses(network, hosts)
    edges = {}
    for vnet, (inside, outside) in ports.items():
        edges[vnet] = EdgePlan(
            vnet=vnet,
            inside=inside,
            outside=outside,
            space=network.vnets[vnet].address_space,
            translations=tuple(_translations(network, vnet, next(spare, None))),
        )
    return edges


def _is_public(address: IPAddress) -> bool:
    if address.version == 6:
        return address in INTERNET6
    return not any(address in prefix for prefix in NOT_INTERNET)


def _spare_addresses(network: Network, hosts: Collection[InternetHost]) -> Iterator[IPv4Address]:
    taken = {public.address for public in network.public_ips.values()}
    taken.update(address for host in hosts for address in host.addresses)
    prefixes = [item.prefix for item in network.public_ip_prefixes.values() if item.prefix is not None]
    for space in OWN_ADDRESSES:
        for address in reversed(list(space.hosts())):
            if address not in taken and not any(address in prefix for prefix in prefixes):
                yield address


def _translations(network: Network, vnet: str, spare: IPv4Address | None) -> Iterator[Translation]:
    """Of every private address of a machine in the VNet; ``spare`` is for default outbound access."""
    for nic in network.nics.values():
        subnet = network.subnets[nic.subnet]
        if subnet.vnet != vnet or nic.vm is None:
            continue
        for config in nic.ip_configurations:
            public = _public_ip(network, config)
            address = public.address if public is not None else None
            is_open = public is not None and (nic.nsg or subnet.nsg or public.sku.lower() == "basic")
            outbound = _outbound(network, nic, subnet, config, spare)
            yield Translation(config.address, address if is_open else None, outbound)


def _public_ip(network: Network, config: IpConfiguration) -> PublicIPAddress | None:
    """The public IP of a configuration, if it has one of the same family."""
    public = network.public_ips.get(config.public_ip) if config.public_ip is not None else None
    if public is None or (public.address is not None and public.address.version != config.address.version):
        return None
    return public


def _outbound(
    network: Network,
    nic: NetworkInterface,
    subnet: Subnet,
    config: IpConfiguration,
    spare: IPv4Address | None,
) -> Outbound | None:
    """By what an address leaves: its subnet's NAT gateway, its public IP, default outbound access."""
    gateway = _nat_gateway_address(network, subnet, config.address.version)
    if gateway is not None:
        return Outbound(OutboundMethod.NAT_GATEWAY, gateway)
    public = _public_ip(network, config)
    if public is not None and public.address is not None:
        return Outbound(OutboundMethod.PUBLIC_IP, public.address)
    if config.address.version != 4 or spare is None or not _has_default_access(network, nic, subnet):
        return None
    return Outbound(OutboundMethod.DEFAULT_ACCESS, spare)


def _nat_gateway_address(network: Network, subnet: Subnet, family: int) -> IPAddress | None:
    """The first public address of the subnet's NAT gateway; Standard ones have IPv4 only."""
    gateway = network.nat_gateways.get(subnet.nat_gateway) if subnet.nat_gateway is not None else None
    if gateway is None or (family == 6 and gateway.sku.lower() == "standard"):
        return None
    for name in gateway.public_ips:
        public = network.public_ips.get(name)
        if public is not None and public.address is not None and public.address.version == family:
            return public.address
    for name in gateway.public_ip_prefixes:
        item = network.public_ip_prefixes.get(name)
        if item is not None and item.prefix is not None and item.prefix.version == family:
            return item.prefix.network_address
    return None


def _has_default_access(network: Network, nic: NetworkInterface, subnet: Subnet) -> bool:
    """Any explicit method at subnet or machine takes it away, in force or not (default-outbound-access)."""
    if subnet.default_outbound_access is False or subnet.nat_gateway is not None:
        return False
    machine = network.vms.get(nic.vm) if nic.vm is not None else None
    nics = (
        [network.nics[name] for name in map(key, machine.nics) if name in network.nics] if machine else [nic]
    )
    configs = [config for item in nics for config in item.ip_configurations]
    publics = [network.public_ips.get(config.public_ip) for config in configs if config.public_ip is not None]
    if any(public is not None and public.sku.lower() != "basic" for public in publics):
        return False
    mine = {key(config.id) for config in configs}
    return not any(
        balancer.sku.lower() == "standard" and mine.intersection(map(key, pool.members))
        for balancer in network.load_balancers.values()
        for pool in balancer.pools
    )
