"""What two captures prove about one probe. Pure: records in, facts out.

A fact is True where a packet was seen, False where a capture that can prove absence did not see
it, and None where nobody could tell. Not for causes (:mod:`harness.diagnosis`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.agent.contract import CaptureRecord, Direction
from harness.model import Protocol
from harness.probe.capture import EndCapture


class Answer(StrEnum):
    """The kind of answer that a capture saw."""

    NONE = "none"
    ACCEPT = "accept"
    """SYN-ACK, echo reply, or a datagram back."""
    RESET = "reset"
    ICMP_ERROR = "icmp-error"


@dataclass(frozen=True, slots=True)
class ProbeKey:
    """What the probe's packets look like. ``local_port``: source port, or the echo's identifier; 0: unknown.

    ``translated``: the source address may be another one at the target, so that TCP's sequence
    number and UDP's nonce have to tell the packets.
    """

    protocol: Protocol
    source: str
    address: str
    port: int | None
    local_port: int = 0
    translated: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The journey of the probe's first packet and of its answer, at the two ends' interfaces."""

    left_source: bool | None = None
    arrived_target: bool | None = None
    syn_recv: bool | None = None
    answer_left: Answer | None = None
    answer_arrived: Answer | None = None


def evaluate(key: ProbeKey, source: EndCapture | None, target: EndCapture | None) -> Seen:
    """The facts that the captures prove; either capture may be missing."""
    sent = [r for r in source.records if _is_request(key, r, Direction.OUT)] if source else []
    sequences = {record.seq for record in sent if record.seq is not None}
    arrived = [r for r in target.records if _is_request(key, r, Direction.IN, sequences)] if target else []
    syn_recv = [record.syn_recv for record in arrived if record.syn_recv is not None]
    peers = {(record.src, record.sport) for record in arrived}
    return Seen(
        left_source=_fact(bool(sent), source is not None and source.proves_absence_out),
        arrived_target=_fact(bool(arrived), target is not None and target.proves_absence_in),
        syn_recv=any(syn_recv) if syn_recv else None,
        answer_left=_answer(key, target, Direction.OUT, peers),
        answer_arrived=_answer(key, source, Direction.IN, {(key.source, key.local_port or None)}),
    )


def _fact(seen: bool, proves_absence: bool) -> bool | None:
    return True if seen else (False if proves_absence else None)


def _is_request(
    key: ProbeKey, record: CaptureRecord, direction: Direction, sequences: set[int] | None = None
) -> bool:
    if record.direction is not direction or record.protocol is not key.protocol or record.quoted is not None:
        return False
    if record.dst != key.address or record.dport != key.port:
        return False
    if not key.translated and record.src != key.source:
        return False
    if key.protocol is Protocol.TCP:
        # Only the SYN: a later segment proves nothing about how the flow began.
        if "S" not in record.flags or "." in record.flags:
            return False
        return record.seq in sequences if key.translated and sequences else _is_ours(key, record.sport)
    if key.protocol is Protocol.UDP:
        return record.nonce is not False and (key.translated or _is_ours(key, record.sport))
    return record.icmp_type in (8, 128) and (key.translated or _is_ours(key, record.ident))


def _is_ours(key: ProbeKey, number: int | None) -> bool:
    return not key.local_port or number == key.local_port


def _answer(
    key: ProbeKey, end: EndCapture | None, direction: Direction, peers: set[tuple[str, int | None]]
) -> Answer | None:
    """The first answer to one of ``peers`` (address and port of the request's sender, as this end saw it)."""
    if end is None:
        return None
    for record in end.records:
        if record.direction is direction and (answer := _kind_of_answer(key, record, peers)):
            return answer
    proves = end.proves_no_answer if direction is Direction.OUT else end.proves_absence_in
    return Answer.NONE if proves else None


def _kind_of_answer(
    key: ProbeKey, record: CaptureRecord, peers: set[tuple[str, int | None]]
) -> Answer | None:
    quoted = record.quoted
    if quoted is not None:
        same = quoted.protocol is key.protocol and quoted.dst == key.address and quoted.dport == key.port
        ours = any(
            quoted.src == address and port in (None, quoted.sport if key.port else quoted.ident, quoted.sport)
            for address, port in peers
        )
        return Answer.ICMP_ERROR if same and ours else None
    if record.protocol is not key.protocol or record.src != key.address:
        return None
    if key.protocol is Protocol.ICMP:
        reply = record.icmp_type in (0, 129) and _is_ours(key, record.ident)
        return Answer.ACCEPT if reply and any(record.dst == address for address, _ in peers) else None
    if record.sport != key.port or not any(
        record.dst == address and port in (None, record.dport) for address, port in peers
    ):
        return None
    if key.protocol is Protocol.UDP:
        return Answer.ACCEPT
    if "R" in record.flags:
        return Answer.RESET
    return Answer.ACCEPT if "S" in record.flags else None
