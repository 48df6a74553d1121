"""Turns the two ends of a flow, as a user names them, into NICs and addresses of the network.

An end is a VM's name, an ARM id (VM, NIC or IP configuration), or an IP address: private,
public (a NIC's or the internet's), or one that no NIC has. What does not name exactly one
thing is an error that lists what it could mean.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from ipaddress import ip_address

from harness.errors import InputError, UnknownNameError
from harness.model import Flow
from harness.network.model import (
    IPAddress,
    IpConfiguration,
    Network,
    NetworkInterface,
    PeeringState,
    VirtualMachine,
    key,
)
from harness.policy.compiled import Compiled
from harness.policy.inbound import Arrival, Refusal
from harness.policy.outbound import Outbound, outbound_of
from harness.text import plain

_LISTED = 20
Place = tuple[NetworkInterface, IpConfiguration]


@dataclass(frozen=True, slots=True)
class End:
    """One end: its address as asked for, and the NIC behind it (None: nothing in the snapshot has it).

    Of targets only: ``public`` is the public address by which the user named the NIC; ``arrival``
    is what publishes the NIC at ``address``, ``refusal`` why nothing does although the network owns it.
    """

    label: str
    address: IPAddress
    nic: NetworkInterface | None = None
    configuration: IpConfiguration | None = None
    public: IPAddress | None = None
    arrival: Arrival | None = None
    refusal: Refusal | None = None

    @property
    def vm(self) -> str | None:
        return self.nic.vm if self.nic else None


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What a text may mean: places in order of preference; ``literal`` if it is an address."""

    label: str
    places: tuple[Place, ...]
    literal: IPAddress | None = None
    public: bool = False


def resolve_ends(view: Compiled, flow: Flow) -> tuple[End, tuple[End, ...]]:
    """The source of ``flow`` and its targets: one, or every backend where a balancer has the address.

    Raises UnknownNameError for a name that nothing has, InputError for one that several
    things have, for ends without a common address family, and where neither end is a NIC.
    """
    network = view.network
    source, target = _candidates(view, flow.source), _candidates(view, flow.target)
    family = _family(flow, source, target)
    target_end = _target(network, _of_family(target, family), source)
    source_end = _source(network, _of_family(source, family), target_end)
    targets = _published(view, flow, source_end, target_end)
    if source_end.nic is None and targets[0].nic is None and targets[0].refusal is None:
        raise UnknownNameError(
            f"neither {plain(flow.source)} nor {plain(flow.target)} is an address of a network interface"
            " in the snapshot",
            hint="at least one end must be one; give the name of a VM",
        )
    return source_end, targets


def _published(view: Compiled, flow: Flow, source: End, target: End) -> tuple[End, ...]:
    """What is behind the target's address, where a balancer, a public IP or a cloud service has it."""
    if target.nic is not None and target.public is None:
        return (target,)
    address, asked = target.address if target.public is None else target.public, (flow.protocol, flow.port)
    public: IPAddress | None = address
    found = view.publications.arrivals(address, *asked, _seen_outside(view, flow, source))
    if found is None:
        public = None
        near = view.within_reach(view.vnet_of(source.nic)) if source.nic else ()
        places = dict.fromkeys((*near, *view.network.vnets))
        answers = (view.publications.internal(vnet, address, *asked, source.address) for vnet in places)
        found = next((answer for answer in answers if answer is not None), None)
    if found is None:
        return (target,)
    if isinstance(found, Refusal):
        return (End(target.label, address, public=public, refusal=found),)
    return tuple(
        End(target.label, address, arrival.nic, arrival.configuration, public, arrival) for arrival in found
    )


def _seen_outside(view: Compiled, flow: Flow, source: End) -> IPAddress:
    """The address by which the internet knows the source: what translates it, where that is known."""
    if source.nic is None or source.configuration is None:
        return source.address
    found = outbound_of(view, source.nic, source.configuration, flow.protocol)
    return found.addresses[0] if isinstance(found, Outbound) and found.addresses else source.address


def _candidates(view: Compiled, text: str) -> _Candidates:
    network, address = view.network, _address(text)
    if address is not None:
        holders = network.holders.get(address, ())
        if holders:
            return _Candidates(text, holders, address)
        return _Candidates(text, view.public_holders.get(address, ()), address, public=True)
    if text.startswith("/"):
        return _Candidates(text, _by_id(view, text))
    vms = network.vms_named(text)
    if not vms:
        raise _unknown(network, text)
    if len(vms) > 1:
        raise InputError(
            f"{len(vms)} VMs have the name '{plain(text)}': {', '.join(plain(vm.id) for vm in vms)}",
            hint="give the ARM id of the one you mean",
        )
    return _Candidates(text, _places(network, vms[0]))


def _address(text: str) -> IPAddress | None:
    try:
        return ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def _by_id(view: Compiled, text: str) -> tuple[Place, ...]:
    network, wanted = view.network, key(text)
    if wanted in network.vms:
        return _places(network, network.vms[wanted])
    if wanted in network.nics:
        return _nic_places(network.nics[wanted])
    if wanted in view.configurations:
        return (view.configurations[wanted],)
    raise UnknownNameError(
        f"no VM, network interface or IP configuration of the snapshot has the id {plain(text)}",
        hint=_known(network),
    )


def _places(network: Network, vm: VirtualMachine) -> tuple[Place, ...]:
    places = tuple(place for nic in vm.nics for place in _nic_places(network.nics[nic]))
    if not places:
        raise InputError(f"VM {plain(vm.id)} has no network interface in the snapshot")
    return places


def _nic_places(nic: NetworkInterface) -> tuple[Place, ...]:
    ordered = sorted(nic.ip_configurations, key=lambda configuration: not configuration.primary)
    return tuple((nic, configuration) for configuration in ordered)


def _unknown(network: Network, text: str) -> UnknownNameError:
    names = {vm.name.lower(): vm.name for vm in network.vms.values()}
    near = difflib.get_close_matches(text.lower(), names, n=5, cutoff=0.5)
    hint = f"did you mean {', '.join(plain(names[name]) for name in near)}?" if near else _known(network)
    return UnknownNameError(f"no VM '{plain(text)}' in the snapshot, and it is no IP address", hint=hint)


def _known(network: Network) -> str:
    names = sorted(plain(vm.name) for vm in network.vms.values())
    if not names:
        return "the snapshot has no VMs; give IP addresses"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"the snapshot has: {', '.join(names[:_LISTED])}{more}"


def _family(flow: Flow, source: _Candidates, target: _Candidates) -> int:
    both = (source, target)
    offered = [
        {end.literal.version} if end.literal else {place[1].address.version for place in end.places}
        for end in both
    ]
    common = offered[0] & offered[1]
    if flow.family is not None:
        common &= {flow.family}
    if not common:
        wanted = f" (IPv{flow.family} was asked for)" if flow.family is not None else ""
        have = ", ".join(
            f"{plain(end.label)} has {' and '.join(f'IPv{version}' for version in sorted(versions))}"
            for end, versions in zip(both, offered, strict=True)
        )
        raise InputError(f"the two ends have no common address family{wanted}: {have}")
    return min(common)


def _of_family(end: _Candidates, family: int) -> _Candidates:
    places = tuple(place for place in end.places if place[1].address.version == family)
    return _Candidates(end.label, places, end.literal, end.public)


def _target(network: Network, target: _Candidates, source: _Candidates) -> End:
    """Where several virtual networks use an address, the one that the source's routes lead to."""
    places = target.places
    if target.literal is not None and len(places) > 1:
        near = {network.subnets[place[0].subnet].vnet for place in source.places}
        peers = {
            peering.remote_vnet
            for vnet in near
            for peering in network.vnets[vnet].peerings
            if peering.state is PeeringState.CONNECTED
        }
        for reachable in (near, peers):
            found = tuple(place for place in places if network.subnets[place[0].subnet].vnet in reachable)
            if len(found) == 1:
                places = found
                break
        else:
            raise _ambiguous(target)
    return _end(target, places)


def _source(network: Network, source: _Candidates, target: End) -> End:
    if source.literal is not None:
        if len(source.places) > 1:
            raise _ambiguous(source)
        if source.public:
            # a packet with a public source comes from the internet, whoever has that address
            return End(source.label, source.literal)
        return _end(source, source.places)
    # a guest with several NICs leaves by the one in the target's subnet, else by its primary NIC
    for place in source.places:
        if any(target.address in prefix for prefix in network.subnets[place[0].subnet].prefixes):
            return _end(source, (place,))
    return _end(source, source.places)


def _end(found: _Candidates, places: tuple[Place, ...]) -> End:
    if not places:
        assert found.literal is not None  # a name without places is an error before
        return End(found.label, found.literal)
    nic, configuration = places[0]
    if found.public and found.literal is not None:
        return End(found.label, found.literal, nic, configuration, found.literal)
    return End(found.label, configuration.address, nic, configuration)


def _ambiguous(end: _Candidates) -> InputError:
    ids = ", ".join(plain(place[1].id) for place in end.places)
    return InputError(
        f"{len(end.places)} network interfaces in different virtual networks have the address"
        f" {end.literal}: {ids}",
        hint="give the name or the ARM id of the one you mean",
    )
