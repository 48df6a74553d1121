"""The smallest change that removes a denial, as Azure CLI commands (:mod:`harness.azure_cli`)."""

from __future__ import annotations

from collections.abc import Sequence

from harness.azure_cli import (
    allow_forwarding,
    az,
    group_option,
    named,
    nic_update,
    peering_command,
    peering_create,
    route_command,
    rule_command,
    subnet_update,
)
from harness.model import Cause
from harness.network.armids import segment
from harness.network.model import (
    Direction,
    Network,
    NetworkSecurityGroup,
    PeeringState,
    RouteSource,
    key,
    short_name,
)
from harness.network.rules import CUSTOM_PRIORITIES
from harness.policy.decision import Decision, DecisionKind, Way
from harness.policy.peering import peering_between
from harness.policy.trail import Drop, Membership


def fixes(network: Network, drop: Drop, decisions: Sequence[Decision]) -> tuple[str, ...]:
    """Commands for the drop that ended ``decisions``; alternatives where there are several, or none known."""
    decision = drop.decision
    if drop.vnets is not None and drop.cause is not None:
        return _peering(network, drop.cause, *drop.vnets)
    if drop.cause is Cause.ADMIN_RULE and decision.rule_id:
        return _admin_rule(decision.rule_id)
    if drop.cause is Cause.NO_OUTBOUND and decision.object_id:
        return (_way_out(network, decision.object_id),)
    if drop.cause is Cause.APPLIANCE_NOT_FORWARDING and decision.nic_id:
        return (allow_forwarding(decision.nic_id),)
    if drop.cause is Cause.APPLIANCE_UNREACHABLE:
        return _appliance_address(decision)
    if drop.lacking is not None:
        return _join(network, drop.lacking)
    if drop.cause is Cause.ASYMMETRIC_RETURN:
        return (*_straighten(decisions), *_rule(network, drop))
    if decision.kind is DecisionKind.NSG:
        return _rule(network, drop)
    if decision.kind is DecisionKind.INBOUND and drop.cause is Cause.DEFAULT_DENY:
        group = ("network-security-group", "<network security group that allows the flow>")
        return (nic_update(decision.nic_id or "<network interface>", group),)
    if drop.cause is Cause.GATEWAY_CONNECTION_DOWN and decision.object_id:
        status = ("query", "connectionStatus")
        return (named("network vpn-connection show", decision.object_id, status),)
    if decision.route is not None and decision.route.source is RouteSource.USER and decision.route.id:
        return (route_command("delete", decision.route.id),)
    return ()


def _join(network: Network, lacking: Membership) -> tuple[str, ...]:
    """Puts the end's IP configuration into the ASG that the allow rule names, beside those it has."""
    nic, configuration = lacking.end.nic, lacking.end.configuration
    if nic is None or configuration is None:
        return ()
    asg = network.asgs.get(lacking.asgs[0])
    return (
        az(
            "network nic ip-config update",
            group_option(nic.id),
            ("nic-name", nic.name),
            ("name", configuration.name),
            ("application-security-groups", asg.id if asg is not None else lacking.asgs[0]),
        ),
    )


def _way_out(network: Network, subnet_id: str) -> str:
    """A NAT gateway for the subnet, or a public address for the one that it has."""
    subnet = network.subnets.get(key(subnet_id))
    gateway = network.nat_gateways.get(subnet.nat_gateway or "") if subnet is not None else None
    if gateway is None:
        return subnet_update(subnet_id, ("nat-gateway", "<nat gateway>"))
    return named("network nat gateway update", gateway.id, ("public-ip-addresses", "<public ip>"))


def _appliance_address(decision: Decision) -> tuple[str, ...]:
    if decision.route is None or decision.route.id is None:
        return ()
    hop = ("next-hop-ip-address", "<address of a running appliance>")
    return (route_command("update", decision.route.id, hop), route_command("delete", decision.route.id))


def _straighten(decisions: Sequence[Decision]) -> tuple[str, ...]:
    """The answer goes another way than the request because of the last user-defined route it took."""
    taken = [item.route for item in decisions if item.way is Way.RETURN and item.kind is DecisionKind.ROUTE]
    ids = [route.id for route in taken if route and route.source is RouteSource.USER and route.id]
    return tuple(route_command("delete", route_id) for route_id in ids[-1:])


def _rule(network: Network, drop: Drop) -> tuple[str, ...]:
    """An allow rule for this one flow, just before the rule that denied."""
    decision, packet = drop.decision, drop.packet
    group = network.nsgs.get(key(decision.object_id or ""))
    denying = next((r for r in group.rules if r.id == decision.rule_id), None) if group else None
    if group is None or denying is None or packet is None:
        return ()
    priority = _free_priority(group, denying.direction, denying.priority)
    if priority is None:
        return () if denying.default else (rule_command("delete", denying.id),)
    # the service's port is fixed, the client's is not
    answer = decision.way is Way.RETURN
    service = packet.source_port if answer else packet.destination_port
    port = "*" if service is None else str(service)
    label = "" if service is None else f"-{service}"
    return (
        rule_command(
            "create",
            f"{group.id}/securityRules/allow-{packet.protocol}{label}-{priority}",
            ("priority", str(priority)),
            ("direction", denying.direction),
            ("access", "Allow"),
            ("protocol", packet.protocol.value.capitalize()),
            ("source-address-prefixes", str(packet.source)),
            ("source-port-ranges", port if answer else "*"),
            ("destination-address-prefixes", str(packet.destination)),
            ("destination-port-ranges", "*" if answer else port),
        ),
    )


def _free_priority(group: NetworkSecurityGroup, direction: Direction, below: int) -> int | None:
    """The highest unused priority number that is asked before ``below``."""
    used = {rule.priority for rule in group.ordered(direction)}
    low, high = CUSTOM_PRIORITIES
    return next((n for n in range(min(below - 1, high), low - 1, -1) if n not in used), None)


def _admin_rule(rule_id: str) -> tuple[str, ...]:
    """An admin rule wins over every NSG: only its owner can take it back, and must deploy the change."""
    names = (
        group_option(rule_id),
        ("network-manager-name", segment(rule_id, "networkManagers") or ""),
        ("configuration-name", segment(rule_id, "securityAdminConfigurations") or ""),
        ("rule-collection-name", segment(rule_id, "ruleCollections") or ""),
        ("rule-name", short_name(rule_id)),
    )
    return (az("network manager security-admin-config rule-collection rule delete", *names),)


def _peering(network: Network, cause: Cause, here: str, there: str) -> tuple[str, ...]:
    """``here`` is the virtual network whose side is at fault."""
    if cause is Cause.NOT_SYNCHRONISED:
        existing = (peering_between(network, *side) for side in ((here, there), (there, here)))
        return tuple(peering_command("sync", peering.id) for peering in existing if peering is not None)
    if cause in (Cause.NO_PEERING, Cause.NOT_TRANSITIVE):
        pairs = [(here, there), (there, here)]
        return tuple(_create(network, *pair) for pair in pairs if peering_between(network, *pair) is None)
    if cause is Cause.PEERING_NOT_CONNECTED:
        return _reconnect(network, here, there)
    setting = {
        Cause.PEERING_ACCESS_DISABLED: ("allow_virtual_network_access", "allowVirtualNetworkAccess"),
        Cause.FORWARDED_TRAFFIC_REFUSED: ("allow_forwarded_traffic", "allowForwardedTraffic"),
    }[cause]
    sides = [(here, there)] if cause is Cause.FORWARDED_TRAFFIC_REFUSED else [(here, there), (there, here)]
    found = (peering_between(network, *side) for side in sides)
    return tuple(
        peering_command("update", peering.id, ("set", f"{setting[1]}=true"))
        for peering in found
        if peering is not None and not getattr(peering, setting[0])
    )


def _reconnect(network: Network, here: str, there: str) -> tuple[str, ...]:
    """Initiated waits for its other side; what is Disconnected, or waits although it exists, is made anew."""
    commands = []
    for side in ((here, there), (there, here)):
        peering, other = peering_between(network, *side), peering_between(network, *reversed(side))
        if peering is None:
            commands.append(_create(network, *side))
        elif peering.state is PeeringState.DISCONNECTED or (
            other is not None and peering.state is PeeringState.INITIATED
        ):
            commands += [peering_command("delete", peering.id), _create(network, *side)]
    return tuple(commands)


def _create(network: Network, here: str, there: str) -> str:
    return peering_create(network.vnets[here].id, network.vnets[there].id)
