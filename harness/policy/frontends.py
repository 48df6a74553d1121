"""What a load balancer's frontend passes on, and to whom.

By the rules that stand on it: an inbound NAT rule to one machine, a load-balancing rule to any of its
pool, so that every member is a way for the packet; TCP and UDP only. Health probes are not asked:
every member counts. A NAT rule over a pool is taken to give out its ports in the pool's order.

Rules of network security groups see the member's own private address (azure-facts, "NAT position").
That is kept with floating IP, where the guest itself receives the frontend's address.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.model import Cause, Protocol
from harness.network.addresses import Ranges, common, merged
from harness.network.balancing import InboundNatRule, LoadBalancingRule
from harness.network.model import IPAddress, key
from harness.policy.arrival import Arrival, Refusal
from harness.policy.balancers import Balancers, Frontend, Member, balances
from harness.policy.portset import ALL_PORTS, other_ports


@dataclass(frozen=True, slots=True)
class Passage:
    """What one rule lets through to one member: protocols, ports at the frontend, and as they are behind."""

    member: Member
    protocols: tuple[Protocol, ...]
    front_ports: Ranges
    ports: Ranges


def frontend_arrivals(
    balancers: Balancers, frontend: Frontend, address: IPAddress, protocol: Protocol, port: int | None
) -> tuple[Arrival, ...] | Refusal:
    """Who gets what is sent to a port of ``address``, which is the frontend's."""
    if not protocol.has_ports or port is None:
        # a Standard load balancer may answer a ping itself; no machine sees it
        why = f"a load balancer passes on TCP and UDP only, not {protocol}"
        return Refusal(Cause.NO_INBOUND_RULE, frontend.label, why, frontend.balancer.id)
    for nat_rule in frontend.nat_rules:
        if balances(nat_rule.protocol, protocol) and port in nat_rule.frontend_ports:
            return _forwarded(balancers, frontend, nat_rule, address, protocol, port)
    rules = [item for item in frontend.rules if balances(item.protocol, protocol)]
    exact = (item for item in rules if item.frontend_port == port)
    every_port = (item for item in rules if not item.frontend_port)
    rule = next(exact, None) or next(every_port, None)
    if rule is None:
        why = f"no rule for {protocol} port {port}; {_nearest(frontend, protocol, port)}"
        return Refusal(Cause.NO_INBOUND_RULE, frontend.label, why, frontend.balancer.id)
    return _balanced(balancers, frontend, rule, address, protocol, port)


def behind(balancers: Balancers, frontend: Frontend, family: int) -> tuple[Arrival, ...]:
    """Who is behind a frontend that a route has as its next hop.

    The pools of its rules for every port (HA ports): only those take whatever a route sends there.
    """
    found: dict[str, Arrival] = {}
    for rule in (rule for rule in frontend.rules if not rule.frontend_port):
        for member in _backends(balancers, rule.pools, family):
            why = f"{member.configuration.address} is in the backend pool of the next hop"
            arrival = _arrival(frontend, rule, member, None, why)
            found.setdefault(key(member.configuration.id), arrival)
    return tuple(found.values())


def passages(balancers: Balancers, frontend: Frontend, family: int) -> Iterator[Passage]:
    """Everything that a frontend passes on to members of one address family.

    In the order in which a packet asks: what one rule takes, no later one gets.
    """
    taken: dict[Protocol, Ranges] = {}
    # a rule for one port goes before one for every port
    ordered = sorted(frontend.rules, key=lambda rule: not rule.frontend_port)
    rules: tuple[LoadBalancingRule | InboundNatRule, ...] = (*frontend.nat_rules, *ordered)
    for rule in rules:
        whole: Ranges = (_frontend_ports(rule),)
        free: dict[Ranges, list[Protocol]] = {}
        for protocol in Protocol:
            if balances(rule.protocol, protocol):
                before = taken.get(protocol, ())
                free.setdefault(common(whole, other_ports(before)), []).append(protocol)
                taken[protocol] = merged((*before, *whole))
        for ports, protocols in free.items():
            for member, front, behind_it in _taking(balancers, rule, ports, family):
                yield Passage(member, tuple(protocols), front, behind_it)


def _taking(
    balancers: Balancers, rule: LoadBalancingRule | InboundNatRule, free: Ranges, family: int
) -> Iterator[tuple[Member, Ranges, Ranges]]:
    """Who gets what of the frontend ports ``free``: the ports there, and behind."""
    if isinstance(rule, InboundNatRule):
        behind_it: Ranges = ((rule.backend_port, rule.backend_port),)
        for port, member in _targets(balancers, rule, family):
            front = common(((port, port),), free)
            if front:
                yield member, front, behind_it
    elif free:
        behind_it = ((rule.backend_port, rule.backend_port),) if rule.frontend_port else free
        for member in _backends(balancers, rule.pools, family):
            yield member, free, behind_it


def _balanced(
    balancers: Balancers,
    frontend: Frontend,
    rule: LoadBalancingRule,
    address: IPAddress,
    protocol: Protocol,
    port: int,
) -> tuple[Arrival, ...] | Refusal:
    members = _backends(balancers, rule.pools, address.version)
    if not members:
        why = f"nothing of the network is in the backend pool of load-balancing rule '{rule.name}'"
        return Refusal(None, frontend.label, why, rule.id)
    port_behind = rule.backend_port if rule.frontend_port else port
    floating = f"; the guest receives it at {address} (floating IP)" if rule.floating_ip else ""
    one_of = f", one of {len(members)} backends" if len(members) > 1 else ""
    what = f"{protocol} port {port} of {address} is balanced to port {port_behind} of"
    return tuple(
        _arrival(
            frontend,
            rule,
            member,
            port_behind,
            f"{what} {member.configuration.address}{one_of}{floating}",
        )
        for member in members
    )


def _forwarded(
    balancers: Balancers,
    frontend: Frontend,
    rule: InboundNatRule,
    address: IPAddress,
    protocol: Protocol,
    port: int,
) -> tuple[Arrival, ...] | Refusal:
    targets = _targets(balancers, rule, address.version)
    member = next((member for own, member in targets if own == port), None)
    if member is None:
        why = f"inbound NAT rule '{rule.name}' has no machine of the network for port {port}"
        return Refusal(None, frontend.label, why, rule.id)
    why = (
        f"{protocol} port {port} of {address} is forwarded to port {rule.backend_port} of"
        f" {member.configuration.address}"
    )
    if rule.pool is not None:
        why += " (ports are taken to be given out in the pool's order)"
    return (_arrival(frontend, rule, member, rule.backend_port, why),)


def _targets(balancers: Balancers, rule: InboundNatRule, family: int) -> Iterator[tuple[int, Member]]:
    """The machines of an inbound NAT rule, each with its frontend port."""
    if rule.pool is not None:
        ports = range(rule.frontend_ports.first, rule.frontend_ports.last + 1)
        yield from zip(ports, _backends(balancers, (rule.pool,), family), strict=False)
    elif rule.target is not None:
        member = balancers.member(rule.target)
        if member is not None and member.configuration.address.version == family:
            yield rule.frontend_ports.first, member


def _backends(balancers: Balancers, pools: tuple[str, ...], family: int) -> list[Member]:
    members = balancers.members_of_all(pools)
    return [item for item in members if item.configuration.address.version == family]


def _arrival(
    frontend: Frontend, rule: LoadBalancingRule | InboundNatRule, member: Member, port: int | None, why: str
) -> Arrival:
    where = f"load balancer '{frontend.balancer.name}', rule '{rule.name}'"
    return Arrival(member.nic, member.configuration, port, where, why, rule.id, frontend.balancer.sku)


def _nearest(frontend: Frontend, protocol: Protocol, port: int) -> str:
    """The rule that comes closest: the same port for the other protocol, else the next port."""

    def distance(rule: LoadBalancingRule | InboundNatRule) -> tuple[int, bool]:
        first, last = _frontend_ports(rule)
        return max(first - port, port - last, 0), not balances(rule.protocol, protocol)

    rules: tuple[LoadBalancingRule | InboundNatRule, ...] = (*frontend.nat_rules, *frontend.rules)
    if not rules:
        return "the frontend has no inbound rule"
    rule = min(rules, key=distance)
    first, last = _frontend_ports(rule)
    ports = f"port {first}" if first == last else f"ports {first}-{last}"
    return f"the nearest is rule '{rule.name}' for {rule.protocol.value} {ports}"


def _frontend_ports(rule: LoadBalancingRule | InboundNatRule) -> tuple[int, int]:
    if isinstance(rule, InboundNatRule):
        return rule.frontend_ports.first, rule.frontend_ports.last
    return (rule.frontend_port, rule.frontend_port) if rule.frontend_port else ALL_PORTS[0]
