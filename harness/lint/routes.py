"""User-defined routes that lose traffic, or do nothing.

A route table is judged in every virtual network whose subnets have it. Whether an appliance's guest
forwards is not visible in a configuration, only whether Azure lets it (enableIPForwarding).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from harness.azure_cli import allow_forwarding, named, route_command, subnet_update
from harness.lint.finding import Check, Defect, Severity, check
from harness.lint.survey import Survey
from harness.lint.wording import listed
from harness.network.addresses import AddressSet
from harness.network.model import IPAddress, NetworkInterface, NextHopType, Route, Subnet, key
from harness.policy.decision import EffectiveRoute
from harness.policy.gateways import gateway_of

FIREWALL_SUBNET = "azurefirewallsubnet"
"""Azure Firewall's subnet: the service answers there without a NIC that anybody sees."""


@check("route/appliance-missing", Severity.ERROR)
def appliance_missing(survey: Survey) -> Iterator[Defect]:
    """Route to an appliance that does not exist.

    No NIC of the virtual network or its connected peers has the next hop's address, nor has an
    internal load balancer with machines behind a rule for every port (HA ports). A warning where a
    resource that azreach does not model may have it. Not asked of addresses in AzureFirewallSubnet, nor
    of those in a peer that the snapshot does not hold.
    """
    for route, address, vnet, subnets in _next_hops(survey):
        if survey.appliances(vnet, address) or _not_visible(survey, vnet, address):
            continue
        name = survey.network.vnets[vnet].name
        reason = (
            f"route '{route.name}' sends {route.prefix} to {address}, which no network interface and no load"
            f" balancer with a rule for every port (HA ports) in '{name}' or its connected peers has"
        )
        holders = [nic for nic, _ in survey.network.holders.get(address, ())]
        frontend = survey.view.publications.frontend_owner(address)
        owners = [nic.id for nic in holders] or ([frontend.id] if frontend is not None else [])
        severity = Severity.ERROR
        if holders:
            where = survey.network.vnets[survey.view.vnet_of(holders[0])].name
            has_it = f"'{holders[0].name}' in '{where}' has it"
            reason += f"; {has_it}, but no connected and synchronised peering leads there"
        elif frontend is not None:
            reason += f"; {frontend.label} has it"
        elif survey.network.unmodelled and _in_reach(survey, vnet, address):
            kinds = sorted({kind.rpartition("/")[2] for kind, _ in survey.network.unmodelled})
            reason += f"; unless a resource that is not modelled has it ({listed(kinds)})"
            severity = Severity.WARNING
        hop = ("next-hop-ip-address", "<address of a running appliance>")
        yield Defect(
            route.id,
            reason,
            "properties.nextHopIpAddress",
            (*owners, *(subnet.id for subnet in subnets)),
            (route_command("update", route.id, hop), route_command("delete", route.id)),
            severity,
        )


@check("route/appliance-not-forwarding", Severity.ERROR)
def appliance_not_forwarding(survey: Survey) -> Iterator[Defect]:
    """Route to a NIC that may not forward.

    Azure drops what arrives at a NIC without enableIPForwarding and is not for its own address.
    Behind a load balancer every backend of the frontend is asked.
    """
    for route, address, vnet, subnets in _next_hops(survey):
        closed = [nic for nic in survey.appliances(vnet, address) if not nic.ip_forwarding]
        if closed:
            yield Defect(
                route.id,
                f"route '{route.name}' sends {route.prefix} to {address}, but"
                f" {listed(nic.name for nic in closed)}{_behind(survey, closed, address)} has"
                " enableIPForwarding off",
                "properties.nextHopIpAddress",
                (*(nic.id for nic in closed), *(subnet.id for subnet in subnets)),
                tuple(allow_forwarding(nic.id) for nic in closed),
            )


@check("route/appliance-loop", Severity.ERROR)
def appliance_loop(survey: Survey) -> Iterator[Defect]:
    """Route that sends an appliance's own packets back to it.

    The appliance's subnet has the route table that names it as next hop, and it has no NIC in a
    subnet without that route: whatever it forwards for the prefix comes back to it.
    """
    for route, address, vnet, subnets in _next_hops(survey):
        looped = {key(subnet.id) for subnet in subnets}
        for nic in survey.appliances(vnet, address):
            vm = survey.network.vms.get(nic.vm or "")
            nics = [survey.network.nics[name] for name in vm.nics] if vm is not None else [nic]
            if nic.ip_forwarding and all(item.subnet in looped for item in nics):
                subnet = survey.network.subnets[nic.subnet]
                yield Defect(
                    route.id,
                    f"route '{route.name}' applies in '{subnet.name}', where its own next hop"
                    f" '{nic.name}' is: what that forwards for {route.prefix} comes back to it",
                    "properties.nextHopIpAddress",
                    (nic.id, subnet.id),
                    (subnet_update(subnet.id, ("remove", "routeTable")),),
                )


@check("route/drops-own-space", Severity.WARNING)
def drops_own_space(survey: Survey) -> Iterator[Defect]:
    """Route to None for addresses of the virtual network itself or of a connected peer.

    The route is as specific as the system route or more, so it wins, and the subnets lose that part.
    """
    for route, vnet, subnets in _routes_to(survey, NextHopType.NONE):
        for system in survey.direct_routes(subnets[0]):
            if not AddressSet.of([route.prefix]) - AddressSet.of([system.prefix]):
                whose = "the virtual network's own" if system.peer is None else f"peering '{system.name}'s"
                yield Defect(
                    route.id,
                    f"route '{route.name}' drops {route.prefix}, which is in {whose} {system.prefix}",
                    "properties.nextHopType",
                    (survey.network.vnets[vnet].id, *(subnet.id for subnet in subnets)),
                    (route_command("delete", route.id),),
                )


@check("route/gateway-missing", Severity.ERROR)
def gateway_missing(survey: Survey) -> Iterator[Defect]:
    """Route to a virtual network gateway where there is none.

    The virtual network has no gateway and uses no peer's. Not asked where it uses the gateway of a
    peer that the snapshot does not hold.
    """
    for route, vnet, subnets in _routes_to(survey, NextHopType.VIRTUAL_NETWORK_GATEWAY):
        peerings = survey.network.vnets[vnet].peerings
        hidden = any(p.use_remote_gateways and p.remote_vnet not in survey.network.vnets for p in peerings)
        if not hidden and gateway_of(survey.network, vnet) is None:
            owner = survey.network.vnets[vnet]
            yield Defect(
                route.id,
                f"route '{route.name}' sends {route.prefix} to a virtual network gateway,"
                f" but '{owner.name}' has none and uses no peer's",
                "properties.nextHopType",
                (owner.id, *(subnet.id for subnet in subnets)),
                (route_command("delete", route.id),),
            )


@check("route/vnet-local-outside", Severity.WARNING)
def vnet_local_outside(survey: Survey) -> Iterator[Defect]:
    """Route to VnetLocal for addresses that the virtual network does not have.

    No part of the prefix is in the virtual network's or a connected peer's space, so nobody answers.
    """
    for route, vnet, subnets in _routes_to(survey, NextHopType.VNET_LOCAL):
        space = AddressSet.of(system.prefix for system in survey.direct_routes(subnets[0]))
        if not AddressSet.of([route.prefix]) & space:
            owner = survey.network.vnets[vnet]
            yield Defect(
                route.id,
                f"route '{route.name}' keeps {route.prefix} in '{owner.name}', which has no such address",
                "properties.nextHopType",
                (owner.id,),
                (route_command("delete", route.id),),
            )


@check("route/never-wins", Severity.WARNING)
def never_wins(survey: Survey) -> Iterator[Defect]:
    """Route that no packet takes.

    More specific routes cover all of its prefix in every subnet that has the table: a summary for an
    appliance, for example, loses to the routes of the peerings that it was to replace.
    """
    for table in survey.network.route_tables.values():
        subnets = survey.tables.get(key(table.id), ())
        for route in table.routes if subnets else ():
            winners = [_winners(survey, subnet, route) for subnet in subnets]
            if all(winners):
                names = listed(dict.fromkeys(str(winner) for found in winners for winner in found))
                yield Defect(
                    route.id,
                    f"route '{route.name}' for {route.prefix} is never taken: more specific routes"
                    f" cover it ({names})",
                    "properties.addressPrefix",
                    tuple(subnet.id for subnet in subnets),
                    (
                        route_command("update", route.id, ("address-prefix", "<prefix of the other route>")),
                        route_command("delete", route.id),
                    ),
                )


@check("route/unused-table", Severity.NOTE)
def unused_table(survey: Survey) -> Iterator[Defect]:
    """Route table that no subnet has."""
    for name, table in survey.network.route_tables.items():
        if name not in survey.tables:
            reason = f"route table '{table.name}' is associated with no subnet"
            yield Defect(table.id, reason, fix=(named("network route-table delete", table.id),))


def _routes_to(survey: Survey, hop: NextHopType) -> Iterator[tuple[Route, str, list[Subnet]]]:
    """Routes with that next hop, each once for every virtual network (key) where subnets have it."""
    for table in survey.network.route_tables.values():
        by_vnet: dict[str, list[Subnet]] = defaultdict(list)
        for subnet in survey.tables.get(key(table.id), ()):
            by_vnet[subnet.vnet].append(subnet)
        for route in table.routes:
            if route.next_hop_type is hop:
                yield from ((route, vnet, subnets) for vnet, subnets in by_vnet.items())


def _next_hops(survey: Survey) -> Iterator[tuple[Route, IPAddress, str, list[Subnet]]]:
    """Routes to appliances, each once for every next hop and every virtual network."""
    for route, vnet, subnets in _routes_to(survey, NextHopType.VIRTUAL_APPLIANCE):
        for address in (route.next_hop_ip, *route.other_next_hops):
            if address is not None:
                yield route, address, vnet, subnets


def _behind(survey: Survey, nics: list[NetworkInterface], address: IPAddress) -> str:
    """The load balancer where it has the address itself."""
    own = any(item.address == address for nic in nics for item in nic.ip_configurations)
    owner = None if own else survey.view.publications.frontend_owner(address)
    return f" behind {owner.label}" if owner is not None else ""


def _in_reach(survey: Survey, vnet: str, address: IPAddress) -> bool:
    vnets = survey.network.vnets
    known = [vnets[reached] for reached in survey.view.within_reach(vnet) if reached in vnets]
    return any(address in prefix for owner in known for prefix in owner.address_space)


def _not_visible(survey: Survey, vnet: str, address: IPAddress) -> bool:
    """Whether somebody may well have the address whom no snapshot, or not this one, shows."""
    network = survey.network
    for peering in network.vnets[vnet].peerings:
        hidden = peering.remote_vnet not in network.vnets
        if hidden and any(address in prefix for prefix in peering.remote_address_space):
            return True
    return any(
        address in prefix
        for reached in survey.view.within_reach(vnet) if reached in network.vnets
        for name in network.vnets[reached].subnets
        if network.subnets[name].name.lower() == FIREWALL_SUBNET
        for prefix in network.subnets[name].prefixes
    )  # fmt: skip


def _winners(survey: Survey, subnet: Subnet, route: Route) -> list[EffectiveRoute]:
    """The more specific routes of ``subnet`` that leave ``route`` nothing; [] where it has something."""
    inside = [
        other
        for other in survey.routes(subnet)
        if other.prefix.version == route.prefix.version
        and other.prefix.prefixlen > route.prefix.prefixlen
        and other.prefix.network_address in route.prefix
    ]
    left = AddressSet.of([route.prefix]) - AddressSet.of(other.prefix for other in inside)
    return [] if left else inside


CHECKS: tuple[Check, ...] = (
    appliance_missing, appliance_not_forwarding, appliance_loop, drops_own_space,
    gateway_missing, vnet_local_outside, never_wins, unused_table,
)  # fmt: skip
