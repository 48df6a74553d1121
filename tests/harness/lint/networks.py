"""Networks for the tests of the linter, and one-line questions."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from harness.lint.finding import LintFinding, Severity
from harness.lint.registry import chosen, lint
from harness.network.balancing import (
    BackendAddressPool,
    FrontendIPConfiguration,
    InboundNatRule,
    LoadBalancer,
    LoadBalancingRule,
    OutboundRule,
    PublicIPAddress,
)
from harness.network.gateways import GatewayConnection, LocalNetworkGateway, VirtualNetworkGateway
from harness.network.model import Network, PortRange, RuleProtocol, Subnet, key, short_name
from tests.harness.network.builders import arm_id, nic_id, subnet_id, vnet_id


def findings(net: Network, check: str) -> tuple[LintFinding, ...]:
    return lint(net, chosen([check]))


def found(net: Network, check: str) -> list[str]:
    """The names of the objects at which a check finds something."""
    return [short_name(item.object_id) for item in findings(net, check)]


def severities(net: Network, check: str) -> list[Severity]:
    return [item.severity for item in findings(net, check)]


def with_subnet(net: Network, path: str, **changes: Any) -> Network:
    subnets: dict[str, Subnet] = {**net.subnets}
    subnets[key(subnet_id(path))] = replace(subnets[key(subnet_id(path))], **changes)
    return replace(net, subnets=subnets)


def with_peering(net: Network, vnet: str, remote: str, **changes: Any) -> Network:
    """Changes the peering that ``vnet`` has with ``remote``."""
    owner = net.vnets[key(vnet_id(vnet))]
    peerings = tuple(
        replace(peering, **changes) if peering.remote_vnet == key(vnet_id(remote)) else peering
        for peering in owner.peerings
    )
    return replace(net, vnets={**net.vnets, key(owner.id): replace(owner, peerings=peerings)})


def with_gateway(net: Network, vnet: str, *prefixes: str, name: str = "gw") -> Network:
    """A VPN gateway, connected with a site of ``prefixes`` if there are any."""
    gateway = VirtualNetworkGateway(arm_id("virtualNetworkGateways", name), name, key(vnet_id(vnet)))
    net = replace(net, gateways={**net.gateways, key(gateway.id): gateway})
    if not prefixes:
        return net
    site = LocalNetworkGateway(
        arm_id("localNetworkGateways", "site"), "site", tuple(ip_network(prefix) for prefix in prefixes)
    )
    connection = GatewayConnection(
        arm_id("connections", f"{name}-site"), f"{name}-site", key(gateway.id), "IPsec", key(site.id)
    )
    return replace(
        net,
        local_gateways={**net.local_gateways, key(site.id): site},
        connections={**net.connections, key(connection.id): connection},
    )


def with_balancer(
    net: Network,
    *nics: str,
    public: bool = True,
    port: int | None = None,
    nat_port: int | None = None,
    snat: bool = True,
    outbound: bool = False,
    internal: tuple[str, str] | None = None,
    sku: str = "Standard",
) -> Network:
    """A load balancer with ``nics`` behind it: a rule or an inbound NAT rule to a port, an outbound rule.

    ``internal`` are address and subnet of a private frontend in place of the public one.
    """
    identity = arm_id("loadBalancers", "lb")
    front = FrontendIPConfiguration(
        f"{identity}/frontendIPConfigurations/front",
        "front",
        public_ip=key(arm_id("publicIPAddresses", "lb-pip")) if public and internal is None else None,
        address=ip_address(internal[0]) if internal else None,
        subnet=key(subnet_id(internal[1])) if internal else None,
    )
    members = tuple(key(f"{nic_id(nic)}/ipConfigurations/ipconfig1") for nic in nics)
    pool = BackendAddressPool(f"{identity}/backendAddressPools/pool", "pool", members)
    rules, nat_rules, outbound_rules = [], [], []
    if port is not None:
        rules.append(
            LoadBalancingRule(
                f"{identity}/loadBalancingRules/rule",
                "rule",
                key(front.id),
                (key(pool.id),),
                RuleProtocol.TCP if port else RuleProtocol.ANY,
                port,
                port,
                disable_outbound_snat=not snat,
            )
        )
    if nat_port is not None:
        nat_rules.append(
            InboundNatRule(
                f"{identity}/inboundNatRules/nat",
                "nat",
                key(front.id),
                RuleProtocol.TCP,
                PortRange(50000, 50000),
                nat_port,
                members[0],
            )
        )
    if outbound:
        outbound_rules.append(
            OutboundRule(
                f"{identity}/outboundRules/out", "out", (key(front.id),), key(pool.id), RuleProtocol.ANY
            )
        )
    balancer = LoadBalancer(
        identity, "lb", sku, (front,), (pool,), tuple(rules), tuple(nat_rules), tuple(outbound_rules)
    )
    if front.public_ip is None:
        return replace(net, load_balancers={key(identity): balancer})
    address = PublicIPAddress(arm_id("publicIPAddresses", "lb-pip"), "lb-pip", ip_address("20.9.9.9"), sku)
    return replace(
        net,
        load_balancers={key(identity): balancer},
        public_ips={**net.public_ips, key(address.id): address},
    )
