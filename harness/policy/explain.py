"""Allow or deny for one flow, with every decision on its way: the entry to the policy engine.

>>> explain(network, Flow("web-01", "db-01", Protocol.TCP, 1433)).verdict   # doctest: +SKIP
<PolicyVerdict.DENY: 'deny'>

Correct before fast: one flow at a time, nothing kept between calls. Not for many pairs.
"""

from __future__ import annotations

from harness.errors import InputError
from harness.model import Flow, Protocol
from harness.network.model import Access, Network
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
from harness.policy.packet import Packet
from harness.policy.routing import effective_routes, select_route
from harness.policy.trail import Drop

EPHEMERAL_PORT = 49152
"""The source port that is assumed: the first of IANA's dynamic range (RFC 6335)."""

_DOCUMENTED = Options()


def explain(
    network: Network, flow: Flow, *, source_port: int = EPHEMERAL_PORT, options: Options = _DOCUMENTED
) -> Explanation:
    """What the configuration says of ``flow``, forward and return.

    Ends are VM names, ARM ids or IP addresses. Raises InputError (UnknownNameError for a name
    that nothing has) where the flow does not fit the network or the snapshot cannot tell.
    """
    _check_ports(flow, source_port)
    source, target = resolve_ends(network, flow)
    by_public = source.nic is not None and target.public is not None
    has_ports = flow.protocol is not Protocol.ICMP
    packet = Packet(
        protocol=flow.protocol,
        source=source.address,
        source_port=source_port if has_ports else None,
        # rules outward see the public address that was asked for, rules inward the private one behind it
        destination=target.public if by_public and target.public else target.address,
        destination_port=flow.port if has_ports else None,
        source_asgs=_asgs(source),
        destination_asgs=frozenset() if by_public else _asgs(target),
    )
    journey = Journey(network, source, target, packet, options)
    drop = journey.run()
    decisions = journey.decisions
    deciding = drop.decision if drop else _last_rule(decisions)
    return Explanation(
        flow=flow,
        verdict=PolicyVerdict.DENY if drop else PolicyVerdict.ALLOW,
        cause=drop.cause if drop else None,
        rule=deciding.rule if deciding else None,
        route=_route(network, source, packet, drop),
        decisions=decisions,
        deciding=deciding,
        source_address=packet.source,
        target_address=packet.destination,
        source_nic=source.nic.id if source.nic else None,
        target_nic=target.nic.id if target.nic else None,
        source_port=packet.source_port,
        fix=fixes(network, drop, decisions) if drop else (),
        options=options,
    )


def _check_ports(flow: Flow, source_port: int) -> None:
    if flow.protocol is Protocol.ICMP:
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
    forward = [item for item in decisions if item.way is Way.FORWARD]
    rules = [item for item in forward if item.kind is DecisionKind.NSG and item.rule is not None]
    allowed = [item for item in rules or forward if item.access is Access.ALLOW]
    return allowed[-1] if allowed else None


def _route(network: Network, source: End, packet: Packet, drop: Drop | None) -> EffectiveRoute | None:
    """The route that denied, else the first route of the source."""
    if drop is not None and drop.decision.route is not None:
        return drop.decision.route
    if source.nic is None:
        return None
    return select_route(effective_routes(network, source.nic), packet.destination)
