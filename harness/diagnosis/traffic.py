"""What an observation means for the evidence of a flow: facts for the steps, packets for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

from harness.diagnosis.evidence import Traffic
from harness.model import Evidence, EvidenceKind, Outcome, Protocol
from harness.network.model import IPAddress
from harness.probe.capture import EndCapture
from harness.probe.observe import Observation
from harness.probe.result import Outage, ProbeResult, Proof, outages
from harness.probe.seen import Answer


def sent_from(observation: Observation) -> IPAddress | None:
    """The source address of the probe's packets."""
    local = observation.probe.local
    text = local[0] if local is not None and local[0] else observation.source_address
    return ip_address(text) if text else None


def traffic_of(observation: Observation) -> Traffic:
    """The facts of one observed probe."""
    probe = observation.probe
    has_ports = observation.protocol is not Protocol.ICMP
    arrival_only = probe.proof is Proof.CAPTURE
    arrived = observation.answer_arrived
    outcome = probe.outcome
    if observation.source_address is None:
        outcome = Outcome.NO_ROUTE  # whatever errno a prohibiting or missing route gave
    elif arrival_only:
        outcome = Outcome.UNCONFIRMED
    return Traffic(
        # a capture proves that a datagram reached the NIC, not that anybody read it
        outcome=outcome,
        detail=probe.detail,
        attempts=probe.attempts,
        successes=0 if arrival_only else probe.successes,
        rtt_ms=probe.rtt_ms,
        source_port=probe.local[1] if probe.local is not None and has_ports else None,
        left_source=observation.left_source,
        arrived_target=observation.arrived_target,
        accepted=observation.syn_recv,
        answer_left=observation.answer_left,
        answer_arrived=None if arrived is None else arrived is not Answer.NONE,
        packets=tuple(_packets(observation)),
        missing=observation.missing,
    )


def repeated(first: Traffic, rest: ProbeResult) -> Traffic:
    """The traffic of a flow that was probed again after a first success: all attempts taken together."""
    attempts, successes = first.attempts + rest.attempts, first.successes + rest.successes
    if attempts == successes:
        return replace(first, attempts=attempts, successes=successes)
    when = "; ".join(_outage(outage) for outage in outages(rest.tries)[:10])
    return replace(
        first,
        outcome=Outcome.INTERMITTENT,
        detail=f"{successes} of {attempts} succeeded; failed {when}",
        attempts=attempts,
        successes=successes,
    )


def _outage(outage: Outage) -> str:
    """When it failed, by the source's clock, in UTC."""
    first, last = (
        datetime.fromtimestamp(moment, UTC).isoformat(" ", "milliseconds")
        for moment in (outage.first, outage.last)
    )
    kinds = ", ".join(outage.outcomes)
    return (
        f"at {first} ({kinds})"
        if outage.count == 1
        else f"from {first} to {last} ({kinds}, {outage.count} in a row)"
    )


def _packets(observation: Observation) -> Iterator[Evidence]:
    for end in (observation.source_capture, observation.target_capture):
        if end is not None:
            yield Evidence(
                EvidenceKind.PACKETS, end.machine, _summary(end), output="\n".join(end.lines) or None
            )


def _summary(end: EndCapture) -> str:
    """How many packets of the flow were seen, and why an absence can be believed."""
    count = len(end.records)
    seen = (
        f"{count} packet{'s' if count > 1 else ''} of the flow seen"
        if count
        else "no packet of the flow seen"
    )
    if end.dropped:
        return f"{seen}; the capture lost {end.dropped}, so absence proves nothing"
    if end.problem or end.control is None:
        return f"{seen}; {end.problem}, so absence proves nothing"
    control = end.control
    return f"{seen}; the capture works: {control.address} answered on {control.interface}"
