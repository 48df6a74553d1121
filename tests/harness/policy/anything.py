"""Networks in which anything may stand: what the policy engine is compared with itself on.

Everything is drawn from one :class:`random.Random`; hypothesis gives its own kind, which shrinks. Four
virtual networks, two of them with the same space; both families; admin rules, gateways, appliances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from random import Random
from typing import Any

from harness.network.gateways import GatewayConnection, LocalNetworkGateway, VirtualNetworkGateway
from harness.network.model import (
    ANY_PORT,
    AddressSelector,
    AdminAccess,
    Direction,
    Network,
    PortRange,
    RuleProtocol,
    SecurityAdminRule,
    key,
)
from tests.harness.network.builders import (
    arm_id,
    asg,
    machine,
    network,
    nsg,
    peering,
    public_ip,
    route,
    rule,
    table,
    vnet,
    vnet_id,
)
from tests.harness.policy.any_edges import with_edges

SPACES = {"a": "1", "b": "2", "c": "3", "d": "2"}
"""``d`` has the space of ``b``."""
SUBNETS = ("x", "y")
FAMILIES = (4, 6)
PORTS = (1, 22, 79, 80, 81, 443, 1000, 1001, 1433, 49151, 49152, 65535)
"""Asked about, and edges of the rules' ranges."""
RANGES = ("*", "80", "1-1000", "443", "1433", "81-49151", "49152", "49152-65535")
PUBLIC = {
    4: ("198.51.100.0/24", "198.51.100.64/26", "198.0.0.0/8", "203.0.113.8/32", "203.0.113.0/24"),
    6: ("2001:db8::/32", "2001:db8:5::/64"),
}
"""Clients and servers on the internet; some are addresses of the network itself."""
PROTOCOLS = ("*", "*", "Tcp", "Udp", "Icmp", "Esp", "Ah")


def space(part: str, family: int) -> str:
    return f"10.{part}.0.0/16" if family == 4 else f"fd00:{part}::/32"


def subnet_space(part: str, number: int, family: int) -> str:
    return f"10.{part}.{number}.0/24" if family == 4 else f"fd00:{part}:{number}::/64"


def address(part: str, number: int, last: int, family: int) -> str:
    return f"10.{part}.{number}.{last}" if family == 4 else f"fd00:{part}:{number}::{last}"


def any_prefix(chance: Random, family: int) -> str:
    part, number = chance.choice(list(SPACES.values())), chance.randint(0, 1)
    host = address(part, number, chance.choice((4, 5, 6)), family)
    wide = "10.0.0.0/8" if family == 4 else "fd00::/16"
    if chance.random() < 0.2:
        return chance.choice(PUBLIC[family])
    return chance.choice([space(part, family), subnet_space(part, number, family), host, wide])


def any_side(chance: Random, family: int, tags: Sequence[str]) -> dict[str, Any]:
    kind = chance.randint(0, 6)
    if kind == 0:
        return {"asgs": [f"g{chance.randint(0, 1)}"]}
    if kind == 1:
        return {"prefix": [any_prefix(chance, family), any_prefix(chance, family)]}
    if kind == 2:
        return {"prefix": chance.choice(["VirtualNetwork", "Internet", "AzureLoadBalancer", *tags])}
    return {"prefix": "*" if kind == 3 else any_prefix(chance, family)}


def any_group(chance: Random, name: str, tags: Sequence[str] = ()) -> Any:
    rules = []
    for number in range(chance.randint(0, 5)):
        family = chance.choice(FAMILIES)
        sides: dict[str, Any] = {}
        for side in ("source", "destination"):
            drawn = any_side(chance, family, tags)
            if "asgs" in drawn:
                sides[side] = []
                sides[f"{side}ApplicationSecurityGroups"] = [{"id": asg(g)["id"]} for g in drawn["asgs"]]
            else:
                sides[side] = drawn["prefix"]
        rules.append(
            rule(
                f"r{number}",
                100 + number,
                chance.choice(["Allow", "Allow", "Deny"]),
                chance.choice(["Inbound", "Outbound"]),
                chance.choice(PROTOCOLS),
                ports=chance.choice(RANGES),
                source_ports=chance.choice(["*", "*", "*", "49152", "1-1000", "443"]),
                **sides,
            )
        )
    return nsg(name, *rules)


def any_table(chance: Random, name: str, tags: Sequence[str] = ()) -> Any:
    routes = {}
    hops = ["VirtualAppliance"] * 4 + ["None", "VnetLocal", "Internet", "VirtualNetworkGateway"]
    for number in range(chance.randint(0, 4)):
        family = chance.choice(FAMILIES)
        hop, appliance = chance.choice(hops), None
        if hop == "VirtualAppliance":
            part = chance.choice(list(SPACES.values()))
            appliance = address(part, chance.randint(0, 1), chance.choice((4, 5, 99)), family)
        whole = "0.0.0.0/0" if family == 4 else "::/0"
        prefix = whole if chance.random() < 0.2 else any_prefix(chance, family)
        if tags and chance.random() < 0.05:
            prefix = chance.choice(tags)
        routes[prefix] = route(f"u{number}", prefix, hop, appliance)
    return table(name, *routes.values(), disableBgpRoutePropagation=chance.random() < 0.2)


def any_peerings(chance: Random) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in SPACES}
    # a virtual network has one of two peers with the same space
    pairs = [("a", "c"), (chance.choice("ac"), "b"), (chance.choice("ac"), "d")]
    if pairs[1][0] == pairs[2][0]:
        pairs.pop()
    for one, other in pairs:
        if chance.random() < 0.85:
            for here, there in ((one, other), (other, one)):
                part = SPACES[there]
                synchronised = chance.random() < 0.9
                spaces = [space(part, 4) if synchronised else subnet_space(part, 0, 4), space(part, 6)]
                found[here].append(
                    peering(
                        here,
                        there,
                        spaces,
                        access=chance.random() < 0.85,
                        forwarded=chance.random() < 0.7,
                        state="Connected" if chance.random() < 0.95 else "Disconnected",
                    )
                )
    return found


def any_machines(chance: Random) -> list[Any]:
    resources: list[Any] = []
    for name, part in SPACES.items():
        for number, (subnet, last) in enumerate((("x", 4), ("y", 4), ("y", 5))):
            # now and then an address that no prefix of a rule names alone
            last_byte = last if chance.random() < 0.8 else last + 10
            resources += machine(
                f"{name}{number}",
                f"{name}/{subnet}",
                *(address(part, SUBNETS.index(subnet), last_byte, family) for family in FAMILIES),
                forwarding=chance.random() < 0.7,
                asgs=[group for group in ("g0", "g1") if chance.random() < 0.3],
                nsg=f"n{chance.randrange(4)}" if chance.random() < 0.3 else None,
                public_ip=f"p-{name}{number}" if chance.random() < 0.3 else None,
            )
    return resources


def any_network(chance: Random, *, edges: bool = False) -> Network:
    """One network; sides of peerings agree on nothing but that they exist.

    With ``edges`` there is more at its edge (:mod:`tests.harness.policy.any_edges`), and service tags.
    """
    tags = ("Storage",) if edges else ()
    peerings = any_peerings(chance)
    resources: list[Any] = [asg("g0"), asg("g1")]
    for name, part in SPACES.items():
        nsgs = {subnet: f"n{chance.randrange(4)}" for subnet in SUBNETS if chance.random() < 0.4}
        tables = {subnet: f"t{chance.randrange(3)}" for subnet in SUBNETS if chance.random() < 0.5}
        subnets: dict[str, Any] = {
            subnet: [subnet_space(part, number, family) for family in FAMILIES]
            for number, subnet in enumerate(SUBNETS)
        }
        subnets["GatewaySubnet"] = [subnet_space(part, 200, 4)]
        spaces = [space(part, family) for family in FAMILIES]
        resources.append(vnet(name, spaces, subnets, peerings[name], nsgs, tables))
    resources += any_machines(chance)
    resources += [
        public_ip(f"p-{name}{number}", f"203.0.113.{place * 8 + number}")
        for place, name in enumerate(SPACES)
        for number in range(3)
    ]
    resources += [any_group(chance, f"n{number}", tags) for number in range(4)]
    resources += [any_table(chance, f"t{number}", tags) for number in range(3)]
    net = with_gateways(chance, with_admin_rules(chance, network(*resources)))
    return with_edges(chance, net) if edges else net


def with_admin_rules(chance: Random, net: Network) -> Network:
    if chance.random() < 0.5:
        return net
    rules = {}
    for name in SPACES:
        if chance.random() < 0.5:
            rules[key(vnet_id(name))] = tuple(
                _admin_rule(chance, number) for number in range(chance.randint(1, 3))
            )
    return replace(net, admin_rules=rules)


def _admin_rule(chance: Random, number: int) -> SecurityAdminRule:
    def side() -> AddressSelector:
        if chance.random() < 0.4:
            return AddressSelector(any=True)
        return AddressSelector(prefixes=(ip_network(any_prefix(chance, chance.choice(FAMILIES))),))

    ports = chance.choice([ANY_PORT, PortRange(80, 80), PortRange(1, 1000), PortRange(443, 49151)])
    return SecurityAdminRule(
        id=arm_id("networkManagers", f"m/securityAdminConfigurations/c/ruleCollections/r/rules/a{number}"),
        name=f"a{number}",
        direction=chance.choice(list(Direction)),
        priority=number + 1,
        access=chance.choice(list(AdminAccess)),
        protocol=chance.choice([RuleProtocol.ANY, RuleProtocol.ANY, RuleProtocol.TCP, RuleProtocol.ICMP]),
        source=side(),
        source_ports=(ANY_PORT,),
        destination=side(),
        destination_ports=(ports,),
    )


def with_gateways(chance: Random, net: Network) -> Network:
    """Gateways in ``a`` and ``c``, a site behind each, and perhaps a connection between the two."""
    if chance.random() < 0.5:
        return net
    gateways, sites, connections = {}, {}, {}
    for name in ("a", "c"):
        gateway = VirtualNetworkGateway(arm_id("virtualNetworkGateways", name), name, key(vnet_id(name)))
        site = LocalNetworkGateway(
            arm_id("localNetworkGateways", name), name, (ip_network(any_prefix(chance, 4), strict=False),)
        )
        status = chance.choice(["Connected", "Connected", "NotConnected", None])
        link = GatewayConnection(
            arm_id("connections", name), name, key(gateway.id), "IPsec", key(site.id), None, status
        )
        gateways[key(gateway.id)], sites[key(site.id)] = gateway, site
        connections[key(link.id)] = link
    if chance.random() < 0.6:
        names = list(gateways)
        for here, there in (names, names[::-1]):
            link = GatewayConnection(arm_id("connections", f"to-{there[-1]}"), f"to-{there[-1]}", here,
                                     "Vnet2Vnet", None, there, "Connected")  # fmt: skip
            connections[key(link.id)] = link
    return replace(net, gateways=gateways, local_gateways=sites, connections=connections)
