"""Random networks that the lab's fabric can carry, on machines that stay: what the engine is held against.

Four virtual networks of three machines each, two of them with the same space (``d`` has that of
``b``); IPv4 and IPv6. Machines and addresses are always the same, everything else is drawn. Not drawn,
because the fabric does not carry it: admin rules, gateways, service endpoints, balancers.
"""

from __future__ import annotations

from ipaddress import ip_network
from random import Random
from typing import Any

from harness.network.model import Network
from tests.harness.network.builders import asg, machine, network, nsg, route, rule, table, vnet
from tests.harness.policy.anything import (
    FAMILIES,
    SPACES,
    SUBNETS,
    address,
    any_peerings,
    space,
    subnet_space,
)

MACHINES = tuple(f"{name}{number}" for name in SPACES for number in range(3))
PORTS = (21, 22, 80, 443, 1000, 1001, 1433, 65535)
"""Services listen on them; most are the first or last port of some range below, or one beyond."""
_RANGES = ("*", "*", "80", "22-1000", "1001-65535", "443", "1433", "1-21", "1000", ["22", "1433-65535"])


def addresses(name: str) -> tuple[str, ...]:
    """Of a machine, by family. ``y`` holds the second and third."""
    part, number = SPACES[name[0]], int(name[1])
    return tuple(address(part, min(number, 1), 4 + number // 2, family) for family in FAMILIES)


def _prefix(chance: Random, family: int) -> str:
    part, number = chance.choice(list(SPACES.values())), chance.randint(0, 1)
    host = address(part, number, chance.choice((4, 5)), family)
    # the first and the last address of a prefix that ends at a machine
    edge = f"10.{part}.{number}.{chance.choice(('4/31', '0/29', '4/30'))}" if family == 4 else f"{host}/127"
    wide = "10.0.0.0/8" if family == 4 else "fd00::/16"
    return chance.choice([space(part, family), subnet_space(part, number, family), host, edge, wide])


def _group(chance: Random, name: str, client_port: int) -> Any:
    rules = []
    from_here, beyond = str(client_port), f"{client_port + 1}-65535"
    for number in range(chance.randint(0, 6)):
        family = chance.choice(FAMILIES)
        sides: dict[str, Any] = {
            side: chance.choice(
                ["*", "VirtualNetwork", "Internet", _prefix(chance, family),
                 [_prefix(chance, family), _prefix(chance, 10 - family)]]
            )
            for side in ("source", "destination")
        }  # fmt: skip
        if chance.random() < 0.2:
            side = chance.choice(["source", "destination"])
            sides[side] = []
            sides[f"{side}ApplicationSecurityGroups"] = [{"id": asg("g")["id"]}]
        rules.append(
            rule(
                f"r{number}",
                100 + number,
                chance.choice(["Allow", "Allow", "Deny"]),
                chance.choice(["Inbound", "Outbound"]),
                chance.choice(["*", "*", "Tcp", "Udp", "Icmp"]),
                ports=chance.choice(_RANGES),
                source_ports=chance.choice(["*", "*", "*", from_here, beyond, f"1-{client_port}", "22-443"]),
                **sides,
            )
        )
    return nsg(name, *rules)


def _table(chance: Random, name: str) -> Any:
    routes = {}
    for number in range(chance.randint(0, 4)):
        family = chance.choice(FAMILIES)
        hop = chance.choice(["VirtualAppliance"] * 4 + ["None", "VnetLocal", "Internet"])
        appliance = None
        if hop == "VirtualAppliance":
            part = chance.choice(list(SPACES.values()))
            appliance = address(part, chance.randint(0, 1), chance.choice((4, 5, 99)), family)
        whole = "0.0.0.0/0" if family == 4 else "::/0"
        prefix = whole if chance.random() < 0.2 else _prefix(chance, family)
        routes[ip_network(prefix, strict=False)] = route(f"u{number}", prefix, hop, appliance)
    return table(name, *routes.values())


def carried_network(chance: Random, client_port: int) -> Network:
    """One network; ``client_port`` is the source port that flows through it have."""
    return network(*_places(chance, any_peerings(chance)), *_rules_and_routes(chance, client_port))


def _places(chance: Random, peerings: dict[str, list[Any]]) -> list[Any]:
    resources: list[Any] = [asg("g")]
    for name, part in SPACES.items():
        nsgs = {subnet: f"n{chance.randrange(4)}" for subnet in SUBNETS if chance.random() < 0.4}
        chosen = {subnet: f"t{chance.randrange(3)}" for subnet in SUBNETS if chance.random() < 0.4}
        subnets: dict[str, Any] = {
            subnet: [subnet_space(part, number, family) for family in FAMILIES]
            for number, subnet in enumerate(SUBNETS)
        }
        spaces = [space(part, family) for family in FAMILIES]
        resources.append(vnet(name, spaces, subnets, peerings[name], nsgs, chosen))
    for name in MACHINES:
        resources += machine(
            name,
            f"{name[0]}/{SUBNETS[min(int(name[1]), 1)]}",
            *addresses(name),
            forwarding=chance.random() < 0.7,
            # the members of an application security group are in one virtual network
            asgs=["g"] if name[0] == "a" and chance.random() < 0.6 else [],
            nsg=f"n{chance.randrange(4)}" if chance.random() < 0.3 else None,
        )
    return resources


def _rules_and_routes(chance: Random, client_port: int) -> list[Any]:
    groups = [_group(chance, f"n{number}", client_port) for number in range(4)]
    return [*groups, *(_table(chance, f"t{number}") for number in range(3))]
