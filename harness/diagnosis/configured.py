"""What the steps nsg-udr and inter-vnet share: a deny in Azure's configuration, held against the packets.

The configuration alone names the rule or route; the packets say whether it is true today.
A predicted deny that the packets contradict is no finding (the judge reports the disagreement).
"""

from __future__ import annotations

from harness.diagnosis.evidence import FlowEvidence
from harness.diagnosis.place import Located, Place
from harness.model import Evidence, EvidenceKind, Finding, Step
from harness.policy.decision import DecisionKind, Explanation, PolicyVerdict, Way
from harness.probe.seen import Answer
from harness.taxonomy import TAXONOMY, fix


def findings(evidence: FlowEvidence, step: Step) -> tuple[Located, ...]:
    """The predicted deny as a finding, if its cause belongs to ``step`` and no packet contradicts it."""
    prediction = evidence.prediction
    if prediction is None or prediction.cause is None or prediction.cause.step is not step:
        return ()
    returning = _on_the_way_back(prediction)
    if contradicted(evidence):
        return ()
    found = Finding(
        cause=prediction.cause,
        summary=TAXONOMY[prediction.cause].explanation,
        evidence=(*_configuration(prediction), *evidence.probe_evidence),
        fix=prediction.fix or fix(prediction.cause, {}),
    )
    return (Located(Place.ANSWER_NETWORK if returning else Place.SOURCE_NETWORK, found),)


def contradicted(evidence: FlowEvidence) -> bool:
    """Whether the packets did what the configuration denies."""
    prediction, traffic = evidence.prediction, evidence.traffic
    if prediction is None or prediction.verdict is not PolicyVerdict.DENY or traffic is None:
        return False
    if evidence.success:
        return True
    if _on_the_way_back(prediction):
        return traffic.answer_arrived is True
    answered = traffic.answer_left is not None and traffic.answer_left is not Answer.NONE
    return traffic.arrived_target is True or answered or traffic.answer_arrived is True


def _on_the_way_back(prediction: Explanation) -> bool:
    return prediction.deciding is not None and prediction.deciding.way is Way.RETURN


def _configuration(prediction: Explanation) -> tuple[Evidence, ...]:
    deciding = prediction.deciding
    if deciding is None:
        return ()
    kind = EvidenceKind.RULE if deciding.kind is DecisionKind.NSG else EvidenceKind.ROUTE
    return (Evidence(kind, deciding.where, deciding.why, output=deciding.rule_id or deciding.object_id),)
