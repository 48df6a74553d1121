"""The judge: puts the steps' findings in the order of the packet's way and says what the flow is.

A success is healthy, whatever the configuration says. A failure is a fault only if a cause
is named; otherwise the diagnosis is inconclusive and names what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from harness.diagnosis import configured, guest_firewall, inter_vnet, listener, nsg_udr
from harness.diagnosis.evidence import FlowEvidence, Traffic, Transit
from harness.diagnosis.place import Located, Place
from harness.model import Diagnosis, Oracles, Outcome, Severity, Verdict
from harness.policy.decision import PolicyVerdict
from harness.probe.seen import Answer

Judge = Callable[[FlowEvidence], tuple[Located, ...]]

STEPS: tuple[Judge, ...] = (nsg_udr.findings, inter_vnet.findings, guest_firewall.findings, listener.findings)


def judge(evidence: FlowEvidence) -> Diagnosis:
    """The diagnosis of one flow."""
    located = sorted(chain.from_iterable(step(evidence) for step in STEPS), key=lambda item: item.place)
    traffic = evidence.traffic
    lost = _lost_at(traffic) if traffic is not None else None
    if lost is not None and (not located or located[0].place > lost):
        # the packet was lost before it came to any of these: true perhaps, but not the cause
        located = [
            replace(item, finding=replace(item.finding, severity=Severity.WARNING)) for item in located
        ]
    findings = tuple(item.finding for item in located)
    if any(finding.severity is Severity.BLOCKING for finding in findings) and traffic is not None:
        verdict = Verdict.FAULT
    else:
        verdict = Verdict.HEALTHY if evidence.success else Verdict.INCONCLUSIVE
    return Diagnosis(
        flow=evidence.flow,
        verdict=verdict,
        outcome=traffic.outcome if traffic is not None else None,
        attempts=traffic.attempts if traffic is not None else 0,
        successes=traffic.successes if traffic is not None else 0,
        findings=findings,
        evidence=evidence.probe_evidence,
        missing=_missing(evidence) if verdict is Verdict.INCONCLUSIVE else (),
        oracles=Oracles(
            predicted=_predicted(evidence), observed=traffic.outcome.value if traffic is not None else None
        ),
        rtt_ms=traffic.rtt_ms if traffic is not None else None,
    )


def _lost_at(traffic: Traffic) -> Place | None:
    """The last place at which the packet, or its answer, may have been lost, as the captures prove it."""
    if traffic.outcome.success:
        return None
    if traffic.outcome is Outcome.NO_ROUTE or traffic.left_source is False:
        return Place.SOURCE_GUEST
    if traffic.left_source and traffic.arrived_target is False:
        return Place.SOURCE_NETWORK
    if traffic.answer_left not in (None, Answer.NONE) and traffic.answer_arrived is False:
        return Place.ANSWER_NETWORK
    return None


def _unconfirmed(evidence: FlowEvidence) -> str:
    """How far a datagram is known to have come that nobody answered."""
    ruling = evidence.inbound_at_target()
    if evidence.traffic is None or not evidence.traffic.arrived_target:
        return "the datagram was sent without an error, and no receiver could prove that it arrived"
    if evidence.serving and ruling is not None and ruling.passes:
        return (
            "the datagram reached the target's NIC, its firewall lets it pass and a socket is bound;"
            " since the service does not answer, nothing proves that it read it"
        )
    return "the datagram reached the target's NIC, and nothing proves that a process read it"


def _passage(transit: Transit) -> str | None:
    """What an appliance in the path adds to what is not known."""
    if transit.problem:
        return transit.problem
    if transit.translated_to is not None:
        return (
            f"{transit.name} sends the packet on from another address, {transit.translated_to}:"
            " the rules behind it judge that one, which the prediction does not"
        )
    if transit.arrived is True and transit.left is False:
        return f"{transit.name} takes the packet in and does not send it on, though it forwards"
    return None


def _denied(evidence: FlowEvidence) -> bool:
    return evidence.prediction is not None and evidence.prediction.verdict is PolicyVerdict.DENY


def _predicted(evidence: FlowEvidence) -> str | None:
    prediction = evidence.prediction
    if prediction is None:
        return None
    if prediction.verdict is PolicyVerdict.ALLOW:
        return "allow"
    return f"deny ({prediction.cause})" if prediction.cause is not None else "deny"


def _missing(evidence: FlowEvidence) -> tuple[str, ...]:
    """Why no cause could be named, as far as that is known."""
    reasons = [end.problem for end in (evidence.source, evidence.target) if end.problem]
    traffic = evidence.traffic
    if traffic is None:
        return tuple(reasons) or ("no probe could be sent",)
    reasons += traffic.missing
    reasons += [reason for transit in evidence.transits if (reason := _passage(transit))]
    if traffic.outcome is Outcome.NO_ROUTE:
        reasons.append(
            f"{evidence.source.name} itself has no route to {evidence.target.address}:"
            " look at its NIC and routes (step nic)"
        )
    elif traffic.left_source is False:
        reasons.append(
            f"the packet never left {evidence.source.name}'s NIC, and no rule of its firewall is known to"
            " keep it: look at its neighbours (`ip neigh`), its policy routing (`ip rule`) and its kernel log"
        )
    if traffic.outcome is Outcome.INTERMITTENT:
        reasons.append(f"it works at times: {traffic.detail}; no step found what comes and goes")
    if traffic.outcome is Outcome.UNCONFIRMED:
        reasons.append(_unconfirmed(evidence))
    if configured.contradicted(evidence):
        reasons.append(
            "the configuration denies this flow, but its packets get through: the snapshot is not today's"
        )
    if evidence.prediction is None:
        reasons.append(
            evidence.prediction_problem
            or "no snapshot of the Azure network, so NSGs, routes and peerings are unknown"
        )
    elif evidence.prediction.cause is None and evidence.prediction.deciding is not None and _denied(evidence):
        deciding = evidence.prediction.deciding
        reasons.append(f"the configuration denies it: {deciding.where}: {deciding.why}")
    elif (
        evidence.prediction.verdict is PolicyVerdict.ALLOW
        and traffic.left_source
        and traffic.arrived_target is False
    ):
        reasons.append(
            "the packet left the source and never arrived, although the snapshot allows it:"
            " the snapshot is not today's, or something that it does not hold drops the packet"
        )
    if traffic.answer_left not in (None, Answer.NONE) and traffic.answer_arrived is False:
        reasons.append("the target answered and the answer never arrived: something on the way back drops it")
    for end in (evidence.source, evidence.target):
        if end.firewall is not None and end.firewall.problem:
            reasons.append(f"{end.name}: its firewall could not be read: {end.firewall.problem}")
    if evidence.target.machine is None:
        reasons.append(
            f"{evidence.target.name} is no machine of the environment: there is no evidence from that end"
        )
    return tuple(dict.fromkeys(reasons)) or ("no step recognises what was seen",)
