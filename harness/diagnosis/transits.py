"""Looks at the appliances through which the configuration leads a flow: do they forward it?

Asked only when the packets vanish between two ends although the configuration allows the
flow. An appliance that is no machine of the environment cannot be asked, and is named.
"""

from __future__ import annotations

from dataclasses import replace

from harness.agent.client import Agent
from harness.agent.contract import RequestError
from harness.diagnosis.evidence import FlowEvidence, Transit
from harness.environment import Environment
from harness.errors import AgentError, AzreachError
from harness.guest.firewall import read_firewall
from harness.model import Evidence, EvidenceKind
from harness.network.model import Network, key
from harness.policy.decision import Decision, DecisionKind, Explanation, PolicyVerdict, Way
from harness.probe.capture import line
from harness.probe.seen import Answer
from harness.probe.transit import watch_passage
from harness.transport.session import Sessions


def wanted(evidence: FlowEvidence) -> bool:
    """Whether packets vanish on a way that the configuration allows."""
    traffic, prediction = evidence.traffic, evidence.prediction
    if traffic is None or prediction is None or prediction.verdict is not PolicyVerdict.ALLOW:
        return False
    lost = traffic.left_source is True and traffic.arrived_target is False
    return lost or _answer_lost(evidence)


def appliances_of(prediction: Explanation, way: Way = Way.FORWARD) -> list[Decision]:
    """The appliances through which the configuration leads a flow, or its answer."""
    return [
        decision
        for decision in prediction.decisions
        if decision.kind is DecisionKind.APPLIANCE and decision.way is way
    ]


def _answer_lost(evidence: FlowEvidence) -> bool:
    traffic = evidence.traffic
    if traffic is None or traffic.answer_left in (None, Answer.NONE):
        return False
    return traffic.answer_arrived is False


def look(
    evidence: FlowEvidence, network: Network, environment: Environment, sessions: Sessions, source: Agent
) -> tuple[Transit, ...]:
    """The appliances on the way that lost the packet, in its order."""
    assert evidence.prediction is not None
    answer = _answer_lost(evidence)
    way = Way.RETURN if answer else Way.FORWARD
    passed = appliances_of(evidence.prediction, way)
    return tuple(
        _look_at(decision, evidence, network, environment, sessions, source, answer) for decision in passed
    )


def _look_at(
    decision: Decision,
    evidence: FlowEvidence,
    network: Network,
    environment: Environment,
    sessions: Sessions,
    source: Agent,
    answer: bool,
) -> Transit:
    nic = network.nics.get(key(decision.nic_id or ""))
    vm = network.vms.get(nic.vm) if nic is not None and nic.vm is not None else None
    name = vm.name if vm is not None else decision.where
    machine = _machine(environment, vm.id if vm is not None else "", name)
    if machine is None:
        return Transit(
            name, problem=f"{name} is in the path and no machine of the environment: it cannot be asked"
        )
    try:
        return _ask(machine, evidence, sessions.agent(machine), source, answer)
    except AzreachError as error:
        return Transit(machine, problem=error.message)


def _machine(environment: Environment, vm_id: str, vm_name: str) -> str | None:
    for name, machine in environment.machines.items():
        if machine.arm_id is not None and key(machine.arm_id) == key(vm_id):
            return name
    found = environment.machines.get(vm_name)
    return vm_name if found is not None and found.arm_id is None else None


def _ask(machine: str, evidence: FlowEvidence, appliance: Agent, source: Agent, answer: bool) -> Transit:
    here, there = evidence.source.address, evidence.target.address
    assert here is not None
    assert there is not None
    try:
        passage = watch_passage(
            source,
            appliance,
            protocol=evidence.flow.protocol,
            source_address=str(here),
            address=str(there),
            port=evidence.flow.port,
        )
    except RequestError as error:
        return Transit(
            machine, forwards=_forwards(appliance, there.version), problem=f"{machine}: {error.text}"
        )
    # whether a socket took the SYN is no question for a host that forwards
    records = [replace(record, syn_recv=None) for record in passage.capture.records]
    lines = "\n".join(line(record) for record in records)
    seen = f"packets of the flow at the appliance's NIC: {len(records)}"
    return Transit(
        name=machine,
        arrived=passage.answer_arrived if answer else passage.arrived,
        left=passage.answer_left if answer else passage.left,
        answer=answer,
        translated_to=passage.translated_to,
        forwards=_forwards(appliance, there.version),
        firewall=read_firewall(appliance, there.version),
        packets=(Evidence(EvidenceKind.PACKETS, machine, seen, output=lines or None),),
    )


def _forwards(appliance: Agent, version: int) -> bool | None:
    path = "/proc/sys/net/ipv4/ip_forward" if version == 4 else "/proc/sys/net/ipv6/conf/all/forwarding"
    try:
        return appliance.read(path).content.strip() != "0"
    except AgentError:
        return None
