"""Step 2: a network security group or a user-defined route blocks.

Microsoft: IP flow verify, effective security rules, effective routes. Told from the
configuration (which rule, which route) and from the packets (left the source's guest, never
arrived at the target's). Without a snapshot this step cannot name a rule; without captures
it rests on the configuration and the silence alone, and says so. An appliance in the path is
watched as well: whether packets enter it and leave it again.
"""

from __future__ import annotations

from harness.diagnosis import configured
from harness.diagnosis.evidence import FlowEvidence, Transit
from harness.diagnosis.place import Located, Place
from harness.model import Cause, Evidence, EvidenceKind, Finding, Step
from harness.taxonomy import TAXONOMY

_V6 = "ipv6.conf.all.forwarding"


def findings(evidence: FlowEvidence) -> tuple[Located, ...]:
    """A security rule or a route that stops the flow, or an appliance in the path that does not forward."""
    if found := configured.findings(evidence, Step.NSG_UDR):
        return found
    return tuple(
        _not_forwarding(evidence, transit) for transit in evidence.transits if _keeps(evidence, transit)
    )


def _keeps(evidence: FlowEvidence, transit: Transit) -> bool:
    """Whether packets enter the appliance and do not leave it, since its guest does not forward."""
    if transit.arrived is not True or transit.left is not False or transit.forwards is True:
        return False
    ruling = evidence.forwarding_at(transit)
    return transit.forwards is False or ruling is None or not ruling.blocks


def _not_forwarding(evidence: FlowEvidence, transit: Transit) -> Located:
    family = (
        "ipv4.ip_forward" if evidence.target.address is None or evidence.target.address.version == 4 else _V6
    )
    said = {True: "1", False: "0", None: "unknown"}[transit.forwards]
    setting = Evidence(
        EvidenceKind.COMMAND,
        transit.name,
        f"{transit.name}: packets come in and do not go on; net.{family} is {said}",
        f"sysctl net.{family}",
    )
    found = Finding(
        cause=Cause.APPLIANCE_NOT_FORWARDING,
        summary=f"{TAXONOMY[Cause.APPLIANCE_NOT_FORWARDING].explanation} It is the guest of {transit.name}.",
        evidence=(setting, *transit.packets, *evidence.probe_evidence),
        fix=(f"sysctl -w net.{family}=1   # on {transit.name}; and in /etc/sysctl.d, to outlive a reboot",),
    )
    return Located(Place.ANSWER_NETWORK if transit.answer else Place.SOURCE_NETWORK, found)
