"""Small edits by the dice of the networks of :mod:`tests.harness.policy.anything`: what a change may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_network
from random import Random
from typing import Any

from harness.network.model import (
    ANY_PORT,
    Access,
    AddressSelector,
    Direction,
    Network,
    NextHopType,
    PortRange,
    Route,
    RuleProtocol,
    SecurityRule,
    key,
)
from tests.harness.policy.anything import FAMILIES, any_prefix

Edit = Callable[[Random, Network], Network]


def edited(chance: Random, net: Network) -> Network:
    """The network after one to three edits."""
    for _ in range(chance.randint(1, 3)):
        net = chance.choice(EDITS)(chance, net)
    return net


def _changed(table: Mapping[str, Any], name: str, **properties: Any) -> dict[str, Any]:
    return {**table, name: replace(table[name], **properties)}


def rule_added(chance: Random, net: Network) -> Network:
    name = chance.choice(list(net.nsgs))
    group = net.nsgs[name]
    direction = chance.choice(list(Direction))
    first = chance.choice((22, 80, 443))
    remote = AddressSelector(prefixes=(ip_network(any_prefix(chance, chance.choice(FAMILIES))),))
    anyone = AddressSelector(any=True)
    sides = (remote, anyone) if direction is Direction.INBOUND else (anyone, remote)
    rule = SecurityRule(
        id=f"{group.id}/securityRules/new",
        name="new",
        direction=direction,
        priority=90,
        access=chance.choice(list(Access)),
        protocol=chance.choice((RuleProtocol.TCP, RuleProtocol.ANY)),
        source=sides[0],
        source_ports=(ANY_PORT,),
        destination=sides[1],
        destination_ports=(PortRange(first, first + chance.choice((0, 1000))),),
    )
    rules = (rule, *(item for item in group.rules if key(item.id) != key(rule.id)))
    return replace(net, nsgs=_changed(net.nsgs, name, rules=rules))


def rule_removed(chance: Random, net: Network) -> Network:
    name = chance.choice(list(net.nsgs))
    custom = [rule for rule in net.nsgs[name].rules if not rule.default]
    if not custom:
        return net
    gone = chance.choice(custom)
    rules = tuple(rule for rule in net.nsgs[name].rules if rule is not gone)
    return replace(net, nsgs=_changed(net.nsgs, name, rules=rules))


def rule_changed(chance: Random, net: Network) -> Network:
    name = chance.choice(list(net.nsgs))
    custom = [rule for rule in net.nsgs[name].rules if not rule.default]
    if not custom:
        return net
    old = chance.choice(custom)
    other = Access.DENY if old.access is Access.ALLOW else Access.ALLOW
    rules = tuple(replace(rule, access=other) if rule is old else rule for rule in net.nsgs[name].rules)
    return replace(net, nsgs=_changed(net.nsgs, name, rules=rules))


def route_changed(chance: Random, net: Network) -> Network:
    """One more route, one less."""
    name = chance.choice(list(net.route_tables))
    table = net.route_tables[name]
    routes = list(table.routes)
    if routes and chance.random() < 0.5:
        routes.remove(chance.choice(routes))
    else:
        prefix = ip_network(any_prefix(chance, chance.choice(FAMILIES)))
        if all(item.prefix != prefix for item in routes):
            label = f"new{len(routes)}"
            routes.append(Route(f"{table.id}/routes/{label}", label, prefix, NextHopType.NONE))
    return replace(net, route_tables=_changed(net.route_tables, name, routes=tuple(routes)))


def peering_changed(chance: Random, net: Network) -> Network:
    name = chance.choice(list(net.vnets))
    peerings = list(net.vnets[name].peerings)
    if not peerings:
        return net
    place, flag = chance.randrange(len(peerings)), chance.choice(("access", "forwarded", "gone"))
    item = peerings[place]
    if flag == "access":
        peerings[place] = replace(item, allow_virtual_network_access=not item.allow_virtual_network_access)
    elif flag == "forwarded":
        peerings[place] = replace(item, allow_forwarded_traffic=not item.allow_forwarded_traffic)
    else:
        del peerings[place]
    return replace(net, vnets=_changed(net.vnets, name, peerings=tuple(peerings)))


def nsg_moved(chance: Random, net: Network) -> Network:
    """Another NSG at a NIC or a subnet, or none."""
    nsg = chance.choice([None, *net.nsgs])
    if chance.random() < 0.5:
        return replace(net, nics=_changed(net.nics, chance.choice(list(net.nics)), nsg=nsg))
    return replace(net, subnets=_changed(net.subnets, chance.choice(list(net.subnets)), nsg=nsg))


def membership_changed(chance: Random, net: Network) -> Network:
    name = chance.choice(list(net.nics))
    asgs = tuple(asg for asg in net.asgs if chance.random() < 0.5)
    configurations = tuple(replace(item, asgs=asgs) for item in net.nics[name].ip_configurations)
    return replace(net, nics=_changed(net.nics, name, ip_configurations=configurations))


def machine_removed(chance: Random, net: Network) -> Network:
    name = chance.choice(list(net.nics))
    vm = net.nics[name].vm
    nics = {other: nic for other, nic in net.nics.items() if other != name}
    vms = {other: item for other, item in net.vms.items() if other != vm}
    gone = {key(item.id) for item in net.nics[name].ip_configurations}
    services = {
        other: replace(item, nics=(), endpoints=()) if name in item.nics else item
        for other, item in net.cloud_services.items()
    }
    balancers = {
        other: replace(item, nat_rules=tuple(rule for rule in item.nat_rules if rule.target not in gone))
        for other, item in net.load_balancers.items()
    }
    return replace(net, nics=nics, vms=vms, cloud_services=services, load_balancers=balancers)


def space_changed(chance: Random, net: Network) -> Network:
    """One more prefix in a virtual network."""
    name, prefix = chance.choice(list(net.vnets)), ip_network("10.77.0.0/16")
    if prefix in net.vnets[name].address_space:
        return net
    space = (*net.vnets[name].address_space, prefix)
    return replace(net, vnets=_changed(net.vnets, name, address_space=space))


def public_address_changed(chance: Random, net: Network) -> Network:
    """A NIC's public IP address is dissociated."""
    name = chance.choice(list(net.nics))
    configurations = tuple(replace(item, public_ip=None) for item in net.nics[name].ip_configurations)
    return replace(net, nics=_changed(net.nics, name, ip_configurations=configurations))


def balancing_changed(chance: Random, net: Network) -> Network:
    """One rule of a load balancer less."""
    if not net.load_balancers:
        return net
    name = chance.choice(list(net.load_balancers))
    rules, nat_rules = net.load_balancers[name].rules[1:], net.load_balancers[name].nat_rules[1:]
    return replace(net, load_balancers=_changed(net.load_balancers, name, rules=rules, nat_rules=nat_rules))


EDITS: tuple[Edit, ...] = (
    rule_added,
    rule_removed,
    rule_changed,
    route_changed,
    peering_changed,
    nsg_moved,
    membership_changed,
    machine_removed,
    space_changed,
    public_address_changed,
    balancing_changed,
)
