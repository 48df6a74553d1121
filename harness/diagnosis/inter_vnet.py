"""Step 9: the VNets are not connected, as far as the peerings' configuration says so."""

from __future__ import annotations

from harness.diagnosis import configured
from harness.diagnosis.evidence import FlowEvidence
from harness.diagnosis.place import Located
from harness.model import Step


def findings(evidence: FlowEvidence) -> tuple[Located, ...]:
    """A missing or disconnected peering that stops the flow."""
    return configured.findings(evidence, Step.INTER_VNET)
