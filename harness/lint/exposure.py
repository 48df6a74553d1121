"""Management ports that the Internet can reach.

Earlier rules are taken into account, and where a NIC has a public way in also the other group that
judges there and the security admin rules: the sets of packets are followed from one to the next.
Classic endpoints and what a guest's own firewall does are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from harness.azure_cli import nic_update, rule_command
from harness.lint.boxes import Box, Symbol, left_over
from harness.lint.finding import Check, Defect, Severity, check
from harness.lint.matches import (
    DESTINATION_PORT,
    EVERYWHERE,
    NUMBERS,
    PROTOCOL,
    SOURCE,
    Rule,
    is_membership,
    matches_of,
)
from harness.lint.standing import taken
from harness.lint.survey import Survey
from harness.lint.ways_in import WayIn, ways_in
from harness.lint.wording import listed
from harness.model import Protocol
from harness.network.addresses import AddressSet, Ranges, common, merged
from harness.network.model import Access, AdminAccess, Direction, SecurityAdminRule, SecurityRule, key
from harness.network.rules import INTERNET, VIRTUAL_NETWORK
from harness.policy.portset import ALL_PORTS
from harness.policy.tags import INTERNET_SPACE

SERVICES: Mapping[tuple[Protocol, int], str] = {
    (Protocol.TCP, 22): "SSH",
    (Protocol.TCP, 3389): "RDP",
    (Protocol.TCP, 5985): "WinRM",
    (Protocol.TCP, 5986): "WinRM over HTTPS",
    (Protocol.TCP, 445): "SMB",
    (Protocol.TCP, 135): "RPC",
    (Protocol.TCP, 23): "Telnet",
    (Protocol.TCP, 5900): "VNC",
    (Protocol.TCP, 139): "NetBIOS",
    (Protocol.TCP, 2375): "Docker",
    (Protocol.TCP, 10250): "kubelet",
    (Protocol.UDP, 3389): "RDP",
    (Protocol.UDP, 161): "SNMP",
}
"""What administers a machine, by protocol and port, the most attacked first: not for everybody to find."""

MANY = {4: 1 << 24, 6: 1 << (128 - 19)}
"""As many public addresses as an IPv4 /8 or an IPv6 /19 has count as "the Internet"."""

_CLOUD = "azurecloud"
"""AzureCloud and its regional tags hold the machines of every Azure customer."""

Service = tuple[Protocol, int]

Passed = tuple[tuple[Rule, ...], Box]
"""What was let in, and the rules that each of those who judged decided by."""


@dataclass(slots=True)
class _Opening:
    """What one rule lets in, on its own or in fact (``ways``)."""

    rule: Rule
    services: set[Service] = field(default_factory=set)
    ways: dict[str, WayIn] = field(default_factory=dict)


@check("exposure/management-port", Severity.WARNING)
def management_port(survey: Survey) -> Iterator[Defect]:
    """Management port open to the Internet.

    A rule lets any public address, or at least as many as an IPv4 /8 has, reach a port that
    administers machines (SSH, RDP, WinRM, SMB and others), and no earlier rule denies it. An error
    where a NIC behind it has a public way to that port (public IP, load-balancing or inbound NAT
    rule) and everything that judges there lets it pass; else a warning, since the next public IP opens it.
    """
    openings: dict[str, _Opening] = {}
    for rule, service in _named(survey):
        openings.setdefault(rule.id, _Opening(rule)).services.add(service)
    for rule, service, way in _reached(survey):
        opening = openings.setdefault(rule.id, _Opening(rule))
        opening.services.add(service)
        opening.ways[key(way.nic.id)] = way
    for opening in openings.values():
        yield _defect(opening)


@check("exposure/unfiltered-public-ip", Severity.ERROR)
def unfiltered_public_ip(survey: Survey) -> Iterator[Defect]:
    """NIC with a Basic public IP or load balancer and no network security group.

    Where no group judges, at the NIC or at its subnet, a Basic public IP address lets every port in.
    A Standard one stays closed until a group allows.
    """
    for name, ways in ways_in(survey).items():
        nic = survey.network.nics[name]
        open_ways = [way for way in ways if way.basic]
        if open_ways and nic.nsg is None and survey.network.subnets[nic.subnet].nsg is None:
            labels = " and ".join(dict.fromkeys(way.label for way in open_ways))
            group = ("network-security-group", "<network security group>")
            yield Defect(
                nic.id,
                f"the Internet reaches every port that {labels} (Basic) leads to:"
                f" neither '{nic.name}' nor its subnet has a network security group",
                "properties.networkSecurityGroup",
                tuple(dict.fromkeys(way.object_id for way in open_ways)),
                (nic_update(nic.id, group),),
            )


def _named(survey: Survey) -> Iterator[tuple[Rule, Service]]:
    """Custom rules that let the Internet in by what they name, whatever else judges."""
    for name, group in survey.network.nsgs.items():
        rules = [rule for rule in group.ordered(Direction.INBOUND) if not rule.default]
        places = survey.places.get(name, ())
        # a route may widen VirtualNetwork to the Internet: that counts where there is a way in, not here
        general = survey.vocabulary(rules, places)
        tags = {**general.tags, VIRTUAL_NETWORK: None, INTERNET: INTERNET_SPACE}
        matches = [matches_of(rule, replace(general, tags=tags)) for rule in rules]
        local = survey.local_addresses(name) if places else None
        for family in general.families:
            near = (EVERYWHERE if local is None else local).of_family(family)
            if near:
                regions = [_region(family, near, protocol) for protocol in (Protocol.TCP, Protocol.UDP)]
                let_in = (
                    ((rule,), box)
                    for rule, box in taken(matches, family, regions)
                    if rule.access is Access.ALLOW
                )
                for (rule,), service in _open(let_in, family):
                    yield rule, service


def _reached(survey: Survey) -> Iterator[tuple[Rule, Service, WayIn]]:
    """Rules that in fact let the Internet in to a management port of a NIC."""
    for ways in ways_in(survey).values():
        for way in ways:
            family = way.configuration.address.version
            for rules, service in _open(_passing(survey, way, family), family):
                for rule in rules:
                    yield rule, service, way


def _open(let_in: Iterable[Passed], family: int) -> Iterator[tuple[tuple[Rule, ...], Service]]:
    """The services that the same rules open to the Internet."""
    together: dict[tuple[str, ...], tuple[tuple[Rule, ...], list[Box]]] = {}
    for rules, box in let_in:
        together.setdefault(tuple(rule.id for rule in rules), (rules, []))[1].append(box)
    for rules, boxes in together.values():
        for service in _services(boxes, family):
            yield rules, service


def _passing(survey: Survey, way: WayIn, family: int) -> Iterator[Passed]:
    """Packets to management ports that everything that judges at a NIC lets in."""
    subnet = survey.network.subnets[way.nic.subnet]
    groups = [survey.rules_at(name, subnet) for name in (subnet.nsg, way.nic.nsg) if name is not None]
    admin = survey.admin_rules_at(subnet)
    boxes = [box for item in admin for box in item.boxes[family]]
    boxes += [box for rules in groups for item in rules for box in item.boxes[family]]
    left = _regions(way, family, {symbol for box in boxes for symbol in box.inside})
    pending: list[Passed] = []
    for admin_rule, box in taken(admin, family, left):
        if admin_rule.access is AdminAccess.ALWAYS_ALLOW:
            yield (admin_rule,), box
        elif admin_rule.access is AdminAccess.ALLOW:
            pending.append(((), box))
    for item in admin:
        for box in item.boxes[family]:
            left = left_over(left, box)
    # without any group a Standard public IP address lets nothing in, and a Basic one is another check's
    pending = [*pending, *(((), box) for box in left)] if groups else []
    for rules in groups:
        pending = [
            ((*before, rule), let_in)
            for before, box in pending
            for rule, let_in in taken(rules, family, [box])
            if rule.access is Access.ALLOW
        ]
    yield from pending


def _regions(way: WayIn, family: int, asked: Set[Symbol]) -> list[Box]:
    """The packets to management ports that come in by ``way``, as rules see them that ask ``asked``."""
    host = AddressSet.of([ip_network(way.configuration.address)]).of_family(family)
    inside = frozenset(("destination", asg) for asg in way.configuration.asgs)
    # who comes from the Internet is in no application security group
    outside = frozenset(symbol for symbol in asked - inside if is_membership(symbol))
    found = []
    for protocol in (Protocol.TCP, Protocol.UDP):
        region = _region(family, host, protocol)
        protocols = common(region.axes[PROTOCOL], way.protocols)
        ports = common(region.axes[DESTINATION_PORT], way.ports)
        if protocols and ports:
            axes = (ports, *region.axes[1:])
            found.append(Box(axes, inside, outside))
    return found


def _region(family: int, near: Ranges, protocol: Protocol) -> Box:
    """Packets from the Internet to management ports of the addresses ``near``."""
    ports = merged((port, port) for kind, port in SERVICES if kind is protocol)
    number = NUMBERS[protocol]
    return Box((ports, near, INTERNET_SPACE.of_family(family), ((number, number),), ALL_PORTS))


def _services(boxes: Sequence[Box], family: int) -> Iterator[Service]:
    """The services that ``boxes`` hold for as many sources as count as the Internet."""
    for protocol, port in SERVICES:
        number = NUMBERS[protocol]
        sources = merged(
            source
            for box in boxes
            if _holds(box.axes[PROTOCOL], number)
            and _holds(box.axes[DESTINATION_PORT], port)
            and _public(box)
            for source in box.axes[SOURCE]
        )
        if sum(last - first + 1 for first, last in sources) >= MANY[family]:
            yield protocol, port


def _holds(ranges: Ranges, number: int) -> bool:
    return any(first <= number <= last for first, last in ranges)


def _public(box: Box) -> bool:
    """Whether just anybody can be the source: of opaque tags only AzureCloud is for everybody."""
    return all(name.lower().startswith(_CLOUD) for side, name in box.inside if side == "source")


def _defect(opening: _Opening) -> Defect:
    rule = opening.rule
    order = list(SERVICES)
    services = sorted(opening.services, key=order.index)
    names = listed((f"{SERVICES[service]} ({service[1]}/{service[0]})" for service in services), 6, quote="")
    kind = "security admin rule" if isinstance(rule, SecurityAdminRule) else "rule"
    reason = f"{kind} '{rule.name}' (priority {rule.priority}) lets the Internet reach {names}"
    ways = list(opening.ways.values())
    if ways:
        severity, nics = Severity.ERROR, listed(way.nic.name for way in ways)
        reason += f"; it comes to {nics} by {ways[0].label}{' and others' if len(ways) > 1 else ''}"
        if not _names_internet(rule):
            reason += " (a route has widened the tag VirtualNetwork to the Internet)"
    else:
        severity = Severity.WARNING
        reason += "; nothing behind it has a public way in now"
    fix: tuple[str, ...] = ()
    if isinstance(rule, SecurityRule) and not rule.default:
        known = ("source-address-prefixes", "<addresses of your administrators>")
        fix = (rule_command("update", rule.id, known), rule_command("delete", rule.id))
    related = tuple(dict.fromkeys(found for way in ways for found in (way.nic.id, way.object_id)))
    return Defect(rule.id, reason, "properties.sourceAddressPrefix", related, fix, severity)


def _names_internet(rule: Rule) -> bool:
    return rule.source.tags != (VIRTUAL_NETWORK,)


CHECKS: tuple[Check, ...] = (management_port, unfiltered_public_ip)
