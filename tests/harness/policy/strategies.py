"""Random networks that the lab's fabric carries, for hypothesis.

Machines and addresses are always the same (:data:`MACHINES`), everything between them is drawn: rules,
routes, peerings, appliances, public IPs, NAT gateways. Two virtual networks have the same space, and
one is peered with at most one of them, as Azure has it. Not drawn, because the fabric does not carry
it: load balancers, gateways, service endpoints, admin rules, ESP and AH, several NICs or IP
configurations of one family at a machine, rules that name an ASG of another virtual network. Flows
through them are ``strategies_flows``'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st

from lab.plan_model import InternetHost
from tests.harness.network.builders import (
    Resource,
    arm_id,
    asg,
    machine,
    nat_gateway,
    nsg,
    peering,
    public_ip,
    ref,
    route,
    rule,
    table,
    vnet,
)

FAMILIES = (4, 6)
SUBNETS = ("x", "y")
PARTS = {"a": "1", "b": "2", "c": "3", "d": "1"}
"""Virtual network -> what its addresses have in common; ``d`` has the space of ``a``."""
LOW, HIGH = (20000, 39999), (40000, 59999)
"""Source ports: rules may name either range."""
_GROUPS = 4
_NAT_GATEWAYS = {"a": "203.0.113.51", "b": "203.0.113.52", "c": "203.0.113.53", "d": "203.0.113.54"}


@dataclass(frozen=True, slots=True)
class Machine:
    """A VM that is in every network. Its public addresses are its own only where a network says so."""

    name: str
    subnet: str
    private: Mapping[int, str]
    public: Mapping[int, str]

    @property
    def vnet(self) -> str:
        return self.name[0]


def _space(part: str, family: int) -> str:
    return f"10.{part}.0.0/16" if family == 4 else f"fd00:{part}::/32"


def _subnet_space(part: str, subnet: str, family: int) -> str:
    number = SUBNETS.index(subnet)
    return f"10.{part}.{number}.0/24" if family == 4 else f"fd00:{part}:{number}::/64"


def _machine(name: str, subnet: str, last: int) -> Machine:
    part, number = PARTS[name[0]], SUBNETS.index(subnet)
    place = 100 + 10 * "abcd".index(name[0]) + int(name[1])
    return Machine(
        name,
        subnet,
        {4: f"10.{part}.{number}.{last}", 6: str(ip_address(f"fd00:{part}:{number}::{last:x}"))},
        {4: f"203.0.113.{place}", 6: f"2001:db8:1::{place}"},
    )


MACHINES = {
    item.name: item
    for item in (
        # the first and the last address that Azure hands out in a subnet
        _machine("a0", "x", 4), _machine("a1", "y", 4), _machine("a2", "y", 254),
        _machine("b0", "x", 4), _machine("b1", "y", 4), _machine("b2", "y", 5),
        _machine("c0", "x", 4), _machine("c1", "x", 254),
        _machine("d0", "x", 4), _machine("d1", "y", 254),
    )
}  # fmt: skip
CLIENTS = {
    "i0": {4: "203.0.113.9", 6: "2001:db8::9"},
    "i1": {4: "198.51.100.7", 6: "2001:db8:7::7"},
}
"""Machines on the internet."""
INTERNET_HOSTS = tuple(
    InternetHost(name, tuple(ip_address(text) for text in addresses.values()))
    for name, addresses in CLIENTS.items()
)

_INSIDE = {
    family: tuple(
        dict.fromkeys(
            [_space(part, family) for part in PARTS.values()]
            + [_subnet_space(part, subnet, family) for part in PARTS.values() for subnet in SUBNETS]
            + [f"{item.private[family]}/{32 if family == 4 else 128}" for item in MACHINES.values()]
            # where a machine is the first or the last address, or one beyond
            + (["10.0.0.0/8", "10.1.1.0/25", "10.1.1.252/31", "10.2.1.4/31", "10.3.0.128/25", "10.2.1.0/30"]
               if family == 4 else ["fd00::/8", "fd00:1:1::80/121", "fd00:2:1::4/127"])
        )
    )
    for family in FAMILIES
}  # fmt: skip
_OUTSIDE = {
    4: ("203.0.113.0/24", "203.0.113.9/32", "198.51.100.0/25", "128.0.0.0/1", "203.0.113.96/27"),
    6: ("2001:db8::/32", "2001:db8::9/128", "2001:db8:1::/48", "2000::/3"),
}
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of what a network is to have: how often, between 0 and 1."""

    public: float = 0.0
    routes: float = 0.5
    rules: float = 0.8


# -- rules ------------------------------------------------------------------------------------------


def chance(share: float) -> st.SearchStrategy[bool]:
    """True that often; what shrinking prefers is False."""
    return st.integers(0, 99).map(lambda number: number >= 100 - round(share * 100))


_prefixes = st.sampled_from(FAMILIES).flatmap(lambda f: st.sampled_from((*_INSIDE[f], *_OUTSIDE[f])))
_boundaries = st.sampled_from((80, 1, 22, 443, 1000, 1999, 8080, 65534, 65535))
_range = st.tuples(_boundaries, _boundaries).map(
    lambda ends: str(ends[0]) if ends[0] == ends[1] else f"{min(ends)}-{max(ends)}"
)
_ports = st.one_of(st.just("*"), _range, st.lists(_range, min_size=2, max_size=3))
_source_ports = st.sampled_from(("*", "*", "*", f"{LOW[0]}-{LOW[1]}", f"{HIGH[0]}-65535"))
_side = st.one_of(
    st.sampled_from(("*", "VirtualNetwork", "Internet")),
    _prefixes,
    # an augmented rule
    st.lists(_prefixes, min_size=2, max_size=3, unique=True),
)


@st.composite
def _rules(draw: st.DrawFn, shape: Shape, group: str | None) -> list[Resource]:
    """Custom rules; they may name the application security group ``group``."""
    found = []
    if draw(chance(shape.public * 0.6)):
        source = draw(st.sampled_from(("*", "*", "Internet", "203.0.113.0/24", "2001:db8::/32")))
        found.append(rule("open", 200, "Allow", source=source, ports=draw(_ports)))
    for number in range(draw(st.integers(0, 5))):
        sides: dict[str, Any] = {side: draw(_side) for side in ("source", "destination")}
        if group is not None and draw(chance(0.25)):
            side = draw(st.sampled_from(("source", "destination")))
            sides[side] = []
            sides[f"{side}ApplicationSecurityGroups"] = [ref(asg(group)["id"])]
        found.append(
            rule(
                f"r{number}",
                # before or after the one above
                100 * draw(st.integers(1, 2)) + 10 + number,
                draw(st.sampled_from(("Allow", "Allow", "Deny"))),
                draw(st.sampled_from(("Inbound", "Outbound"))),
                draw(st.sampled_from(("*", "*", "Tcp", "Udp", "Icmp"))),
                ports=draw(_ports),
                source_ports=draw(_source_ports),
                **sides,
            )
        )
    return found


_ASGS = {0: "a", 1: "b"}
"""Of which virtual network the ASG is that a group of rules may name; only there it is associated."""


def _groups(draw: st.DrawFn, shape: Shape) -> list[Resource]:
    return [nsg(f"n{number}", *draw(_rules(shape, _asg_of(number)))) for number in range(_GROUPS)]


def _asg_of(number: int) -> str | None:
    return f"g{_ASGS[number]}" if number in _ASGS else None


def _group_for(draw: st.DrawFn, share: float, vnet_name: str) -> str | None:
    usable = [f"n{number}" for number in range(_GROUPS) if _ASGS.get(number, vnet_name) == vnet_name]
    return draw(st.sampled_from(usable)) if draw(chance(share)) else None


# -- routes and peerings ----------------------------------------------------------------------------


def _appliances(family: int, near: str | None = None) -> tuple[str, ...]:
    """What may be a next hop: any machine, or one in the virtual network ``near``."""
    items = (item for item in MACHINES.values() if near is None or item.vnet == near)
    return tuple(dict.fromkeys(item.private[family] for item in items))


_NOBODY = {4: "10.2.1.99", 6: "fd00:2:1::99"}


@st.composite
def _routes(draw: st.DrawFn, shape: Shape, vnet_name: str) -> list[Resource]:
    """User-defined routes for a subnet of a virtual network."""
    found: dict[str, Resource] = {}
    for number in range(draw(st.integers(1, 4))):
        family = draw(st.sampled_from(FAMILIES))
        prefix = draw(st.sampled_from((*_INSIDE[family], _OUTSIDE[family][0])))
        if draw(chance(0.4 if shape.public else 0.2)):
            prefix = _DEFAULT[family]
        hop = draw(st.sampled_from(("None", *["VirtualAppliance"] * 4, "VnetLocal", "Internet")))
        appliance = None
        if hop == "VirtualAppliance":
            near, anywhere = _appliances(family, vnet_name), _appliances(family)
            appliance = draw(st.sampled_from((*near * 4, *anywhere, _NOBODY[family])))
        found.setdefault(prefix, route(f"u{number}", prefix, hop, appliance))
    return list(found.values())


_states = st.sampled_from((*["Connected"] * 14, "Disconnected"))


@st.composite
def _peerings(draw: st.DrawFn) -> dict[str, list[Resource]]:
    found: dict[str, list[Resource]] = {name: [] for name in PARTS}
    # whom of the two with equal space the others know
    pairs = [(draw(st.sampled_from("ad")), "b"), (draw(st.sampled_from("ad")), "c"), ("b", "c")]
    for one, other in pairs:
        if not draw(chance(0.85)):
            continue
        one_sided = draw(chance(0.04))
        for here, there in ((one, other), (other, one)):
            synchronised = draw(chance(0.9))
            spaces = [
                _space(PARTS[there], family) if synchronised else _subnet_space(PARTS[there], "x", family)
                for family in FAMILIES
            ]
            state = (
                "Initiated" if one_sided else draw(st.sampled_from(("Connected",) * 14 + ("Disconnected",)))
            )
            access, forwarded = draw(chance(0.9)), draw(chance(0.5))
            found[here].append(peering(here, there, spaces, state, access, forwarded))
            if one_sided:
                break
    return found


# -- networks ---------------------------------------------------------------------------------------


@st.composite
def resources(draw: st.DrawFn, shape: Shape) -> list[Resource]:
    """The ARM resources of one network."""
    peerings = draw(_peerings())
    found: list[Resource] = [asg("ga"), asg("gb"), *_groups(draw, shape)]
    for name, part in PARTS.items():
        found += _vnet(draw, shape, name, part, peerings[name])
    for item in MACHINES.values():
        found += _vm(draw, shape, item)
    return found


def _vnet(
    draw: st.DrawFn, shape: Shape, name: str, part: str, peerings: list[Resource]
) -> Iterable[Resource]:
    nsgs = {subnet: group for subnet in SUBNETS if (group := _group_for(draw, shape.rules, name))}
    tables = {subnet: f"t-{name}-{subnet}" for subnet in SUBNETS if draw(chance(shape.routes))}
    subnets: dict[str, str | list[str]] = {
        subnet: [_subnet_space(part, subnet, family) for family in FAMILIES] for subnet in SUBNETS
    }
    whole = [_space(part, family) for family in FAMILIES]
    pieces = [prefix for listed in subnets.values() for prefix in listed]
    made = vnet(name, pieces if draw(chance(0.2)) else whole, subnets, peerings, nsgs, tables)
    for subnet in made["properties"]["subnets"]:
        if shape.public and draw(chance(0.15)):
            subnet["properties"]["natGateway"] = ref(arm_id("natGateways", f"nat-{name}"))
        if shape.public and draw(chance(0.2)):
            subnet["properties"]["defaultOutboundAccess"] = False
    yield made
    for subnet in SUBNETS:
        yield table(f"t-{name}-{subnet}", *draw(_routes(shape, name)))
    yield public_ip(f"pip-nat-{name}", _NAT_GATEWAYS[name])
    yield nat_gateway(f"nat-{name}", publicIpAddresses=[ref(arm_id("publicIPAddresses", f"pip-nat-{name}"))])


def _vm(draw: st.DrawFn, shape: Shape, item: Machine) -> list[Resource]:
    has_asg = item.vnet in _ASGS.values() and draw(chance(0.4))
    made = machine(
        item.name,
        f"{item.vnet}/{item.subnet}",
        *item.private.values(),
        forwarding=draw(chance(0.9)),
        asgs=[f"g{item.vnet}"] if has_asg else [],
        nsg=_group_for(draw, shape.rules * 0.75, item.vnet),
    )
    for configuration, family in zip(made[0]["properties"]["ipConfigurations"], FAMILIES, strict=True):
        if draw(chance(shape.public)):
            name = f"pip-{item.name}-{family}"
            made.append(public_ip(name, item.public[family], draw(st.sampled_from(("Standard", "Basic")))))
            configuration["properties"]["publicIPAddress"] = ref(arm_id("publicIPAddresses", name))
    return made


def changed(before: list[Resource], other: list[Resource], kinds: Iterable[str]) -> list[Resource]:
    """``before`` with the resources of some kinds (``networkSecurityGroups``) as they are in ``other``."""
    wanted = tuple(f"/{kind}/" for kind in kinds)
    new = {item["id"]: item for item in other if any(kind in item["id"] for kind in wanted)}
    return [new.get(item["id"], item) for item in before]
