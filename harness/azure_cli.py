"""Azure CLI commands for the linter's fixes; nothing is executed here.

Names come from the snapshot, so every one is quoted for the shell. Words in angle brackets are for
the reader to fill in.
"""

from __future__ import annotations

import shlex

from harness.network.armids import parent, segment
from harness.network.model import RouteTable, SecurityRule, Subnet, VirtualNetwork, VirtualNetworkPeering

Option = tuple[str, str]


def az(command: str, *options: Option) -> str:
    return " ".join([f"az {command}", *(f"--{name} {shlex.quote(value)}" for name, value in options)])


def group_option(arm_id: str) -> Option:
    return ("resource-group", segment(arm_id, "resourceGroups") or "<resource group>")


def rule_command(action: str, rule: SecurityRule, *options: Option) -> str:
    """``action`` is ``update`` or ``delete``."""
    owner = segment(rule.id, "networkSecurityGroups") or ""
    return az(
        f"network nsg rule {action}",
        group_option(rule.id),
        ("nsg-name", owner),
        ("name", rule.name),
        *options,
    )


def route_command(action: str, route_id: str, *options: Option) -> str:
    names = (
        group_option(route_id),
        ("route-table-name", segment(route_id, "routeTables") or ""),
        ("name", segment(route_id, "routes") or ""),
    )
    return az(f"network route-table route {action}", *names, *options)


def table_delete(table: RouteTable) -> str:
    return az("network route-table delete", group_option(table.id), ("name", table.name))


def subnet_update(subnet: Subnet, *options: Option) -> str:
    vnet = segment(subnet.id, "virtualNetworks") or ""
    return az(
        "network vnet subnet update",
        group_option(subnet.id),
        ("vnet-name", vnet),
        ("name", subnet.name),
        *options,
    )


def peering_command(action: str, peering: VirtualNetworkPeering, *options: Option) -> str:
    """``action`` is ``update``, ``sync`` or ``delete``."""
    vnet = segment(parent(peering.id), "virtualNetworks") or ""
    return az(
        f"network vnet peering {action}",
        group_option(peering.id),
        ("vnet-name", vnet),
        ("name", peering.name),
        *options,
    )


def peering_create(here: VirtualNetwork, there: VirtualNetwork) -> str:
    command = az(
        "network vnet peering create",
        group_option(here.id),
        ("vnet-name", here.name),
        ("name", f"to-{there.name}"),
        ("remote-vnet", there.id),
    )
    return f"{command} --allow-vnet-access"
