"""Loads a snapshot, ``{"resources": [...]}`` of ARM resources as GET returns them, into a Network.

Associations are followed from whichever side declares them; what contradicts itself or
refers to something absent is a :class:`~harness.errors.SnapshotError` that names file,
object and property. Not for asking Azure (``harness.azure``) nor for judging packets
(``harness.policy``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import InputError, SnapshotError
from harness.network.armids import parent
from harness.network.fields import Fields, shown
from harness.network.model import (
    IpConfiguration,
    IPNetwork,
    Network,
    NetworkInterface,
    NetworkSecurityGroup,
    Route,
    RouteTable,
    SecurityRule,
    ServiceTagRoute,
    Subnet,
    VirtualMachine,
    VirtualNetwork,
    VirtualNetworkPeering,
    key,
    short_name,
)
from harness.network.resources import Drafts, IpConfigurationDraft, NicDraft, VmDraft
from harness.network.rules import ordered_rules
from harness.text import plain
from harness.yamlfile import read_text


def load_snapshot(path: Path) -> Network:
    """The snapshot at ``path``; raises SnapshotError that names file, object and property."""
    origin = plain(str(path))
    try:
        text = read_text(path).removeprefix("\ufeff")
    except InputError as error:
        raise SnapshotError(plain(error.message), hint=error.hint) from error
    except ValueError as error:
        raise SnapshotError(f"{origin}: {error}") from error
    if not text.strip():
        raise SnapshotError(f"{origin}: the file is empty")
    document = _parse(text, origin)
    if not isinstance(document, dict) or not isinstance(document.get("resources"), list):
        raise SnapshotError(
            f'{origin}: expected {{"resources": [...]}}, a list of ARM resources as GET returns them'
        )
    return network_from_resources(document["resources"], origin)


def network_from_resources(resources: Sequence[Mapping[str, Any]], origin: str) -> Network:
    """A Network of ARM resources; ``origin`` names their source in errors."""
    drafts = Drafts(origin)
    try:
        for number, body in enumerate(resources):
            place = f"resources[{number}]"
            if not isinstance(body, Mapping):
                raise SnapshotError(f"{origin}: {place}: expected an object")
            drafts.read(body, place)
        return _assemble(drafts)
    except RecursionError:
        raise SnapshotError(f"{origin}: nested too deeply") from None


def _parse(text: str, origin: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise SnapshotError(f"{origin}: {constant} is no JSON number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise SnapshotError(f"{origin}: the key '{shown(twice)}' stands twice in one object")
        return found

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise SnapshotError(
            f"{origin}:{error.lineno}: not JSON: {error.msg} (column {error.colno})"
        ) from error
    except RecursionError:
        raise SnapshotError(f"{origin}: nested too deeply") from None
    except ValueError as error:
        # a number with more digits than Python converts
        raise SnapshotError(f"{origin}: not usable JSON: {error}") from error


def _assemble(drafts: Drafts) -> Network:
    for asg, place in drafts.asg_references:
        if key(asg) not in drafts.asgs:
            raise SnapshotError(
                f"{place}: refers to application security group {plain(asg)}, which is not in the snapshot",
                hint="add that resource to the snapshot, or remove the reference",
            )
    subnets = _subnets(drafts)
    nics = _nics(drafts, subnets)
    vms, nics = _vms(drafts, nics)
    return Network(
        vnets=_vnets(drafts, subnets),
        subnets=subnets,
        nics=nics,
        vms=vms,
        nsgs=_nsgs(drafts),
        asgs=drafts.asgs,
        route_tables=_route_tables(drafts),
        public_ips=drafts.public_ips,
        unmodelled=tuple(drafts.unmodelled.values()),
    )


def _parent_in(known: Mapping[str, object], arm_id: str, kind: str, origin: str) -> str:
    owner = parent(arm_id)
    if key(owner) not in known:
        raise SnapshotError(
            f"{origin}: {plain(arm_id)}: its {kind} {plain(owner)} is not in the snapshot",
            hint="add that resource to the snapshot",
        )
    return key(owner)


def _subnets(drafts: Drafts) -> dict[str, Subnet]:
    nsgs = drafts.subnet_nsgs.settle(drafts.subnets, drafts.nsgs)
    tables = drafts.subnet_tables.settle(drafts.subnets, drafts.route_tables)
    subnets = {}
    for name, draft in drafts.subnets.items():
        vnet = drafts.vnets[_parent_in(drafts.vnets, draft.id, "virtual network", drafts.origin)]
        for prefix in draft.prefixes:
            if not any(_within(prefix, space) for space in vnet.address_space):
                raise SnapshotError(
                    f"{drafts.origin}: {plain(draft.id)}: addressPrefix: {prefix} lies outside"
                    f" the address space of {plain(vnet.id)}"
                )
        nsg, table = nsgs.get(name), tables.get(name)
        subnets[name] = replace(
            draft, nsg=key(nsg) if nsg else None, route_table=key(table) if table else None
        )
    return subnets


def _within(prefix: IPNetwork, space: IPNetwork) -> bool:
    return (
        prefix.version == space.version
        and prefix.prefixlen >= space.prefixlen
        and prefix.network_address in space
    )


def _vnets(drafts: Drafts, subnets: Mapping[str, Subnet]) -> dict[str, VirtualNetwork]:
    members: dict[str, list[str]] = defaultdict(list)
    for name, subnet in subnets.items():
        members[subnet.vnet].append(name)
    peerings: dict[str, dict[str, VirtualNetworkPeering]] = defaultdict(dict)
    for draft_peering in drafts.peerings.values():
        remote = drafts.vnets.get(draft_peering.remote_vnet)
        peering = draft_peering
        if remote is not None and not peering.remote_address_space:
            # a peering that does not say what it synchronised has what there is
            peering = replace(peering, remote_address_space=remote.address_space)
        owner = _parent_in(drafts.vnets, peering.id, "virtual network", drafts.origin)
        other = peerings[owner].setdefault(peering.remote_vnet, peering)
        if other is not peering:
            raise SnapshotError(
                f"{drafts.origin}: {plain(peering.id)}: remoteVirtualNetwork: {plain(other.id)} is already a"
                " peering with that virtual network"
            )
    return {
        name: VirtualNetwork(
            draft.id, draft.name, draft.address_space, tuple(members[name]), tuple(peerings[name].values())
        )
        for name, draft in drafts.vnets.items()
    }


def _nics(drafts: Drafts, subnets: Mapping[str, Subnet]) -> dict[str, NetworkInterface]:
    nsgs = drafts.nic_nsgs.settle(drafts.nics, drafts.nsgs)
    # a subnet may list NICs that were not captured: nothing here would refer to them
    own = drafts.configuration_subnets
    own.claims = [claim for claim in own.claims if key(claim.owner) in drafts.ip_configurations]
    placed = own.settle(drafts.ip_configurations, subnets)
    public = drafts.configuration_public_ips.settle(
        drafts.ip_configurations, drafts.public_ips, one_owner=True
    )
    nics: dict[str, NetworkInterface] = {}
    taken: dict[tuple[str, object], str] = {}
    for name, draft in drafts.nics.items():
        first = _primary_configuration(draft)
        configurations = tuple(
            _configuration(item, item is first, placed, public, drafts) for item in draft.configurations
        )
        for configuration, item in zip(configurations, draft.configurations, strict=True):
            _check_place(configuration, item, subnets[configurations[0].subnet], subnets, taken)
        nsg = nsgs.get(name)
        nics[name] = NetworkInterface(
            id=draft.id,
            name=draft.name,
            ip_configurations=configurations,
            nsg=key(nsg) if nsg else None,
            ip_forwarding=draft.ip_forwarding,
            primary=draft.primary is not False,
            mac=draft.mac,
        )
    return nics


def _primary_configuration(draft: NicDraft) -> IpConfigurationDraft:
    marked = [item for item in draft.configurations if item.primary]
    if len(marked) > 1:
        marked[1].fields.fail("properties.primary", f"{plain(marked[0].id)} is primary, too")
    return (marked or draft.configurations)[0]


def _configuration(
    item: IpConfigurationDraft,
    primary: bool,
    placed: Mapping[str, str],
    public: Mapping[str, str],
    drafts: Drafts,
) -> IpConfiguration:
    subnet, public_ip = placed.get(key(item.id)), public.get(key(item.id))
    if subnet is None:
        item.fields.fail("properties.subnet", "is missing, and no subnet lists this IP configuration")
    if public_ip is not None:
        address = drafts.public_ips[key(public_ip)].address
        if address is not None and address.version != item.address.version:
            item.fields.fail("properties.publicIPAddress", f"{plain(public_ip)} is of another address family")
    return IpConfiguration(
        id=item.id,
        name=item.name,
        address=item.address,
        subnet=key(subnet),
        primary=primary,
        asgs=item.asgs,
        public_ip=key(public_ip) if public_ip else None,
    )


def _check_place(
    configuration: IpConfiguration,
    item: IpConfigurationDraft,
    subnet: Subnet,
    subnets: Mapping[str, Subnet],
    taken: dict[tuple[str, object], str],
) -> None:
    if configuration.subnet != key(subnet.id):
        other = subnets[configuration.subnet]
        item.fields.fail(
            "properties.subnet",
            f"{plain(other.id)} is not the subnet of the NIC's first IP configuration, {plain(subnet.id)}",
        )
    if not any(configuration.address in prefix for prefix in subnet.prefixes):
        item.fields.fail(
            "properties.privateIPAddress", f"{configuration.address} lies outside {plain(subnet.id)}"
        )
    holder = taken.setdefault((subnet.vnet, configuration.address), configuration.id)
    if holder != configuration.id:
        item.fields.fail(
            "properties.privateIPAddress",
            f"{configuration.address} also belongs to {plain(holder)}, in the same virtual network",
        )


def _vms(
    drafts: Drafts, nics: Mapping[str, NetworkInterface]
) -> tuple[dict[str, VirtualMachine], dict[str, NetworkInterface]]:
    members: dict[str, list[str]] = defaultdict(list)
    for nic, vm in drafts.nic_vms.settle(nics).items():
        drafts.vms.setdefault(key(vm), VmDraft(vm, short_name(vm)))
        members[key(vm)].append(nic)
    vms, attached = {}, dict(nics)
    for name, draft in drafts.vms.items():
        order = list(draft.primaries)
        mine = order + [nic for nic in members[name] if nic not in draft.primaries]
        _check_one_vnet(draft, [attached[nic] for nic in mine], drafts)
        primary = _primary_nic(draft, mine, drafts)
        mine.sort(key=lambda nic: nic != primary)
        vms[name] = VirtualMachine(draft.id, draft.name, tuple(mine))
        for nic in mine:
            attached[nic] = replace(attached[nic], vm=name, primary=nic == primary)
    return vms, attached


def _check_one_vnet(draft: VmDraft, mine: Sequence[NetworkInterface], drafts: Drafts) -> None:
    """Azure: all NICs of a VM are in one virtual network."""
    vnets = {drafts.subnets[nic.subnet].vnet: nic.id for nic in mine}
    if len(vnets) > 1:
        first, second, *_ = vnets.values()
        raise SnapshotError(
            f"{drafts.origin}: {plain(draft.id)}: networkProfile: its network interfaces {plain(first)} and"
            f" {plain(second)} are in different virtual networks"
        )


def _primary_nic(draft: VmDraft, mine: Sequence[str], drafts: Drafts) -> str | None:
    by_vm = [nic for nic, primary in draft.primaries.items() if primary]
    by_nic = [nic for nic in mine if drafts.nics[nic].primary]
    chosen = list(dict.fromkeys(by_vm or by_nic))
    if len(chosen) > 1 or (by_vm and by_nic and by_vm != by_nic):
        one, other = (*by_vm, *(nic for nic in by_nic if nic not in by_vm))[:2]
        raise SnapshotError(
            f"{drafts.origin}: {plain(draft.id)}: networkProfile: both {plain(drafts.nics[one].id)} and"
            f" {plain(drafts.nics[other].id)} are its primary network interface"
        )
    return next(iter((*chosen, *mine)), None)


def _nsgs(drafts: Drafts) -> dict[str, NetworkSecurityGroup]:
    rules: dict[str, list[SecurityRule]] = defaultdict(list)
    for rule in drafts.rules.values():
        rules[_parent_in(drafts.nsgs, rule.id, "network security group", drafts.origin)].append(rule)
    nsgs = {}
    for name, (arm_id, label) in drafts.nsgs.items():
        custom = [rule for rule in rules[name] if not rule.default]
        default = [rule for rule in rules[name] if rule.default]
        ordered = ordered_rules(arm_id, custom, default, drafts.origin)
        nsgs[name] = NetworkSecurityGroup(arm_id, label, ordered)
    return nsgs


def _route_tables(drafts: Drafts) -> dict[str, RouteTable]:
    routes: dict[str, list[Route | ServiceTagRoute]] = defaultdict(list)
    for route in drafts.routes.values():
        routes[_parent_in(drafts.route_tables, route.id, "route table", drafts.origin)].append(route)
    tables = {}
    for name, (arm_id, label) in drafts.route_tables.items():
        seen: dict[object, Route | ServiceTagRoute] = {}
        for route in routes[name]:
            prefix = route.prefix if isinstance(route, Route) else route.tag.lower()
            other = seen.setdefault(prefix, route)
            if other is not route:
                Fields({}, drafts.origin, route.id).fail(
                    "addressPrefix", f"{plain(other.id)} has the same prefix {prefix}"
                )
        tables[name] = RouteTable(
            arm_id,
            label,
            tuple(route for route in routes[name] if isinstance(route, Route)),
            tuple(route for route in routes[name] if isinstance(route, ServiceTagRoute)),
        )
    return tables
