"""What may stand at the edge of the networks of :mod:`tests.harness.policy.anything`: ways in and out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random

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
from harness.network.model import (
    Access,
    IPAddress,
    Network,
    PortRange,
    Route,
    RuleProtocol,
    ServiceEndpoint,
    key,
)
from harness.network.service_tags import service_tags_of
from tests.harness.network.builders import arm_id

BALANCED = (RuleProtocol.TCP, RuleProtocol.UDP, RuleProtocol.ANY)
FRONT_PORTS = (22, 79, 80, 443, 1433)
TAG_FILE = {
    "changeNumber": 1,
    "cloud": "Public",
    "values": [
        {
            "name": name,
            "id": name,
            "properties": {
                "changeNumber": 1,
                "region": "westeurope" if "." in name else "",
                "platform": "Azure",
                "systemService": "AzureStorage",
                "addressPrefixes": prefixes,
            },
        }
        for name, prefixes in (
            ("Storage", ["198.51.100.128/25", "52.0.0.0/24", "2001:db8:5::/48"]),
            ("Storage.WestEurope", ["198.51.100.192/26", "2001:db8:5::/56"]),
        )
    ],
}
"""As Microsoft publishes it, in small."""

TAGS = service_tags_of(TAG_FILE, "test")


def with_edges(chance: Random, net: Network) -> Network:
    """NAT gateways, load balancers, a cloud service, service endpoints and retired default access."""
    for part in (_with_subnets, _with_nat_gateways, _with_balancers, _with_many_appliances, _with_service):
        net = part(chance, net)
    return net


def _with_subnets(chance: Random, net: Network) -> Network:
    subnets = {
        name: replace(
            subnet,
            default_outbound_access=chance.choice((None, True, False)),
            service_endpoints=(ServiceEndpoint("Microsoft.Storage"),) if chance.random() < 0.3 else (),
        )
        for name, subnet in net.subnets.items()
    }
    public_ips = {
        name: replace(item, sku=chance.choice(("Standard", "Basic"))) for name, item in net.public_ips.items()
    }
    return replace(net, subnets=subnets, public_ips=public_ips)


def _public_ip(name: str, address: str | None) -> dict[str, PublicIPAddress]:
    identity = arm_id("publicIPAddresses", name)
    return {key(identity): PublicIPAddress(identity, name, ip_address(address) if address else None)}


def _with_nat_gateways(chance: Random, net: Network) -> Network:
    prefix = PublicIPPrefix(arm_id("publicIPPrefixes", "nat"), "nat", ip_network("203.0.113.192/28"))
    addresses = _public_ip("nat", "203.0.113.100")
    gateways = {}
    for name, single, prefixes in (
        ("one", tuple(addresses), ()), ("many", (), (key(prefix.id),)), ("none", (), ()),
    ):  # fmt: skip
        identity = arm_id("natGateways", name)
        sku = chance.choice(("Standard", "StandardV2"))
        gateways[key(identity)] = NatGateway(identity, name, single, prefixes, sku)
    subnets = {
        name: replace(subnet, nat_gateway=chance.choice(list(gateways))) if chance.random() < 0.2 else subnet
        for name, subnet in net.subnets.items()
    }
    return replace(
        net,
        subnets=subnets,
        nat_gateways=gateways,
        public_ips={**net.public_ips, **addresses},
        public_ip_prefixes={key(prefix.id): prefix},
    )


def _with_balancers(chance: Random, net: Network) -> Network:
    balancers, addresses = {}, {}
    for number in range(2):
        balancer, mine = _balancer(chance, net, f"lb{number}", f"203.0.113.{110 + number}")
        balancers[key(balancer.id)] = balancer
        addresses.update(mine)
    return replace(net, load_balancers=balancers, public_ips={**net.public_ips, **addresses})


def _balancer(
    chance: Random, net: Network, name: str, address: str
) -> tuple[LoadBalancer, dict[str, PublicIPAddress]]:
    identity = arm_id("loadBalancers", name)
    addresses = {**_public_ip(f"{name}-4", address), **_public_ip(f"{name}-6", f"2001:db8:9::{name[-1]}")}
    frontends = tuple(
        FrontendIPConfiguration(f"{identity}/frontendIPConfigurations/{n}", str(n), public)
        for n, public in enumerate(addresses)
    )
    configurations = [key(item.id) for nic in net.nics.values() for item in nic.ip_configurations]
    pools = tuple(
        BackendAddressPool(
            f"{identity}/backendAddressPools/{n}",
            str(n),
            tuple(chance.choice(configurations) for _ in range(chance.randint(0, 4))),
        )
        for n in range(2)
    )
    rules, nat_rules, outbound_rules = [], [], []
    for n in range(chance.randint(0, 3)):
        front = chance.choice(FRONT_PORTS)
        rules.append(
            LoadBalancingRule(
                f"{identity}/loadBalancingRules/{n}", str(n), key(chance.choice(frontends).id),
                (key(chance.choice(pools).id),), chance.choice(BALANCED), front, chance.choice((front, 80)),
                disable_outbound_snat=chance.random() < 0.3,
            )
        )  # fmt: skip
    for n in range(chance.randint(0, 2)):
        pooled, first = chance.random() < 0.5, chance.choice(FRONT_PORTS)
        nat_rules.append(
            InboundNatRule(
                f"{identity}/inboundNatRules/{n}", str(n), key(chance.choice(frontends).id),
                chance.choice(BALANCED), PortRange(first, first + (2 if pooled else 0)),
                chance.choice((22, 80)), None if pooled else chance.choice(configurations),
                key(pools[0].id) if pooled else None,
            )
        )  # fmt: skip
    if chance.random() < 0.5:
        outbound_rules.append(
            OutboundRule(
                f"{identity}/outboundRules/0", "0", (key(frontends[0].id),),
                key(chance.choice(pools).id), chance.choice(BALANCED),
            )
        )  # fmt: skip
    sku = chance.choice(("Standard", "Standard", "Basic"))
    balancer = LoadBalancer(
        identity, name, sku, frontends, pools, tuple(rules), tuple(nat_rules), tuple(outbound_rules)
    )
    return balancer, addresses


def _with_many_appliances(chance: Random, net: Network) -> Network:
    """Next hops that stand for several: routes to more than one, a load balancer inside for every port."""
    addresses = [item.address for nic in net.nics.values() for item in nic.ip_configurations]
    tables = {
        name: replace(table, routes=tuple(_spread(chance, route, addresses) for route in table.routes))
        for name, table in net.route_tables.items()
    }
    return replace(net, route_tables=tables, load_balancers={**net.load_balancers, **_inside(chance, net)})


def _spread(chance: Random, route: Route, addresses: list[IPAddress]) -> Route:
    if route.next_hop_ip is None or chance.random() < 0.7:
        return route
    family = [item for item in addresses if item.version == route.prefix.version]
    return replace(route, other_next_hops=(chance.choice(family),))


def _inside(chance: Random, net: Network) -> dict[str, LoadBalancer]:
    """At an address that routes may name and no NIC has."""
    identity = arm_id("loadBalancers", "inside")
    subnet = chance.choice([name for name, item in net.subnets.items() if item.name in "xy"])
    address = next(prefix for prefix in net.subnets[subnet].prefixes if prefix.version == 4)[99]
    frontend = FrontendIPConfiguration(
        f"{identity}/frontendIPConfigurations/0", "0", address=address, subnet=subnet
    )
    mine = [nic for nic in net.nics.values() if net.subnets[nic.subnet].vnet == net.subnets[subnet].vnet]
    members = tuple(key(nic.ip_configurations[0].id) for nic in mine if chance.random() < 0.6)
    pool = BackendAddressPool(f"{identity}/backendAddressPools/0", "0", members)
    rule = LoadBalancingRule(
        f"{identity}/loadBalancingRules/0", "0", key(frontend.id), (key(pool.id),), RuleProtocol.ANY, 0, 0
    )
    balancer = LoadBalancer(identity, "inside", "Standard", (frontend,), (pool,), (rule,))
    return {key(identity): balancer}


def _with_service(chance: Random, net: Network) -> Network:
    """A classic VM's endpoints: their access control lists tell clients apart."""
    if chance.random() < 0.5:
        return net
    identity = arm_id("domainNames", "service", "Microsoft.ClassicCompute")
    nic = chance.choice(list(net.nics))
    endpoints = tuple(
        ClassicEndpoint(
            f"{identity}/endpoints/{port}",
            str(port),
            chance.choice((RuleProtocol.TCP, RuleProtocol.UDP)),
            port,
            chance.choice((port, 80)),
            nic,
            tuple(
                EndpointAclRule(order, chance.choice(list(Access)), ip_network(prefix))
                for order, prefix in enumerate(("198.51.100.0/26", "198.51.0.0/16"))
                if chance.random() < 0.6
            ),
        )
        for port in (22, 443)
    )
    service = CloudService(identity, "service", ip_address("203.0.113.120"), (nic,), endpoints)
    return replace(net, cloud_services={key(identity): service})
