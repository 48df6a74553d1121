"""Azure CLI commands that change one object; nothing is executed here.

Words to a command: objects are given by their ARM ids, from which resource group and names are
taken. Names come from the snapshot, so every one is quoted for the shell. Words in angle brackets are
for the reader to fill in. Which change helps is said elsewhere (:mod:`harness.policy.fix`,
:mod:`harness.lint`).
"""

from __future__ import annotations

import shlex

from harness.network.armids import segment
from harness.network.words import short_name

Option = tuple[str, str]
"""Name without its dashes, and value."""


def az(command: str, *options: Option) -> str:
    return " ".join([f"az {command}", *(f"--{name} {shlex.quote(value)}" for name, value in options)])


def group_option(arm_id: str) -> Option:
    return ("resource-group", segment(arm_id, "resourceGroups") or "<resource group>")


def named(command: str, arm_id: str, *options: Option) -> str:
    """A command on a resource that is told by resource group and name."""
    return az(command, group_option(arm_id), ("name", short_name(arm_id)), *options)


def rule_command(action: str, rule_id: str, *options: Option) -> str:
    """On a rule of a network security group: ``create``, ``update`` or ``delete``."""
    return _child(f"network nsg rule {action}", "nsg-name", "networkSecurityGroups", rule_id, *options)


def route_command(action: str, route_id: str, *options: Option) -> str:
    """On a route of a route table: ``create``, ``update`` or ``delete``."""
    command = f"network route-table route {action}"
    return _child(command, "route-table-name", "routeTables", route_id, *options)


def subnet_update(subnet_id: str, *options: Option) -> str:
    return _child("network vnet subnet update", "vnet-name", "virtualNetworks", subnet_id, *options)


def nic_update(nic_id: str, *options: Option) -> str:
    return az("network nic update", ("ids", nic_id), *options)


def allow_forwarding(nic_id: str) -> str:
    """Lets a NIC send and receive what is not its own address's (enableIPForwarding)."""
    return nic_update(nic_id, ("ip-forwarding", "true"))


def peering_command(action: str, peering_id: str, *options: Option) -> str:
    """``update``, ``sync`` or ``delete``."""
    return _child(f"network vnet peering {action}", "vnet-name", "virtualNetworks", peering_id, *options)


def peering_create(here_id: str, there_id: str) -> str:
    """The side of ``here_id`` of a peering between two virtual networks."""
    command = az(
        "network vnet peering create",
        group_option(here_id),
        ("vnet-name", short_name(here_id)),
        ("name", f"to-{short_name(there_id)}"),
        ("remote-vnet", there_id),
    )
    return f"{command} --allow-vnet-access"


def _child(command: str, owner_option: str, owner_kind: str, arm_id: str, *options: Option) -> str:
    """A command on a resource that is told by resource group, owner and name."""
    owner = (owner_option, segment(arm_id, owner_kind) or f"<{owner_option.replace('-', ' ')}>")
    return az(command, group_option(arm_id), owner, ("name", short_name(arm_id)), *options)
