"""Whole recorded sessions of the real service, against the engine: every question asked in one is decided
here from the bodies that the session had shown by then, or stands in a table with its reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.model import Cause, Flow, Protocol
from harness.network.model import Direction, Network, NextHopType, SecurityRule, key
from harness.network.rules import default_rules
from harness.policy.compiled import compiled
from harness.policy.decision import PolicyVerdict
from harness.policy.explain import explain
from harness.policy.spelling import same_next_hop
from tests.harness.policy.network_watcher import (
    asked_nic,
    completed,
    effective_rules,
    ip_flow_verify,
    next_hop,
    recorded_routes,
    recorded_rule,
    route_table,
    rule_line,
)

FOLDER = Path(__file__).parents[4] / "shared" / "azure-recordings"
SESSIONS = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "cases")

if not SESSIONS:
    pytest.skip("the recorded sessions of the real service are not on this machine", allow_module_level=True)

NO_VERDICT = "starts, stops or reads something and says nothing about a packet"
OTHER_OPERATIONS = {
    "topology": "lists resources and their associations, which the snapshot has to begin with",
    "configureFlowLog": NO_VERDICT,
    "queryFlowLogStatus": NO_VERDICT,
    "queryStatus": NO_VERDICT,
    "start": NO_VERDICT,
    "stop": NO_VERDICT,
}
"""Operations that the engine has no counterpart of."""

NO_NETWORK = "neither the network nor the question is in the session"
NOT_RUNNING = "the service refuses for a NIC without a running VM; a snapshot knows no power state"
NOT_DECIDED = {
    "connectivity-check 1 connectivityCheck": NO_NETWORK,
    "ip-flow-verify 1 ipFlowVerify": NO_NETWORK,
    "next-hop 1 nextHop": NO_NETWORK,
    "effective-routes-and-nsg 1 effectiveNetworkSecurityGroups": NOT_RUNNING,
    "effective-routes-and-nsg 3 effectiveRouteTable": NOT_RUNNING,
    "vnet-peering 36 connectivityCheck": "30 probes lost over a peering that lets the flow pass, and no issue"
    " named: what lost them, if in the guest, is in no configuration",
}
"""Questions that cannot be decided from what their session shows, each with its reason."""

JAVA_VM = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg923478"
    "/providers/Microsoft.Compute/virtualMachines/vm26241874ab"
)
UNRECORDED = {
    "network-watcher-functions 27 securityGroupView": {"targetResourceId": JAVA_VM},
    "network-watcher-functions 33 nextHop": {
        "targetResourceId": JAVA_VM, "sourceIPAddress": "10.0.0.4", "destinationIPAddress": "8.8.8.8",
    },
    "network-watcher-functions 34 ipFlowVerify": {
        "targetResourceId": JAVA_VM, "direction": "Outbound", "protocol": "TCP",
        "localIPAddress": "10.0.0.4", "localPort": "443",
        "remoteIPAddress": "8.8.8.8", "remotePort": "443",
    },
}  # fmt: skip
"""The Java library's sessions keep no request bodies: this is what the recorded test asks
(Azure/azure-libraries-for-java, ``AzureTests.testNetworkWatcherFunctions``).
"""

KINDS = ("virtualnetworks", "networkinterfaces", "networksecuritygroups", "publicipaddresses",
         "virtualmachines", "routetables")  # fmt: skip

TEMPLATE_SPACE = "10.0.0.0/8"
"""The space of the one virtual network whose body no session shows; its only route says so, too."""


@dataclass(frozen=True)
class Question:
    """One POST of a session; ``answer`` is what its polling ended with."""

    session: str
    number: int
    operation: str
    request: dict[str, Any]
    answer: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.session} {self.number} {self.operation}"


@cache
def exchanges(session: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{session}.json").read_text())["exchanges"]
    return found


def questions(session: str) -> list[Question]:
    found = []
    for number, exchange in enumerate(exchanges(session)):
        if exchange["method"] != "POST":
            continue
        operation = exchange["uri"].partition("?")[0].rpartition("/")[2]
        request = exchange["request"] or UNRECORDED.get(f"{session} {number} {operation}", {})
        later = (item for item in exchanges(session)[number:] if item["status"] != 202)
        answer = next(later, exchange)["response"] or {}
        found.append(Question(session, number, operation, request, answer))
    return found


def network_at(question: Question) -> Network:
    """The network as the session had last shown it when the question was asked."""
    bodies: dict[str, Any] = {}
    for exchange in exchanges(question.session)[: question.number]:
        body = exchange["response"]
        if exchange["status"] in (200, 201) and isinstance(body, dict):
            identity = key(str(body.get("id", "")))
            if identity.split("/")[-2:-1] and identity.split("/")[-2] in KINDS:
                bodies[identity] = body
    return completed(bodies.values(), str(question), TEMPLATE_SPACE)


ALL = [question for session in SESSIONS for question in questions(session)]


def of(operation: str) -> list[Any]:
    return [
        pytest.param(question, id=str(question).replace(" ", "-"))
        for question in ALL
        if question.operation == operation and str(question) not in NOT_DECIDED
    ]


@pytest.mark.parametrize("question", of("ipFlowVerify"))
def test_ip_flow_verify(question: Question) -> None:
    assert ip_flow_verify(network_at(question), question.request) == question.answer


@pytest.mark.parametrize("question", of("nextHop"))
def test_next_hop(question: Question) -> None:
    network = network_at(question)
    nic = asked_nic(network, question.request.get("targetResourceId"))
    hop, address, table = next_hop(network, nic, question.request)
    assert same_next_hop(question.answer["nextHopType"], NextHopType(hop))
    assert address == question.answer.get("nextHopIpAddress")
    assert table == question.answer["routeTableId"]


@pytest.mark.parametrize("question", of("securityGroupView"))
def test_security_group_view(question: Question) -> None:
    """Where the session shows no network, the default rules and those of the NIC's bare NSG remain."""
    for shown in question.answer["networkInterfaces"]:
        rules = shown["securityRuleAssociations"]
        defaults = {recorded_rule(rule["name"], rule["properties"]) for rule in rules["defaultSecurityRules"]}
        assert defaults == {named(rule) for rule in default_rules("/nsg")}
        recorded = {recorded_rule(rule["name"], rule) for rule in rules["effectiveSecurityRules"]}
        if question.session == "security-group-view":
            assert rules["networkInterfaceAssociation"]["securityRules"] == []
            network, target = bare(shown["id"]), shown["id"]
        else:
            network, target = network_at(question), question.request["targetResourceId"]
        assert recorded == effective_rules(compiled(network), asked_nic(network, target))


def named(rule: SecurityRule) -> tuple[Any, ...]:
    return (rule.name, *rule_line(rule))


def bare(nic: str) -> Network:
    """The NIC with an NSG that has no rules of its own, as the answer shows it."""
    group = nic.replace("/networkInterfaces/", "/networkSecurityGroups/")
    return completed(
        [{"id": group, "properties": {"networkInterfaces": [{"id": nic}]}}], "answer", TEMPLATE_SPACE
    )


@pytest.mark.parametrize("question", of("effectiveRouteTable"))
def test_effective_routes(question: Question) -> None:
    """Every recorded route is there. The engine may have more None routes: which ones a VNet gets differs."""
    network = network_at(question)
    found, recorded = (
        route_table(network, asked_nic(network, None)),
        recorded_routes(question.answer["value"]),
    )
    assert recorded <= found
    assert {hop for _, hop, _, _ in found - recorded} <= {"None"}


@pytest.mark.parametrize("question", of("effectiveNetworkSecurityGroups"))
def test_effective_groups(question: Question) -> None:
    network = network_at(question)
    assert question.answer["value"] == []
    assert [compiled(network).judges(asked_nic(network, None), way) for way in Direction] == [(), ()]


CONNECTIVITY = {
    # from a VM to itself
    "watch-network 40 connectivityCheck": ("Reachable", PolicyVerdict.ALLOW, None),
    "vnet-peering 39 connectivityCheck": ("Reachable", PolicyVerdict.ALLOW, None),
    "vnet-peering 57 connectivityCheck": ("Unreachable", PolicyVerdict.DENY, Cause.PEERING_ACCESS_DISABLED),
    "vnet-peering 60 connectivityCheck": ("Unreachable", PolicyVerdict.DENY, Cause.PEERING_ACCESS_DISABLED),
    # no probe sent, issue NoRouteLearned: nothing connects the two virtual networks, both 10.0.0.0/28
    "network-watcher-functions 45 connectivityCheck": (
        "Unknown",
        PolicyVerdict.DENY,
        Cause.OVERLAPPING_SPACES,
    ),
}
"""What the service answered and what the engine must say."""


@pytest.mark.parametrize("question", of("connectivityCheck"))
def test_connectivity(question: Question) -> None:
    """The ends are those of the answer's hops; without a request the port is not known and none matters:
    neither end's rules tell ports apart.
    """
    status, verdict, cause = CONNECTIVITY[str(question)]
    ends = [hop["resourceId"].partition("/ipConfigurations/")[0] for hop in question.answer["hops"]]
    found = explain(network_at(question), Flow(ends[0], ends[-1], Protocol.TCP, 80))
    assert question.answer["connectionStatus"] == status
    assert (found.verdict, found.cause) == (verdict, cause)


@pytest.mark.parametrize("question", of("query"))
def test_connection_monitor(question: Question) -> None:
    """All probes lost, the hops run in a circle: the source has the target's address itself."""
    earlier = (exchange["response"] for exchange in exchanges(question.session)[: question.number])
    bodies = (body for body in earlier if isinstance(body, dict))
    monitor = next(body for body in bodies if "/connectionMonitors/" in body.get("id", ""))["properties"]
    source, target = monitor["source"]["resourceId"], monitor["destination"]["resourceId"]
    flow = Flow(source, target, Protocol.TCP, monitor["destination"]["port"])
    (state,) = question.answer["states"]
    assert state["connectionState"] == "Unreachable"
    assert explain(network_at(question), flow).cause is Cause.OVERLAPPING_SPACES


def test_every_question_is_decided_or_has_a_reason() -> None:
    operations = ("ipFlowVerify", "nextHop", "securityGroupView", "effectiveRouteTable",
                  "effectiveNetworkSecurityGroups", "connectivityCheck", "query")  # fmt: skip
    asked = {str(question): question.operation for question in ALL}
    decided = {name for name, operation in asked.items() if operation in operations} - set(NOT_DECIDED)
    other = {name for name, operation in asked.items() if operation in OTHER_OPERATIONS}
    assert decided | other | set(NOT_DECIDED) == set(asked)
    assert {name.partition(" ")[0] for name in decided | set(NOT_DECIDED)} == set(SESSIONS)


@pytest.mark.parametrize("name", NOT_DECIDED)
def test_not_decided(name: str) -> None:
    assert name in {str(question) for question in ALL}
    pytest.skip(NOT_DECIDED[name])


@pytest.mark.parametrize("operation", OTHER_OPERATIONS)
def test_operations_without_a_counterpart(operation: str) -> None:
    assert operation in {question.operation for question in ALL}
    pytest.skip(OTHER_OPERATIONS[operation])
