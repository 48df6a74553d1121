"""An explanation as the JSON document that ``azreach explain --json`` prints.

Keys are stable: ``verdict``, ``cause``, ``rule``, ``route``, ``decisions`` and the flow's own.
"""

from __future__ import annotations

from typing import Any

from harness.policy.decision import Decision, EffectiveRoute, Explanation
from harness.policy.outbound import Outbound
from harness.policy.spelling import diagnostic_name, resource_name


def to_json(explanation: Explanation) -> dict[str, Any]:
    """Plain JSON values; ``decisions`` in the order in which the packet and its answer met them."""
    decisions = [decision_to_json(decision) for decision in explanation.decisions]
    return summary_to_json(explanation) | {"decisions": decisions}


def summary_to_json(explanation: Explanation) -> dict[str, Any]:
    """One line of many: the verdict and what decided, without the decisions before it."""
    flow = explanation.flow
    return {
        "from": flow.source,
        "to": flow.target,
        "protocol": flow.protocol.value,
        "port": flow.port,
        "sourceAddress": str(explanation.source_address),
        "targetAddress": str(explanation.target_address),
        "sourceNic": explanation.source_nic,
        "targetNic": explanation.target_nic,
        "sourcePort": explanation.source_port,
        "outbound": _outbound(explanation.outbound),
        "verdict": explanation.verdict.value,
        "cause": explanation.cause.value if explanation.cause else None,
        "rule": explanation.rule,
        "route": route_to_json(explanation.route),
        "why": explanation.deciding.why if explanation.deciding else None,
        "fix": list(explanation.fix),
    }


def decision_to_json(decision: Decision) -> dict[str, Any]:
    return {
        "direction": decision.way.value,
        "kind": decision.kind.value,
        "where": decision.where,
        "access": decision.access.value,
        "objectId": decision.object_id,
        "nicId": decision.nic_id,
        "rule": decision.rule,
        "ruleId": decision.rule_id,
        "azureNames": _azure_names(decision),
        "evaluated": [
            {
                "name": item.rule.name,
                "matched": item.matched,
                "protocolMatched": item.protocol,
                "sourceMatched": item.source,
                "sourcePortMatched": item.source_port,
                "destinationMatched": item.destination,
                "destinationPortMatched": item.destination_port,
            }
            for item in decision.evaluations()
        ],
        "route": route_to_json(decision.route),
        "why": decision.why,
    }


def _azure_names(decision: Decision) -> dict[str, str] | None:
    """The deciding rule as Azure's tools spell it, for comparing with their answers."""
    matched = next((item.rule for item in decision.evaluations() if item.matched), None)
    if matched is None:
        return None
    return {"ipFlowVerify": resource_name(matched), "diagnostics": diagnostic_name(matched)}


def _outbound(found: Outbound | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "kind": found.kind.value,
        "objectId": found.object_id,
        "addresses": [str(address) for address in found.addresses],
        "snatPorts": found.snat_ports,
        "why": found.why,
    }


def route_to_json(route: EffectiveRoute | None) -> dict[str, Any] | None:
    if route is None:
        return None
    return {
        "prefix": str(route.prefix),
        "nextHopType": route.next_hop_type.value,
        "nextHopIpAddress": str(route.next_hop_ip) if route.next_hop_ip is not None else None,
        "source": route.source.value,
    }
