"""The judge: puts the steps' findings in the order of the packet's way and says what the flow is.

A success is healthy, whatever the configuration says. A failure is a fault only if a cause
is named; otherwise the diagnosis is inconclusive and names what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from harness.diagnosis import guest_firewall, inter_vnet, listener, nsg_udr
from harness.diagnosis.evidence import FlowEvidence, Traffic
from harness.diagnosis.missing import missing
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
        missing=missing(evidence) if verdict is Verdict.INCONCLUSIVE else (),
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


def _predicted(evidence: FlowEvidence) -> str | None:
    prediction = evidence.prediction
    if prediction is None:
        return None
    if prediction.verdict is PolicyVerdict.ALLOW:
        return "allow"
    return f"deny ({prediction.cause})" if prediction.cause is not None else "deny"
