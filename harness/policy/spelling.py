"""Azure's spellings of one security rule's name and of one next hop type, for comparing answers.

Each tool has its own (azure-facts, "Names"): IP flow verify says ``securityRules/x``, NSG diagnostics say
``UserRule_x``, next hop says ``VirtualNetwork`` where effective routes say ``VnetLocal``. Not for
deciding anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.network.model import NextHopType, SecurityAdminRule, SecurityRule

LEGACY_NAMES: Mapping[str, str] = {
    "DenyAllInBound": "DefaultInboundDenyAll",
    "DenyAllOutBound": "DefaultOutboundDenyAll",
}
"""What older documents and the security group view call the default denials."""

NEXT_HOP_NAMES: Mapping[NextHopType, tuple[str, ...]] = {
    NextHopType.VNET_LOCAL: ("VirtualNetwork", "VnetLocal"),
    NextHopType.VNET_PEERING: ("VirtualNetworkPeering", "VNetPeering", "VNetGlobalPeering"),
    NextHopType.SERVICE_ENDPOINT: ("VirtualNetworkServiceEndpoint",),
    NextHopType.INTERNET: ("Internet",),
    NextHopType.VIRTUAL_APPLIANCE: ("VirtualAppliance", "VirtualApplianceEcmp"),
    NextHopType.VIRTUAL_NETWORK_GATEWAY: ("VirtualNetworkGateway",),
    NextHopType.NONE: ("None",),
}
"""Next hop's own spelling first, then those of effective routes and of user-defined routes."""


def resource_name(rule: SecurityRule | SecurityAdminRule) -> str:
    """As IP flow verify and effective security rules name it: ``defaultSecurityRules/DenyAllInBound``."""
    if isinstance(rule, SecurityAdminRule):
        return rule.name
    return f"{'defaultSecurityRules' if rule.default else 'securityRules'}/{rule.name}"


def diagnostic_name(rule: SecurityRule | SecurityAdminRule) -> str:
    """As NSG diagnostics, connection troubleshoot and flow logs name it: ``UserRule_allow-ssh``."""
    if isinstance(rule, SecurityAdminRule):
        return rule.name
    return f"{'DefaultRule' if rule.default else 'UserRule'}_{rule.name}"


def rule_names(rule: SecurityRule | SecurityAdminRule) -> tuple[str, ...]:
    """Every name that a tool may give to the rule, its own first."""
    names = [rule.name, resource_name(rule), diagnostic_name(rule)]
    legacy = LEGACY_NAMES.get(rule.name) if isinstance(rule, SecurityRule) and rule.default else None
    if legacy is not None:
        names += [legacy, f"defaultSecurityRules/{legacy}", f"DefaultRule_{legacy}"]
    return tuple(dict.fromkeys(names))


def same_rule(azure_name: str, rule: SecurityRule | SecurityAdminRule) -> bool:
    """Whether ``azure_name``, from any tool, can be the name of ``rule``; Azure ignores case.

    Names are unique in one NSG only: compare with the rule of the NSG that the answer is about.
    """
    return azure_name.lower() in {name.lower() for name in rule_names(rule)}


def same_next_hop(azure_name: str, hop: NextHopType) -> bool:
    """Whether ``azure_name``, of next hop, effective routes or a route, means the type ``hop``."""
    return azure_name.lower() in {name.lower() for name in NEXT_HOP_NAMES[hop]}
