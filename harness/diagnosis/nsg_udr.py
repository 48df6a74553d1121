"""Step 2: a network security group or a user-defined route blocks.

Microsoft: IP flow verify, effective security rules, effective routes. Told from the
configuration (which rule, which route) and from the packets (left the source's guest, never
arrived at the target's). Without a snapshot this step cannot name a rule; without captures
it rests on the configuration and the silence alone, and says so.
"""

from __future__ import annotations

from harness.diagnosis import configured
from harness.diagnosis.evidence import FlowEvidence
from harness.diagnosis.place import Located
from harness.model import Step


def findings(evidence: FlowEvidence) -> tuple[Located, ...]:
    """A security rule or a route of the configuration that stops the flow."""
    return configured.findings(evidence, Step.NSG_UDR)
