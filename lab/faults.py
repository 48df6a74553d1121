"""Every fault that can be injected into a lab: a name, what it does, and its changes.

A fault is made for one flow of the lab (who cannot reach whom on which port). What it is
*diagnosed* as is not known here: scenarios say that. A new fault is one function and one
row of :data:`FAULTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from types import MappingProxyType

from harness.errors import InputError, UnknownNameError
from harness.model import Flow, Protocol
from harness.network.model import IPAddress
from lab.arm_view import ArmView
from lab.changes import Change, GuestChange, ServiceChange
from lab.client import Lab
from lab.hosts.services import Service


@dataclass(frozen=True, slots=True)
class Site:
    """Where a fault is made: the lab, the flow, and the addresses of its ends."""

    lab: Lab
    flow: Flow
    source: IPAddress
    target: IPAddress

    @property
    def arm(self) -> ArmView:
        return ArmView(self.lab.resources())


@dataclass(frozen=True, slots=True)
class Fault:
    """``changes`` gives the changes that break the flow of a site."""

    name: str
    summary: str
    changes: Callable[[Site], list[Change]]


def _host(address: IPAddress) -> str:
    return f"{address}/{address.max_prefixlen}"


def _deny(direction: str, level: str) -> Callable[[Site], list[Change]]:
    def changes(site: Site) -> list[Change]:
        arm = site.arm
        nic = arm.nic_of(site.flow.source if direction == "Outbound" else site.flow.target)
        rule = {
            "access": "Deny",
            "protocol": site.flow.protocol.value.capitalize(),
            "sourceAddressPrefix": _host(site.source),
            "sourcePortRange": "*",
            "destinationAddressPrefix": _host(site.target),
            "destinationPortRange": str(site.flow.port) if site.flow.port is not None else "*",
        }
        return [*arm.attach_rule(nic if level == "nic" else arm.subnet_of(nic), direction, rule)]

    return changes


def _route_to_none(site: Site) -> list[Change]:
    arm = site.arm
    subnet = arm.subnet_of(arm.nic_of(site.flow.source))
    return [*arm.attach_route(subnet, {"addressPrefix": _host(site.target), "nextHopType": "None"})]


def _nft(vm: str, hook: str, match: str, verdict: str) -> list[Change]:
    """One rule in a table of its own, as an administrator's hardening script would load it."""
    table = f"inet hardening_{hook}"
    script = (
        f"add table {table}; "
        f"add chain {table} {hook} {{ type filter hook {hook} priority 0; policy accept; }}; "
        f"add rule {table} {hook} {match} counter {verdict}"
    )
    return [GuestChange(vm, ("nft", script), ("nft", f"delete table {table}"))]


def _nft_match(site: Site, *, answer: bool = False) -> str:
    if site.flow.protocol is Protocol.ICMP:
        name = "icmp" if site.target.version == 4 else "icmpv6"
        return f"{name} type {'echo-reply' if answer else 'echo-request'}"
    return f"{site.flow.protocol} {'sport' if answer else 'dport'} {site.flow.port}"


def _inbound_drop_nftables(site: Site) -> list[Change]:
    return _nft(site.flow.target, "input", _nft_match(site), "drop")


def _answers_dropped_nftables(site: Site) -> list[Change]:
    return _nft(site.flow.target, "output", _nft_match(site, answer=True), "drop")


def _outbound_drop_nftables(site: Site) -> list[Change]:
    return _nft(site.flow.source, "output", _nft_match(site), "drop")


def _inbound_reject_iptables(site: Site) -> list[Change]:
    tool = "iptables" if site.target.version == 4 else "ip6tables"
    if site.flow.protocol is Protocol.TCP:
        match = ["-p", "tcp", "--dport", str(site.flow.port), "-j", "REJECT", "--reject-with", "tcp-reset"]
    elif site.flow.protocol is Protocol.UDP:
        match = ["-p", "udp", "--dport", str(site.flow.port), "-j", "REJECT"]
    else:
        match = ["-p", "icmp" if site.target.version == 4 else "ipv6-icmp", "-j", "REJECT"]
    return [
        GuestChange(
            site.flow.target, (tool, "-w", "-I", "INPUT", *match), (tool, "-w", "-D", "INPUT", *match)
        ),
    ]


def _service(site: Site) -> Service:
    services = site.lab.services(site.flow.target)
    for service in services:
        if service.protocol is site.flow.protocol and service.port == site.flow.port:
            return service
    has = ", ".join(f"{service.port}/{service.protocol}" for service in services) or "none"
    raise InputError(
        f"{site.flow.target} runs no service on {site.flow.port}/{site.flow.protocol}", hint=f"it has: {has}"
    )


def _no_process(site: Site) -> list[Change]:
    return [ServiceChange(site.flow.target, stop=(_service(site),))]


def _loopback_only(site: Site) -> list[Change]:
    service = _service(site)
    loopback = "127.0.0.1" if site.target.version == 4 else "::1"
    return [ServiceChange(site.flow.target, (service,), (replace(service, address=loopback),))]


def _other_port(site: Site) -> list[Change]:
    service = _service(site)
    taken = {other.port for other in site.lab.services(site.flow.target)}
    free = next(port for port in range(service.port + 1, 65536) if port not in taken)
    return [ServiceChange(site.flow.target, (service,), (replace(service, port=free),))]


_ROWS = (
    Fault(
        "nic-nsg-inbound", "a rule of the NSG on the target's NIC denies the flow", _deny("Inbound", "nic")
    ),
    Fault(
        "subnet-nsg-inbound",
        "a rule of the NSG on the target's subnet denies the flow",
        _deny("Inbound", "subnet"),
    ),
    Fault(
        "nic-nsg-outbound", "a rule of the NSG on the source's NIC denies the flow", _deny("Outbound", "nic")
    ),
    Fault(
        "subnet-nsg-outbound",
        "a rule of the NSG on the source's subnet denies the flow",
        _deny("Outbound", "subnet"),
    ),
    Fault(
        "route-to-none", "a user-defined route of the source's subnet sends the flow to None", _route_to_none
    ),
    Fault("inbound-drop-nftables", "nftables on the target drops what comes in", _inbound_drop_nftables),
    Fault(
        "inbound-reject-iptables",
        "iptables on the target rejects what comes in with a reset",
        _inbound_reject_iptables,
    ),
    Fault(
        "answers-dropped-nftables",
        "nftables on the target drops the answers on their way out",
        _answers_dropped_nftables,
    ),
    Fault("outbound-drop-nftables", "nftables on the source drops what goes out", _outbound_drop_nftables),
    Fault("no-process", "the target's service is stopped", _no_process),
    Fault("loopback-only", "the target's service is bound to loopback only", _loopback_only),
    Fault("other-port", "the target's service listens on another port", _other_port),
)

FAULTS = MappingProxyType({fault.name: fault for fault in _ROWS})


def find_fault(name: str) -> Fault:
    """The fault of that name; raises UnknownNameError."""
    try:
        return FAULTS[name]
    except KeyError:
        raise UnknownNameError(
            f"no fault '{name}'", hint=f"`azreach lab faults` lists them: {', '.join(FAULTS)}"
        ) from None


def site_of(lab: Lab, flow: Flow) -> Site:
    """Where ``flow`` runs in ``lab``; raises InputError if an end is no VM or lacks the family."""
    addresses = []
    for vm in (flow.source, flow.target):
        nic = ArmView(lab.resources()).nic_of(vm)
        texts = [config["properties"]["privateIPAddress"] for config in nic["properties"]["ipConfigurations"]]
        found = [ip_address(text) for text in texts if ip_address(text).version == (flow.family or 4)]
        if not found:
            raise InputError(f"{vm} has no IPv{flow.family or 4} address")
        addresses.append(found[0])
    return Site(lab, flow, addresses[0], addresses[1])
