"""The JSON documents that the command line prints; the models are their schema."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness.model import Diagnosis, Evidence, Flow, Outcome
from harness.probe.result import ProbeResult


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FlowDocument(_Document):
    source: str
    target: str
    protocol: str
    port: int | None


class EvidenceDocument(_Document):
    kind: str
    where: str
    summary: str
    command: str | None
    output: str | None


class FindingDocument(_Document):
    step: str
    cause: str
    severity: Literal["blocking", "warning"]
    summary: str
    evidence: list[EvidenceDocument]
    fix: list[str]


class OraclesDocument(_Document):
    predicted: str | None
    network_watcher: str | None
    observed: str | None


class DiagnosisDocument(_Document):
    """``azreach diagnose --json``. ``rtt_ms`` is in milliseconds."""

    flow: FlowDocument
    verdict: Literal["healthy", "fault", "inconclusive"]
    reachable: bool | None
    outcome: str | None
    attempts: int
    successes: int
    rtt_ms: float | None
    cause: str | None
    findings: list[FindingDocument]
    evidence: list[EvidenceDocument]
    missing: list[str]
    oracles: OraclesDocument


class TryDocument(_Document):
    """One attempt. ``started`` is the source's clock in seconds since the epoch."""

    outcome: str
    started: float
    rtt_ms: float | None
    detail: str


class ProbeDocument(_Document):
    """``azreach probe --json``: what was seen, without a judgement."""

    flow: FlowDocument
    source_address: str | None
    target_address: str
    reachable: bool | None
    outcome: str
    detail: str
    attempts: int
    successes: int
    rtt_ms: float | None
    proof: str | None
    tries: list[TryDocument]


def flow_document(flow: Flow) -> FlowDocument:
    return FlowDocument(source=flow.source, target=flow.target, protocol=flow.protocol.value, port=flow.port)


def probe_document(flow: Flow, address: str, result: ProbeResult) -> ProbeDocument:
    """A probe's result; UDP that nobody could confirm is neither reachable nor not."""
    return ProbeDocument(
        flow=flow_document(flow),
        source_address=result.local[0] if result.local is not None else None,
        target_address=address,
        reachable=None if result.outcome is Outcome.UNCONFIRMED else result.outcome.success,
        outcome=result.outcome.value,
        detail=result.detail,
        attempts=result.attempts,
        successes=result.successes,
        rtt_ms=result.rtt_ms,
        proof=result.proof.value if result.proof is not None else None,
        tries=[
            TryDocument(outcome=t.outcome.value, started=t.started, rtt_ms=t.rtt_ms, detail=t.detail)
            for t in result.tries
        ],
    )


def diagnosis_document(diagnosis: Diagnosis) -> DiagnosisDocument:
    """The diagnosis with the keys that scripts may rely on."""
    return DiagnosisDocument(
        flow=flow_document(diagnosis.flow),
        verdict=diagnosis.verdict.value,
        reachable=diagnosis.reachable,
        outcome=diagnosis.outcome.value if diagnosis.outcome is not None else None,
        attempts=diagnosis.attempts,
        successes=diagnosis.successes,
        rtt_ms=diagnosis.rtt_ms,
        cause=diagnosis.cause.value if diagnosis.cause is not None else None,
        findings=[
            FindingDocument(
                step=finding.step.value,
                cause=finding.cause.value,
                severity=finding.severity.value,
                summary=finding.summary,
                evidence=[_evidence(item) for item in finding.evidence],
                fix=list(finding.fix),
            )
            for finding in diagnosis.findings
        ],
        evidence=[_evidence(item) for item in diagnosis.evidence],
        missing=list(diagnosis.missing),
        oracles=OraclesDocument(
            predicted=diagnosis.oracles.predicted,
            network_watcher=diagnosis.oracles.network_watcher,
            observed=diagnosis.oracles.observed,
        ),
    )


def _evidence(item: Evidence) -> EvidenceDocument:
    return EvidenceDocument(
        kind=item.kind.value, where=item.where, summary=item.summary, command=item.command, output=item.output
    )
