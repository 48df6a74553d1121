"""Networks with what stands at their edge: balancers, NAT gateways, cloud services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from harness.network.balancing import (
    BackendAddressPool,
    FrontendIPConfiguration,
    InboundNatRule,
    LoadBalancer,
    LoadBalancingRule,
    NatGateway,
    OutboundRule,
    PublicIPAddress,
    PublicIPPrefix,
)
from harness.network.classic import ClassicEndpoint, CloudService, EndpointAclRule
from harness.network.model import Access, IpConfiguration, Network, NetworkInterface, PortRange, RuleProtocol
from harness.policy.compiled import Compiled
from harness.policy.decision import Options
from tests.harness.network.builders import arm_id, machine, network, nic_id, subnet_id, vnet, vnet_id

TCP, UDP, ANY = RuleProtocol.TCP, RuleProtocol.UDP, RuleProtocol.ANY
LB = arm_id("loadBalancers", "lb").lower()
CLIENT = ip_address("198.51.100.9")


def web(*more: Any) -> Network:
    """Three web servers with two address families each, and a database server."""
    return network(
        vnet(
            "v",
            ["10.0.0.0/16", "fd00::/48"],
            {"web": ["10.0.1.0/24", "fd00:0:0:1::/64"], "db": "10.0.2.0/24"},
        ),
        machine("web-01", "v/web", "10.0.1.4", "fd00:0:0:1::4"),
        machine("web-02", "v/web", "10.0.1.5", "fd00:0:0:1::5"),
        machine("web-03", "v/web", "10.0.1.6", "fd00:0:0:1::6"),
        machine("db-01", "v/db", "10.0.2.4"),
        *more,
    )


def nic(net: Network, vm: str) -> NetworkInterface:
    return net.nics[nic_id(f"nic-{vm}").lower()]


def configuration(net: Network, vm: str, number: int = 0) -> IpConfiguration:
    return nic(net, vm).ip_configurations[number]


def member(vm: str, number: int = 1) -> str:
    return f"{nic_id(f'nic-{vm}')}/ipConfigurations/ipconfig{number}".lower()


def public_ips(**addresses: str | None) -> dict[str, PublicIPAddress]:
    """Standard ones, by name; a name that starts with ``basic`` is of that SKU."""
    found = {}
    for name, text in addresses.items():
        identity = arm_id("publicIPAddresses", name)
        sku = "Basic" if name.startswith("basic") else "Standard"
        address = ip_address(text) if text else None
        found[identity.lower()] = PublicIPAddress(identity, name, address, sku)
    return found


def public_ip_key(name: str) -> str:
    return arm_id("publicIPAddresses", name).lower()


def prefix(name: str, text: str | None) -> dict[str, PublicIPPrefix]:
    identity = arm_id("publicIPPrefixes", name)
    return {identity.lower(): PublicIPPrefix(identity, name, ip_network(text) if text else None)}


def prefix_key(name: str) -> str:
    return arm_id("publicIPPrefixes", name).lower()


def frontend(
    name: str, public: str | None = None, private: str | None = None, of_prefix: str | None = None
) -> FrontendIPConfiguration:
    return FrontendIPConfiguration(
        f"{LB}/frontendIPConfigurations/{name}",
        name,
        public_ip=public_ip_key(public) if public else None,
        public_ip_prefix=prefix_key(of_prefix) if of_prefix else None,
        address=ip_address(private) if private else None,
        subnet=subnet_id("v/web").lower() if private else None,
    )


def pool(
    name: str, *members: str, addresses: Iterable[str] = (), vnet: str | None = "v"
) -> BackendAddressPool:
    home = vnet_id(vnet).lower() if vnet else None
    by_address = tuple((ip_address(text), home) for text in addresses)
    return BackendAddressPool(pool_key(name), name, members, by_address)


def frontend_key(name: str) -> str:
    return f"{LB}/frontendipconfigurations/{name}"


def pool_key(name: str) -> str:
    return f"{LB}/backendaddresspools/{name}"


def balanced(
    name: str,
    ports: tuple[int, int],
    protocol: RuleProtocol = TCP,
    at: str = "front",
    to: str = "pool",
    **more: Any,
) -> LoadBalancingRule:
    """``ports``: at the frontend, and behind."""
    identity = f"{LB}/loadBalancingRules/{name}"
    return LoadBalancingRule(identity, name, frontend_key(at), (pool_key(to),), protocol, *ports, **more)


def forwarded(
    name: str,
    first: int,
    behind: int,
    *,
    last: int = 0,
    to: str | None = None,
    over: str | None = None,
    at: str = "front",
) -> InboundNatRule:
    ports = PortRange(first, last or first)
    over_pool = pool_key(over) if over else None
    return InboundNatRule(
        f"{LB}/inboundNatRules/{name}", name, frontend_key(at), TCP, ports, behind, to, over_pool
    )


def leaving(
    name: str,
    *,
    by: Iterable[str] = ("front",),
    protocol: RuleProtocol = ANY,
    ports: int = 0,
    of: str = "pool",
) -> OutboundRule:
    frontends = tuple(frontend_key(item) for item in by)
    return OutboundRule(f"{LB}/outboundRules/{name}", name, frontends, pool_key(of), protocol, ports)


def with_balancer(net: Network, sku: str = "Standard", **parts: Any) -> Network:
    """``net`` with the load balancer ``lb``; every part is a tuple."""
    return replace(net, load_balancers={LB: LoadBalancer(LB, "lb", sku, **parts)})


def with_public_ip(net: Network, vm: str, name: str, address: str | None, number: int = 0) -> Network:
    """``net`` with a public IP address at an IP configuration of the VM's NIC."""
    old = nic(net, vm)
    configurations = list(old.ip_configurations)
    configurations[number] = replace(configurations[number], public_ip=public_ip_key(name))
    changed = replace(old, ip_configurations=tuple(configurations))
    known = {**net.public_ips, **public_ips(**{name: address})}
    return replace(net, nics={**net.nics, old.id.lower(): changed}, public_ips=known)


def with_nat_gateway(
    net: Network,
    addresses: Mapping[str, str | None],
    prefixes: Mapping[str, str | None] | None = None,
    sku: str = "Standard",
) -> Network:
    """``net`` with the NAT gateway ``nat`` at the web subnet."""
    identity = arm_id("natGateways", "nat")
    ranges = {
        key: value for name, text in (prefixes or {}).items() for key, value in prefix(name, text).items()
    }
    nat = NatGateway(identity, "nat", tuple(public_ips(**addresses)), tuple(ranges), sku)
    at = subnet_id("v/web").lower()
    return replace(
        net,
        nat_gateways={identity.lower(): nat},
        subnets={**net.subnets, at: replace(net.subnets[at], nat_gateway=identity.lower())},
        public_ips={**net.public_ips, **public_ips(**addresses)},
        public_ip_prefixes={**net.public_ip_prefixes, **ranges},
    )


def with_default_outbound(net: Network, allowed: bool | None) -> Network:
    at = subnet_id("v/web").lower()
    return replace(
        net, subnets={**net.subnets, at: replace(net.subnets[at], default_outbound_access=allowed)}
    )


def acl(*rules: tuple[int, str, str]) -> tuple[EndpointAclRule, ...]:
    """(order, permit or deny, remote subnet)."""
    words = {"permit": Access.ALLOW, "deny": Access.DENY}
    return tuple(
        EndpointAclRule(order, words[word], ip_network(subnet, strict=False)) for order, word, subnet in rules
    )


def endpoint(
    name: str, vm: str, public_port: int, private_port: int, protocol: RuleProtocol = TCP, **more: Any
) -> ClassicEndpoint:
    identity = f"/classic/{vm}/{name}"
    behind = nic_id(f"nic-{vm}").lower()
    return ClassicEndpoint(identity, name, protocol, public_port, private_port, behind, **more)


def with_cloud_service(
    net: Network, *endpoints: ClassicEndpoint, vms: Iterable[str] = ("web-01", "web-02")
) -> Network:
    """``net`` with the cloud service ``cs`` at 203.0.113.80."""
    nics = tuple(nic_id(f"nic-{vm}").lower() for vm in vms)
    service = CloudService("/classic/cs", "cs", ip_address("203.0.113.80"), nics, endpoints)
    return replace(net, cloud_services={"/classic/cs": service})


def view(net: Network, **options: Any) -> Compiled:
    return Compiled(net, Options(**options))
