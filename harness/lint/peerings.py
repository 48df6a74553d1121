"""Peerings of which one side, or both, are not what they should be."""

from __future__ import annotations

from collections.abc import Iterator

from harness.azure_cli import peering_command, peering_create
from harness.lint.finding import Check, Defect, Severity, check
from harness.lint.survey import Survey
from harness.network.addresses import AddressSet
from harness.network.model import NextHopType, PeeringState, VirtualNetwork, VirtualNetworkPeering, key
from harness.policy.peering import peering_between

SYNCHRONISED = "fullyinsync"


@check("peering/one-sided", Severity.ERROR)
def one_sided(survey: Survey) -> Iterator[Defect]:
    """Peering without its other side.

    The remote virtual network is in the snapshot and has no peering back, so nothing passes.
    """
    for here, peering, there in _known(survey):
        if peering_between(survey.network, key(there.id), key(here.id)) is None:
            yield Defect(
                peering.id,
                f"peering '{peering.name}' is one-sided: '{there.name}' has none with '{here.name}'",
                "properties.remoteVirtualNetwork",
                (there.id,),
                (peering_create(there.id, here.id),),
            )


@check("peering/not-connected", Severity.ERROR)
def not_connected(survey: Survey) -> Iterator[Defect]:
    """Peering in state Initiated or Disconnected.

    Traffic passes only while both sides are Connected. What waits for a missing other side is
    reported as one-sided.
    """
    for here, peering in _peerings(survey):
        there = survey.network.vnets.get(peering.remote_vnet)
        back = peering_between(survey.network, peering.remote_vnet, key(here.id))
        if peering.state is not PeeringState.CONNECTED and not (there is not None and back is None):
            again = (peering_create(here.id, there.id),) if there is not None else ()
            yield Defect(
                peering.id,
                f"peering '{peering.name}' of '{here.name}' is {peering.state}, not Connected",
                "properties.peeringState",
                (there.id,) if there is not None else (),
                (peering_command("delete", peering.id), *again),
            )


@check("peering/not-synchronised", Severity.WARNING)
def not_synchronised(survey: Survey) -> Iterator[Defect]:
    """Peering that does not know the remote side's address space.

    The remote virtual network's space differs from what was last synchronised, or Azure says so
    (peeringSyncLevel): addresses that were added have no route, those that were removed still have.
    """
    for here, peering in _peerings(survey):
        there = survey.network.vnets.get(peering.remote_vnet)
        if peering.state is PeeringState.CONNECTED:
            problem = _difference(peering, there)
            level = (peering.sync_level or SYNCHRONISED).lower()
            if not problem and level != SYNCHRONISED:
                problem = f"Azure says {peering.sync_level}"
            if problem:
                yield Defect(
                    peering.id,
                    f"peering '{peering.name}' of '{here.name}' is not synchronised: {problem}",
                    "properties.remoteVirtualNetworkAddressSpace",
                    (there.id,) if there is not None else (),
                    (peering_command("sync", peering.id),),
                )


@check("peering/no-remote-gateway", Severity.ERROR)
def no_remote_gateway(survey: Survey) -> Iterator[Defect]:
    """Peering that uses a gateway which the other side does not lend or does not have."""
    gateways = {gateway.vnet for gateway in survey.network.gateways.values()}
    for here, peering, there in _known(survey):
        if not peering.use_remote_gateways:
            continue
        back = peering_between(survey.network, key(there.id), key(here.id))
        label = f"peering '{peering.name}' of '{here.name}' uses the gateway of '{there.name}'"
        if back is not None and not back.allow_gateway_transit:
            yield Defect(
                peering.id,
                f"{label}, but its peering '{back.name}' does not allow gateway transit",
                "properties.useRemoteGateways",
                (back.id, there.id),
                (peering_command("update", back.id, ("set", "allowGatewayTransit=true")),),
            )
        if key(there.id) not in gateways:
            yield Defect(
                peering.id,
                f"{label}, which has none",
                "properties.useRemoteGateways",
                (there.id,),
                (peering_command("update", peering.id, ("set", "useRemoteGateways=false")),),
            )


@check("peering/access-one-sided", Severity.WARNING)
def access_one_sided(survey: Survey) -> Iterator[Defect]:
    """Peering that only one side has closed (allowVirtualNetworkAccess).

    The side with access off keeps the other's space out of its VirtualNetwork tag; the open side
    still counts it in and sends.
    """
    for here, peering, there in _known(survey):
        back = peering_between(survey.network, key(there.id), key(here.id))
        closed = not peering.allow_virtual_network_access
        if back is not None and closed and back.allow_virtual_network_access:
            yield Defect(
                peering.id,
                f"peering '{peering.name}' of '{here.name}' has allowVirtualNetworkAccess off,"
                f" while '{back.name}' of '{there.name}' has it on",
                "properties.allowVirtualNetworkAccess",
                (back.id,),
                (
                    peering_command("update", peering.id, ("set", "allowVirtualNetworkAccess=true")),
                    peering_command("update", back.id, ("set", "allowVirtualNetworkAccess=false")),
                ),
            )


@check("peering/forwarded-traffic-refused", Severity.WARNING)
def forwarded_traffic_refused(survey: Survey) -> Iterator[Defect]:
    """Peering with an appliance's virtual network that refuses what the appliance forwards.

    A route of this side leads to an appliance in the peer, so packets of others come back through
    it, and allowForwardedTraffic is off here: documented to drop them (field trials saw them pass).
    """
    for here, peering, there in _known(survey):
        if peering.allow_forwarded_traffic or peering.state is not PeeringState.CONNECTED:
            continue
        for name in here.subnets:
            subnet = survey.network.subnets[name]
            table = survey.table_of(subnet)
            leading = [
                route
                for route in (table.routes if table is not None else ())
                if route.next_hop_type is NextHopType.VIRTUAL_APPLIANCE
                and route.next_hop_ip is not None
                and any(
                    survey.view.vnet_of(nic) == key(there.id)
                    for nic in survey.appliances(key(here.id), route.next_hop_ip)
                )
            ]
            if leading:
                yield Defect(
                    peering.id,
                    f"peering '{peering.name}' of '{here.name}' has allowForwardedTraffic off, but route"
                    f" '{leading[0].name}' leads to the appliance {leading[0].next_hop_ip} in '{there.name}',"
                    " which forwards what others answer",
                    "properties.allowForwardedTraffic",
                    (leading[0].id, there.id),
                    (peering_command("update", peering.id, ("set", "allowForwardedTraffic=true")),),
                )
                break


def _peerings(survey: Survey) -> Iterator[tuple[VirtualNetwork, VirtualNetworkPeering]]:
    for vnet in survey.network.vnets.values():
        for peering in vnet.peerings:
            yield vnet, peering


def _known(survey: Survey) -> Iterator[tuple[VirtualNetwork, VirtualNetworkPeering, VirtualNetwork]]:
    """Peerings whose both virtual networks are in the snapshot."""
    for vnet, peering in _peerings(survey):
        if peering.remote_vnet in survey.network.vnets:
            yield vnet, peering, survey.network.vnets[peering.remote_vnet]


def _difference(peering: VirtualNetworkPeering, there: VirtualNetwork | None) -> str:
    if there is None:
        return ""
    actual, known = AddressSet.of(there.address_space), AddressSet.of(peering.remote_address_space)
    if actual == known:
        return ""
    missing = [str(prefix) for prefix in there.address_space if AddressSet.of([prefix]) - known]
    gone = [str(prefix) for prefix in peering.remote_address_space if AddressSet.of([prefix]) - actual]
    parts = [f"'{there.name}' has {', '.join(missing)} since" if missing else ""]
    parts.append(f"'{there.name}' no longer has {', '.join(gone)}" if gone else "")
    return "; ".join(part for part in parts if part)


CHECKS: tuple[Check, ...] = (
    one_sided, not_connected, not_synchronised,
    no_remote_gateway, access_one_sided, forwarded_traffic_refused,
)  # fmt: skip
