"""Network Watcher's questions put to the policy engine and answered in Azure's own words.

So that a recorded answer of the real service can be compared as it is. Also completes networks
whose recording lacks bodies that it refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from harness.model import Protocol
from harness.network.armids import parent
from harness.network.model import (
    Access,
    AddressSelector,
    Direction,
    Network,
    NetworkInterface,
    PortRange,
    RouteSource,
    RuleProtocol,
    SecurityRule,
    key,
)
from harness.network.snapshot import network_from_resources
from harness.policy.compiled import Compiled, compiled
from harness.policy.packet import Packet
from harness.policy.ports import rule_for
from harness.policy.routing import effective_routes
from harness.policy.spelling import LEGACY_NAMES, diagnostic_name, resource_name

Body = Mapping[str, Any]

ANY_SOURCE_PORT = 49152
OUTSIDE = "203.0.113.1"
"""What a query's destination ``*`` is asked as: the service matches it with ``*``, but with no tag."""


# -- networks -----------------------------------------------------------------------------------------


def completed(bodies: Iterable[Body], origin: str, space: str, address: str | None = None) -> Network:
    """The network of ``bodies``, with what they refer to and do not hold.

    Missing virtual networks get the address space ``space``, one subnet as large. Where there is no
    NIC at all, one in that subnet with ``address`` stands for the VM's.
    """
    resources: list[Body] = list(bodies)
    group = str(resources[0]["id"]).partition("/providers/")[0] + "/providers/Microsoft.Network"
    known = {key(body["id"]) for body in resources}
    known |= {
        key(child["id"])
        for body in resources
        for child in body["properties"].get("subnets", [])
        if "name" in child
    }
    subnets = [ref for ref in referred(resources, "subnets") if key(ref) not in known]
    any_subnet = next(iter(subnets), None) or next((name for name in known if "/subnets/" in name), None)
    if any_subnet is None:
        any_subnet = f"{group}/virtualNetworks/template-vnet/subnets/default"
        subnets.append(any_subnet)
    children: dict[str, list[Body]] = {}
    for subnet in dict.fromkeys(subnets):
        children.setdefault(parent(subnet), []).append({"id": subnet, "properties": {"addressPrefix": space}})
    for vnet, inside in children.items():
        properties = {"addressSpace": {"addressPrefixes": [space]}, "subnets": inside}
        resources.append({"id": vnet, "properties": properties})
    nics = [nic for nic in referred(resources, "networkInterfaces") if key(nic) not in known]
    if not nics and not any("/networkinterfaces/" in name for name in known):
        nics = [f"{group}/networkInterfaces/template-nic"]
    for number, nic in enumerate(dict.fromkeys(nics)):
        own = address or str(ip_network(space)[4 + number])
        properties = {"privateIPAddress": own, "subnet": {"id": any_subnet}}
        configuration = {"name": "ipconfig1", "properties": properties}
        resources.append({"id": nic, "properties": {"ipConfigurations": [configuration]}})
    addresses = dict.fromkeys(referred(resources, "publicIPAddresses"))
    resources += [{"id": ref, "properties": {}} for ref in addresses if key(ref) not in known]
    return network_from_resources(resources, origin)


def referred(value: Any, kind: str) -> list[str]:
    """Every id of a resource of ``kind`` (the last but one segment) that stands in a reference."""
    if isinstance(value, list):
        return [ref for item in value for ref in referred(item, kind)]
    if not isinstance(value, Mapping):
        return []
    found = [ref for item in value.values() for ref in referred(item, kind)]
    identity = value.get("id")
    if isinstance(identity, str) and identity.lower().split("/")[-2:-1] == [kind.lower()] and len(value) <= 2:
        found.append(identity)
    return found


def asked_nic(network: Network, target: str | None) -> NetworkInterface:
    """The NIC of the VM or NIC ``target``; the only one where the network has no such object."""
    name = key(target or "")
    if name in network.nics:
        return network.nics[name]
    nics = network.vms[name].nics if name in network.vms else tuple(network.nics)
    assert len(nics) == 1, f"{target}: which of {nics}?"
    return network.nics[nics[0]]


# -- answers ------------------------------------------------------------------------------------------


def ip_flow_verify(network: Network, request: Body) -> dict[str, str] | None:
    """None where no NSG judges, for which the service has no verdict but an error."""
    direction = Direction(request["direction"])
    local = (ip_address(request["localIPAddress"]), _port(request["localPort"]))
    remote = (ip_address(request["remoteIPAddress"]), _port(request["remotePort"]))
    source, destination = (local, remote) if direction is Direction.OUTBOUND else (remote, local)
    packet = Packet(Protocol(request["protocol"].lower()), *source, *destination)
    view, nic = compiled(network), asked_nic(network, request["targetResourceId"])
    rules = [rule_for(judge, packet) for judge in view.judges(nic, direction)]
    if not rules:
        return None
    rule = next((rule for rule in rules if rule.access is Access.DENY), rules[-1])
    identity = "" if rule.default else rule.id
    return {"access": rule.access.value, "ruleName": resource_name(rule), "ruleId": identity}


def next_hop(network: Network, nic: NetworkInterface, request: Body) -> tuple[str, str | None, str]:
    """(type as effective routes spell it, address, route table)."""
    address = ip_address(request["destinationIPAddress"])
    route = compiled(network).context(nic.subnet).routes.find(address.version, int(address))
    assert route is not None
    user = route.source is RouteSource.USER and route.id is not None
    table = parent(route.id) if user and route.id else "System Route"
    return route.next_hop_type.value, str(route.next_hop_ip) if route.next_hop_ip else None, table


def diagnostics(network: Network, nic: NetworkInterface, query: Body) -> dict[str, Any]:
    """NSG diagnostics of one profile: every NSG with every rule up to the one that matches."""
    direction = Direction(query["direction"])
    packet = Packet(
        Protocol(query["protocol"].lower()),
        ip_address(query["source"]),
        ANY_SOURCE_PORT,
        ip_address(OUTSIDE if query["destination"] == "*" else query["destination"]),
        int(query["destinationPort"]),
    )
    evaluated, verdict = [], Access.ALLOW
    for judge in compiled(network).judges(nic, direction):
        evaluations, rule = judge.rules.evaluations(packet), rule_for(judge, packet)
        verdict = Access.DENY if rule.access is Access.DENY else verdict
        evaluated.append(
            {
                "networkSecurityGroupId": judge.group.id,
                "matchedRule": {"ruleName": diagnostic_name(rule), "action": rule.access.value},
                "rulesEvaluationResult": [
                    {
                        "name": diagnostic_name(item.rule),
                        "protocolMatched": item.protocol,
                        "sourceMatched": item.source,
                        "sourcePortMatched": item.source_port,
                        "destinationMatched": item.destination,
                        "destinationPortMatched": item.destination_port,
                    }
                    for item in evaluations
                ],
            }
        )
    return {"securityRuleAccessResult": verdict.value, "evaluatedNetworkSecurityGroups": evaluated}


RouteLine = tuple[str, str, str, str]


def route_table(network: Network, nic: NetworkInterface) -> set[RouteLine]:
    """The effective routes: (prefix, next hop type, source, state)."""
    return {
        (str(route.prefix), route.next_hop_type.value, route.source.value, route.state.value)
        for route in effective_routes(network, nic)
    }


def recorded_routes(value: Sequence[Body]) -> set[RouteLine]:
    return {
        (prefix, item["nextHopType"], item["source"], item["state"])
        for item in value
        for prefix in item["addressPrefix"]
    }


# -- effective rules --------------------------------------------------------------------------------


RuleLine = tuple[str, str, int, str, str, *tuple[frozenset[str], ...]]
"""(name, direction, priority, access, protocol, source and destination ports, source and destination)."""


def effective_rules(view: Compiled, nic: NetworkInterface) -> set[RuleLine]:
    """The rules of every NSG of the NIC, the default denials also by their hidden twins' names."""
    groups = {judge.group.id: judge.group for way in Direction for judge in view.judges(nic, way)}
    found = set()
    for rule in (rule for group in groups.values() for rule in group.rules):
        line = rule_line(rule)
        found.add((diagnostic_name(rule), *line))
        if rule.default and rule.name in LEGACY_NAMES:
            found.add((LEGACY_NAMES[rule.name], *line))
    return found


def rule_line(rule: SecurityRule) -> tuple[Any, ...]:
    return (
        rule.direction.value, rule.priority, rule.access.value,
        "All" if rule.protocol is RuleProtocol.ANY else rule.protocol.value,
        _ports(rule.source_ports), _ports(rule.destination_ports),
        _addresses(rule.source), _addresses(rule.destination),
    )  # fmt: skip


def recorded_rule(name: str, body: Body) -> RuleLine:
    """One rule of an answer, from its effective form or from its resource's."""

    def values(singular: str, plural: str) -> frozenset[str]:
        # effective rules spell any address as 0.0.0.0/0, any port as 0-65535, one port as a range
        found = (
            f"{text}-{text}" if text.isdigit() else text for text in body.get(plural) or [body[singular]]
        )
        return frozenset("*" if text in ("0.0.0.0/0", "0-65535") else text for text in found)

    return (
        name, body["direction"], body["priority"], body["access"],
        "All" if body["protocol"] == "*" else body["protocol"],
        values("sourcePortRange", "sourcePortRanges"),
        values("destinationPortRange", "destinationPortRanges"),
        values("sourceAddressPrefix", "sourceAddressPrefixes"),
        values("destinationAddressPrefix", "destinationAddressPrefixes"),
    )  # fmt: skip


def _ports(ranges: Iterable[PortRange]) -> frozenset[str]:
    return frozenset(
        "*" if (item.first, item.last) == (0, 65535) else f"{item.first}-{item.last}" for item in ranges
    )


def _addresses(side: AddressSelector) -> frozenset[str]:
    return frozenset(["*"] if side.any else [*map(str, side.prefixes), *side.tags])


def _port(text: str) -> int:
    return ANY_SOURCE_PORT if text == "*" else int(text)
