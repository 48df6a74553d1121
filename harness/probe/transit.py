"""One probe watched at an appliance in the path: what came in, and what went on.

The appliance's own capture, with its positive control; the source's probe is repeated for it.
Not for what the appliance's configuration says (:mod:`harness.guest`).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.agent.client import Agent
from harness.agent.contract import CaptureFilter, CaptureRecord, Direction, RequestError
from harness.model import Protocol
from harness.probe.capture import Capture, EndCapture
from harness.probe.icmp import probe_icmp
from harness.probe.tcp import probe_tcp
from harness.probe.udp import probe_udp

TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class Passage:
    """What an appliance's NIC saw of a flow, there and back. None: not known."""

    capture: EndCapture
    arrived: bool | None
    left: bool | None
    answer_arrived: bool | None
    answer_left: bool | None
    translated_to: str | None = None
    """The source address with which the request went on, where the appliance put another in its place."""


def watch_passage(
    source: Agent,
    appliance: Agent,
    *,
    protocol: Protocol,
    source_address: str,
    address: str,
    port: int | None = None,
    timeout: float = TIMEOUT,
) -> Passage:
    """Probes again from ``source`` and watches at ``appliance``.

    Raises RequestError of kind ``permission`` where the appliance's log-in may not capture, and
    AgentError where an agent fails.
    """
    wanted = CaptureFilter(protocol, ports=(port,) if port is not None else ())
    with Capture(appliance, wanted) as capture:
        try:
            back = appliance.route(source_address)
            capture.control(address=back.gateway or source_address, interface=back.interface)
        except RequestError as error:
            capture.no_control(error.text)
        if protocol is Protocol.ICMP:
            probe_icmp(source, address, timeout=timeout)
        elif protocol is Protocol.UDP:
            probe_udp(source, address, port or 0, timeout=timeout)
        else:
            probe_tcp(source, address, port or 0, timeout=timeout)
        seen = capture.finish()
    return _passage(seen, source_address, address, port)


def _passage(seen: EndCapture, source: str, address: str, port: int | None) -> Passage:
    """What was seen; where the appliance translates the source, TCP's sequence number tells the packet."""
    whole = [record for record in seen.records if record.quoted is None]
    requests = [r for r in whole if r.direction is Direction.IN and (r.src, r.dst) == (source, address)]
    sequences = {record.seq for record in requests}
    onwards = [
        r
        for r in whole
        if r.direction is Direction.OUT
        and r.dst == address
        and r.dport == port
        and (r.src == source or (r.seq in sequences and r.length in {q.length for q in requests}))
    ]
    acknowledged = {None if record.seq is None else (record.seq + 1) % (1 << 32) for record in requests}
    answers = [
        r
        for r in whole
        if r.direction is Direction.IN
        and r.src == address
        and r.sport == port
        and (r.dst == source or r.ack in acknowledged)
    ]
    backwards = [r for r in whole if r.direction is Direction.OUT and (r.src, r.dst) == (address, source)]
    translated = next((record.src for record in onwards if record.src != source), None)
    return Passage(
        capture=seen,
        arrived=_fact(requests, proves=seen.proves_absence_in),
        left=_fact(onwards, proves=seen.proves_absence_out),
        answer_arrived=_fact(answers, proves=seen.proves_absence_in),
        answer_left=_fact(backwards, proves=seen.proves_absence_out),
        translated_to=translated,
    )


def _fact(records: list[CaptureRecord], *, proves: bool) -> bool | None:
    return True if records else False if proves else None
