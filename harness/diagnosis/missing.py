"""Why a failed flow's cause could not be named: what would have been needed, and where to look next.

Pure: reads the same evidence as the steps do. In the order of the packet's way.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.diagnosis import configured
from harness.diagnosis.evidence import FlowEvidence, Traffic, Transit
from harness.model import Outcome
from harness.policy.decision import PolicyVerdict
from harness.probe.seen import Answer


def missing(evidence: FlowEvidence) -> tuple[str, ...]:
    """The reasons, each once; never empty."""
    ends = (evidence.source, evidence.target)
    reasons = [end.problem for end in ends if end.problem]
    if evidence.traffic is None:
        return tuple(reasons) or ("no probe could be sent",)
    reasons += evidence.traffic.missing
    reasons += [reason for transit in evidence.transits if (reason := _passage(transit))]
    reasons += _probe(evidence, evidence.traffic)
    reasons += _network(evidence, evidence.traffic)
    reasons += _target(evidence, evidence.traffic)
    reasons += [
        f"{end.name}: its firewall could not be read: {end.firewall.problem}"
        for end in ends
        if end.firewall is not None and end.firewall.problem
    ]
    if evidence.target.machine is None:
        reasons.append(
            f"{evidence.target.name} is no machine of the environment: there is no evidence from that end"
        )
    return tuple(dict.fromkeys(reasons)) or ("no step recognises what was seen",)


def _probe(evidence: FlowEvidence, traffic: Traffic) -> Iterator[str]:
    source = evidence.source.name
    if traffic.outcome is Outcome.NO_ROUTE:
        yield f"{source} has no route to {evidence.target.address}: look at its NIC and routes (step nic)"
    elif traffic.left_source is False:
        yield (
            f"the packet never left {source}'s NIC, and no rule of its firewall is known to keep it: look at"
            " its neighbours (`ip neigh`), its policy routing (`ip rule`) and its kernel log"
        )
    if traffic.outcome is Outcome.INTERMITTENT:
        yield f"it works at times: {traffic.detail}; no step found what comes and goes"
    if traffic.outcome is Outcome.UNCONFIRMED:
        yield _unconfirmed(evidence, traffic)


def _network(evidence: FlowEvidence, traffic: Traffic) -> Iterator[str]:
    prediction = evidence.prediction
    if configured.contradicted(evidence):
        yield "the configuration denies this flow, but its packets get through: the snapshot is not today's"
    if prediction is None:
        yield (
            evidence.prediction_problem
            or "no snapshot of the Azure network, so NSGs, routes and peerings are unknown"
        )
    elif prediction.verdict is PolicyVerdict.DENY:
        if prediction.cause is None and prediction.deciding is not None:
            yield f"the configuration denies it: {prediction.deciding.where}: {prediction.deciding.why}"
    elif traffic.left_source and traffic.arrived_target is False:
        yield (
            "the packet left the source and never arrived, although the snapshot allows it:"
            " the snapshot is not today's, or something that it does not hold drops the packet"
        )
    if traffic.answer_left not in (None, Answer.NONE) and traffic.answer_arrived is False:
        yield "the target answered and the answer never arrived: something on the way back drops it"


def _target(evidence: FlowEvidence, traffic: Traffic) -> Iterator[str]:
    ruling, name = evidence.inbound_at_target(), evidence.target.name
    if ruling is None:
        return
    if ruling.translated:
        rules = "; ".join(rule.text for rule in ruling.doubts[:3])
        yield (
            f"{name} translates this port to another destination (a published container?): {rules};"
            " its forward rules and that destination decide"
        )
    elif traffic.arrived_target and traffic.answer_left in (None, Answer.NONE):
        yield (
            f"the packet reached {name}'s NIC and no answer is known to have left it, though no rule is known"
            " to drop it: look at its route back (`ip route get`), its neighbours and `rp_filter`"
        )


def _unconfirmed(evidence: FlowEvidence, traffic: Traffic) -> str:
    """How far a datagram is known to have come that nobody answered."""
    ruling = evidence.inbound_at_target()
    if not traffic.arrived_target:
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
