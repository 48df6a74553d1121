"""The JSON documents that the command line prints; the models are their schema."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness.model import Diagnosis, Evidence


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FlowDocument(_Document):
    source: str
    target: str
    protocol: Literal["tcp", "udp", "icmp"]
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
    """``azreach diagnose --json`` and ``azreach probe --json``. ``rtt_ms`` is in milliseconds."""

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


def diagnosis_document(diagnosis: Diagnosis) -> DiagnosisDocument:
    """The diagnosis with the keys that scripts may rely on."""
    flow = diagnosis.flow
    return DiagnosisDocument(
        flow=FlowDocument(
            source=flow.source, target=flow.target, protocol=flow.protocol.value, port=flow.port
        ),
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
