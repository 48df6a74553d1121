"""Address spaces that overlap where that loses traffic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from harness.azure_cli import named
from harness.lint.finding import Check, Defect, Severity, check
from harness.lint.survey import Survey
from harness.lint.wording import listed
from harness.network.addresses import AddressSet
from harness.network.model import IPNetwork, PeeringState, VirtualNetwork, key
from harness.policy.gateways import connections_of, gateway_of, remote_prefixes


@check("space/overlapping-peers", Severity.ERROR)
def overlapping_peers(survey: Survey) -> Iterator[Defect]:
    """Virtual networks that overlap and share a peer or a gateway.

    The peer, or what lies behind the gateway, can have one route only to the addresses that they
    have in common; which one is not defined.
    """
    for meeting, members in _meetings(survey).items():
        for cluster in _clusters(survey, members):
            first, *others = cluster
            yield Defect(
                first.id,
                f"{listed(vnet.name for vnet in cluster)} overlap ({_shared(cluster)}) and share {meeting}",
                "properties.addressSpace",
                tuple(vnet.id for vnet in others),
                (_renumber(others[-1]),),
            )


@check("space/overlapping-vnets", Severity.NOTE)
def overlapping_vnets(survey: Survey) -> Iterator[Defect]:
    """Virtual networks that overlap and have nothing to do with each other.

    They cannot be peered, nor share a hub, as long as they do. One finding for all that overlap.
    """
    meetings = [set(members) for members in _meetings(survey).values()]
    for cluster in _clusters(survey, survey.network.vnets):
        names = {key(vnet.id) for vnet in cluster}
        if not any(names <= members for members in meetings):
            first, *others = cluster
            yield Defect(
                first.id,
                f"{listed(vnet.name for vnet in cluster)} overlap ({_shared(cluster)})",
                "properties.addressSpace",
                tuple(vnet.id for vnet in others),
            )


@check("space/overlapping-subnets", Severity.ERROR)
def overlapping_subnets(survey: Survey) -> Iterator[Defect]:
    """Subnets of one virtual network that overlap."""
    for vnet in survey.network.vnets.values():
        spans = [(prefix, name) for name in vnet.subnets for prefix in survey.network.subnets[name].prefixes]
        for one, other, prefix in _overlaps(spans):
            here, there = survey.network.subnets[one], survey.network.subnets[other]
            yield Defect(
                there.id,
                f"subnets '{here.name}' and '{there.name}' of '{vnet.name}' overlap ({prefix})",
                "properties.addressPrefix",
                (here.id,),
            )


@check("space/overlapping-on-premises", Severity.ERROR)
def overlapping_on_premises(survey: Survey) -> Iterator[Defect]:
    """On-premises prefixes that overlap a virtual network which uses them.

    Azure prefers the virtual network's own routes, so that part of the site is not reached.
    """
    for name, vnet in survey.network.vnets.items():
        gateway = gateway_of(survey.network, name)
        for connection in connections_of(survey.network, gateway) if gateway is not None else ():
            space = AddressSet.of(vnet.address_space)
            shared = [
                prefix
                for prefix in remote_prefixes(survey.network, connection)
                if AddressSet.of([prefix]) & space
            ]
            if shared:
                remote = connection.local_gateway or connection.peer_gateway or ""
                site = survey.network.local_gateways.get(remote) or survey.network.gateways.get(remote)
                where = site or connection
                yield Defect(
                    where.id,
                    f"{', '.join(map(str, shared))} behind connection '{connection.name}' overlaps"
                    f" the space of '{vnet.name}', which keeps those addresses to itself",
                    "properties.localNetworkAddressSpace" if connection.local_gateway else "",
                    (vnet.id, connection.id),
                )


def _meetings(survey: Survey) -> Mapping[str, tuple[str, ...]]:
    """Virtual networks (keys) that one place must tell apart by their addresses, by that place's label."""
    network = survey.network
    found: dict[str, set[str]] = defaultdict(set)
    for vnet in network.vnets.values():
        for peering in vnet.peerings:
            if peering.state is PeeringState.CONNECTED and peering.remote_vnet in network.vnets:
                found[f"the peer '{vnet.name}'"] |= {key(vnet.id), peering.remote_vnet}
    for connection in network.connections.values():
        site, gateway = network.local_gateways.get(connection.local_gateway or ""), connection.gateway
        if site is not None and gateway in network.gateways:
            users = {name for name in network.vnets if _uses(survey, name, gateway)}
            found[f"the site '{site.name}'"] |= users
    # who shares a hub's gateway shares the hub
    labels = sorted(found, key=lambda label: -len(found[label]))
    kept: dict[str, tuple[str, ...]] = {}
    for label in labels:
        if not any(found[label] <= set(members) for members in kept.values()):
            kept[label] = tuple(sorted(found[label]))
    return kept


def _uses(survey: Survey, vnet: str, gateway: str) -> bool:
    used = gateway_of(survey.network, vnet)
    return used is not None and key(used.id) == gateway


def _clusters(survey: Survey, names: Iterable[str]) -> Iterator[list[VirtualNetwork]]:
    """Virtual networks that overlap, directly or one after the other."""
    vnets = [survey.network.vnets[name] for name in names]
    cluster_of = {key(vnet.id): [vnet] for vnet in vnets}
    for one, other, _ in _overlaps(_spans(vnets)):
        mine, theirs = cluster_of[one], cluster_of[other]
        if mine is not theirs:
            mine += theirs
            for vnet in theirs:
                cluster_of[key(vnet.id)] = mine
    clusters = {id(cluster): cluster for cluster in cluster_of.values() if len(cluster) > 1}
    yield from clusters.values()


def _shared(cluster: Iterable[VirtualNetwork]) -> str:
    prefixes = (str(prefix) for _, _, prefix in _overlaps(_spans(cluster)))
    return listed(dict.fromkeys(prefixes), quote="")


def _spans(vnets: Iterable[VirtualNetwork]) -> list[tuple[IPNetwork, str]]:
    return [(prefix, key(vnet.id)) for vnet in vnets for prefix in vnet.address_space]


def _overlaps(spans: Iterable[tuple[IPNetwork, str]]) -> Iterator[tuple[str, str, IPNetwork]]:
    """Owners of which the one's prefix holds the other's, and the latter: prefixes nest or are apart.

    Each prefix is compared with the last one that reaches as far, which is enough to find every
    owner that overlaps another.
    """
    outer: tuple[IPNetwork, str] | None = None
    for prefix, owner in sorted(spans, key=_place):
        if outer is not None and outer[0].version == prefix.version and prefix.network_address in outer[0]:
            if outer[1] != owner:
                yield outer[1], owner, prefix
        else:
            outer = (prefix, owner)


def _place(span: tuple[IPNetwork, str]) -> tuple[int, int, int]:
    return span[0].version, int(span[0].network_address), span[0].prefixlen


def _renumber(vnet: VirtualNetwork) -> str:
    prefixes = ("address-prefixes", "<prefix that nothing else has>")
    return named("network vnet update", vnet.id, prefixes)


CHECKS: tuple[Check, ...] = (
    overlapping_peers, overlapping_vnets, overlapping_subnets, overlapping_on_premises,
)  # fmt: skip
