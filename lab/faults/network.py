"""Faults of Azure's network: security rules, routes, appliances; made as ARM changes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from ipaddress import ip_interface
from typing import Any

from harness.network.model import IPAddress
from lab.changes import ArmChange, Change, GuestChange
from lab.faults.site import Fault, Site


def _host(address: IPAddress) -> str:
    return f"{address}/{address.max_prefixlen}"


def _denial(site: Site) -> dict[str, Any]:
    """The properties of a rule that denies just this flow."""
    return {
        "access": "Deny",
        "protocol": site.flow.protocol.value.capitalize(),
        "sourceAddressPrefix": _host(site.source),
        "sourcePortRange": "*",
        "destinationAddressPrefix": _host(site.target),
        "destinationPortRange": str(site.flow.port) if site.flow.port is not None else "*",
    }


def _deny(direction: str, level: str) -> Callable[[Site], list[Change]]:
    def changes(site: Site) -> list[Change]:
        arm = site.arm
        nic = arm.nic_of(site.flow.source if direction == "Outbound" else site.flow.target)
        owner = nic if level == "nic" else arm.subnet_of(nic)
        return [*arm.attach_rule(owner, direction, _denial(site))]

    return changes


def _route_to_none(site: Site) -> list[Change]:
    arm = site.arm
    subnet = arm.subnet_of(arm.nic_of(site.flow.source))
    return [*arm.attach_route(subnet, {"addressPrefix": _host(site.target), "nextHopType": "None"})]


def _source_not_in_asg(site: Site) -> list[Change]:
    before = site.arm.nic_of(site.flow.source)
    after = deepcopy(before)
    for configuration in after["properties"]["ipConfigurations"]:
        configuration["properties"].pop("applicationSecurityGroups", None)
    return [ArmChange(before["id"], before, after)]


def _appliance_gone(site: Site) -> list[Change]:
    """The route still names the address that the appliance had before it was replaced."""
    before = site.route_to_appliance
    after = deepcopy(before)
    hop = ip_interface(before["properties"]["nextHopIpAddress"]).ip
    after["properties"]["nextHopIpAddress"] = str(hop + 100)
    return [ArmChange(before["id"], before, after)]


def _appliance_without_ip_forwarding(site: Site) -> list[Change]:
    before = site.appliance
    after = deepcopy(before)
    after["properties"]["enableIPForwarding"] = False
    return [ArmChange(before["id"], before, after)]


def _appliance_guest_not_forwarding(site: Site) -> list[Change]:
    vm = site.appliance_vm
    family = "ipv4.ip_forward" if site.target.version == 4 else "ipv6.conf.all.forwarding"
    return [
        GuestChange(vm, ("sysctl", "-q", "-w", f"net.{family}=0"), ("sysctl", "-q", "-w", f"net.{family}=1"))
    ]


def _appliance_nsg(site: Site) -> list[Change]:
    return [*site.arm.attach_rule(site.appliance, "Inbound", _denial(site))]


def _asymmetric_return(site: Site) -> list[Change]:
    """The answer is sent through the appliance, which never saw the request, and whose NSG denies it."""
    arm = site.arm
    target_subnet = arm.subnet_of(arm.nic_of(site.flow.target))
    appliance = arm.any_appliance()
    hop = appliance["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
    route = {
        "addressPrefix": _host(site.source),
        "nextHopType": "VirtualAppliance",
        "nextHopIpAddress": hop,
    }
    answers = {
        "access": "Deny",
        "protocol": "*",
        "sourceAddressPrefix": _host(site.target),
        "sourcePortRange": "*",
        "destinationAddressPrefix": _host(site.source),
        "destinationPortRange": "*",
    }
    return [*arm.attach_route(target_subnet, route), *arm.attach_rule(appliance, "Inbound", answers)]


FAULTS = (
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
        "source-not-in-asg", "the source's NIC has left its application security groups", _source_not_in_asg
    ),
    Fault(
        "route-to-none", "a user-defined route of the source's subnet sends the flow to None", _route_to_none
    ),
    Fault(
        "appliance-gone", "the source's route names an appliance's address that nobody has", _appliance_gone
    ),
    Fault(
        "appliance-without-ip-forwarding",
        "enableIPForwarding is off on the appliance's NIC",
        _appliance_without_ip_forwarding,
    ),
    Fault(
        "appliance-guest-not-forwarding",
        "the appliance's guest does not forward",
        _appliance_guest_not_forwarding,
    ),
    Fault("appliance-nsg", "a rule of the NSG on the appliance's NIC denies the flow", _appliance_nsg),
    Fault(
        "asymmetric-return",
        "the answer is routed through an appliance that never saw the request, and its NSG denies",
        _asymmetric_return,
    ),
)
