"""What a fault is, and where it is made: the words of :mod:`lab.faults`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from harness.errors import InputError
from harness.model import Flow, Protocol
from harness.network.model import IPAddress
from lab.arm_view import ArmView, Resource
from lab.changes import Change
from lab.client import Lab


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

    @property
    def route_to_appliance(self) -> Resource:
        """The source's route that takes the flow to an appliance; raises InputError where there is none."""
        arm = self.arm
        return arm.route_to_appliance(arm.subnet_of(arm.nic_of(self.flow.source)), self.target)

    @property
    def appliance(self) -> Resource:
        """The NIC of the appliance through which the flow goes."""
        return self.arm.nic_with_address(self.route_to_appliance["properties"]["nextHopIpAddress"])

    @property
    def appliance_vm(self) -> str:
        return self.arm.vm_of(self.appliance)

    @property
    def protocol_words(self) -> tuple[str, ...]:
        """The flow as iptables matches it: ``-p tcp --dport 1433``."""
        if self.flow.protocol is Protocol.ICMP:
            return ("-p", "icmp") if self.target.version == 4 else ("-p", "ipv6-icmp")
        return ("-p", self.flow.protocol.value, "--dport", str(self.flow.port))


@dataclass(frozen=True, slots=True)
class Fault:
    """``changes`` gives the changes that break the flow of a site."""

    name: str
    summary: str
    changes: Callable[[Site], list[Change]]


def site_of(lab: Lab, flow: Flow) -> Site:
    """Where ``flow`` runs in ``lab``; raises InputError if an end is no VM or lacks the family."""
    view = ArmView(lab.resources())
    addresses = []
    for vm in (flow.source, flow.target):
        texts = [
            config["properties"]["privateIPAddress"]
            for config in view.nic_of(vm)["properties"]["ipConfigurations"]
        ]
        found = [ip_address(text) for text in texts if ip_address(text).version == (flow.family or 4)]
        if not found:
            raise InputError(f"{vm} has no IPv{flow.family or 4} address")
        addresses.append(found[0])
    return Site(lab, flow, addresses[0], addresses[1])
