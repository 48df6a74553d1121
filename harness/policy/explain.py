"""Allow or deny for one flow, with every decision on its way: the entry to the policy engine.

>>> explain(network, Flow("web-01", "db-01", Protocol.TCP, 1433)).verdict   # doctest: +SKIP
<PolicyVerdict.DENY: 'deny'>

One flow at a time, every decision named; whole networks at once are :mod:`harness.policy.reachability`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from harness.errors import InputError
from harness.model import Flow
from harness.network.model import Access, IPAddress, Network, key
from harness.network.service_tags import ServiceTags
from harness.policy.compiled import DOCUMENTED, Compiled, compiled
from harness.policy.decision import (
    Decision,
    DecisionKind,
    EffectiveRoute,
    Explanation,
    Options,
    PolicyVerdict,
    Way,
)
from harness.policy.ends import End, resolve_ends
from harness.policy.fix import fixes
from harness.policy.journey import Journey
from harness.policy.packet import EPHEMERAL_PORT, Packet
from harness.policy.ports import Forgiven, State, survives
from harness.policy.trail import Drop

_RULES = (DecisionKind.NSG, DecisionKind.ADMIN_RULE)


def explain(
    network: Network | Compiled,
    flow: Flow,
    *,
    source_port: int = EPHEMERAL_PORT,
    options: Options = DOCUMENTED,
    service_tags: ServiceTags | None = None,
) -> Explanation:
    """What the configuration says of ``flow``, forward and return.

    Ends are VM names, ARM ids or IP addresses. Where a load balancer has the target's address, every
    backend must be reached: the verdict is that of the first that is not. A :class:`Compiled` brings
    its own options and tags. Raises InputError (UnknownNameError for a name that nothing has) where
    the flow does not fit the network or the snapshot cannot tell.
    """
    view = network if isinstance(network, Compiled) else compiled(network, options, service_tags)
    answers = explain_each(view, flow, source_port=source_port)
    refused = [answer for answer in answers if not answer.allowed]
    if not refused or len(answers) == 1:
        return (refused or answers)[0]
    return _one_of_many(refused[0], len(refused), len(answers))


def explain_each(view: Compiled, flow: Flow, *, source_port: int = EPHEMERAL_PORT) -> tuple[Explanation, ...]:
    """:func:`explain` for every backend that the target's address leads to; else one answer."""
    _check_ports(flow, source_port)
    source, targets = resolve_ends(view, flow)
    return tuple([_by_every_choice(view, flow, source, target, source_port) for target in targets])


def _by_every_choice(view: Compiled, flow: Flow, source: End, target: End, source_port: int) -> Explanation:
    """Where a next hop stands for several appliances, the flow must pass by each."""
    packet = _packet(flow, source, target, source_port)
    journey = Journey(view, source, target, packet)
    found = _explanation(view, flow, journey, source, target, source_port)
    for choice in range(1, journey.spread):
        if not found.allowed:
            break
        other = Journey(view, source, target, packet, choice=choice)
        found = _explanation(view, flow, other, source, target, source_port)
    return found


def explain_established(
    before: Network | Compiled,
    after: Network | Compiled,
    flow: Flow,
    *,
    source_port: int = EPHEMERAL_PORT,
    options: Options = DOCUMENTED,
    service_tags: ServiceTags | None = None,
) -> Explanation:
    """What becomes of a flow that was established under ``before`` when the network changes to ``after``.

    Ports that know the flow do not ask their rules again (but see :attr:`Options.inbound_tcp`); routes
    and peerings are asked anew. Raises InputError where ``before`` does not let the flow come about.
    """
    old, new = (
        item if isinstance(item, Compiled) else compiled(item, options, service_tags)
        for item in (before, after)
    )
    _check_ports(flow, source_port)
    source, targets = resolve_ends(old, flow)
    journey = Journey(old, source, targets[0], _packet(flow, source, targets[0], source_port))
    drop = journey.run()
    if drop is not None:
        raise InputError(
            f"{flow} is not allowed before the change, so there is no established flow to follow"
        )
    known: frozenset[State] = survives(new, journey.states(), flow.protocol)
    source, targets = resolve_ends(new, flow)
    packet = _packet(flow, source, targets[0], source_port)
    return _explanation(
        new, flow, Journey(new, source, targets[0], packet, known), source, targets[0], source_port
    )


def _packet(flow: Flow, source: End, target: End, source_port: int) -> Packet:
    # rules outward see the address that was asked for; rules inward see the private one behind it
    behind = target.public is not None or target.arrival is not None
    has_ports = flow.protocol.has_ports
    return Packet(
        protocol=flow.protocol,
        source=source.address,
        source_port=source_port if has_ports else None,
        destination=target.address,
        destination_port=flow.port if has_ports else None,
        source_asgs=_asgs(source),
        destination_asgs=frozenset() if behind else _asgs(target),
    )


def _explanation(
    view: Compiled, flow: Flow, journey: Journey, source: End, target: End, source_port: int
) -> Explanation:
    drop = journey.run()
    decisions = journey.decisions
    deciding = drop.decision if drop else _last_rule(decisions)
    return Explanation(
        flow=flow,
        verdict=PolicyVerdict.DENY if drop else PolicyVerdict.ALLOW,
        cause=drop.cause if drop else None,
        rule=deciding.rule if deciding else None,
        route=_route(view, source, target.address, drop),
        decisions=decisions,
        deciding=deciding,
        source_address=source.address,
        target_address=target.address,
        source_nic=source.nic.id if source.nic else None,
        target_nic=target.nic.id if target.nic else None,
        source_port=source_port if flow.protocol.has_ports else None,
        outbound=journey.outbound,
        options=view.options,
        fixing=partial(_fixes, view, source, target, journey, drop) if drop else None,
    )


_ROUNDS = 4
"""Denials one behind the other for which a change is proposed."""


def _fixes(view: Compiled, source: End, target: End, journey: Journey, drop: Drop) -> tuple[str, ...]:
    """The changes that let the flow through: that for what denies it, then for what would deny it next.

    Rules can be looked past one after another; where something else ends the flow, its fix is the last.
    """
    found = list(fixes(view.network, drop, journey.decisions))
    forgiven: set[Forgiven] = set()
    for _ in range(_ROUNDS):
        decision = drop.decision
        if decision.kind is not DecisionKind.NSG or decision.rule_id is None or decision.nic_id is None:
            break
        forgiven.add((decision.rule_id, key(decision.nic_id), decision.way))
        further = Journey(view, source, target, journey.packet, forgiven=frozenset(forgiven))
        next_drop = further.run()
        if next_drop is None:
            break
        drop = next_drop
        found += (line for line in fixes(view.network, drop, further.decisions) if line not in found)
    return tuple(found)


def _one_of_many(first: Explanation, refused: int, of: int) -> Explanation:
    assert first.deciding is not None  # a denial has one
    note = f"{first.deciding.why} ({refused} of {of} backends behind the address are not reached)"
    deciding = replace(first.deciding, why=note)
    decisions = tuple(deciding if item is first.deciding else item for item in first.decisions)
    return replace(first, deciding=deciding, decisions=decisions)


def _check_ports(flow: Flow, source_port: int) -> None:
    if not flow.protocol.has_ports:
        if flow.port is not None:
            raise InputError(f"{flow.protocol} has no ports, but port {flow.port} was given")
        return
    if flow.port is None:
        raise InputError(f"{flow.protocol} needs a port")
    for port in (flow.port, source_port):
        if not 0 < port <= 65535:
            raise InputError(f"{port} is no port: they go from 1 to 65535")


def _asgs(end: End) -> frozenset[str]:
    return frozenset(end.configuration.asgs) if end.configuration else frozenset()


def _last_rule(decisions: tuple[Decision, ...]) -> Decision | None:
    """The last rule that let the flow's own packet pass, which is the target's where it has an NSG."""
    last = None
    for item in decisions:
        if item.way is Way.FORWARD and item.access is Access.ALLOW:
            rule = item.kind in _RULES and item.rule is not None
            if rule or last is None or last.rule is None:
                last = item
    return last


def _route(view: Compiled, source: End, target: IPAddress, drop: Drop | None) -> EffectiveRoute | None:
    """The route that denied, else the first route of the source."""
    if drop is not None and drop.decision.route is not None:
        return drop.decision.route
    if source.nic is None:
        return None
    return view.context(source.nic.subnet).routes.find(target.version, int(target))
