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
    forth, back_again = (source_address, address), (address, source_address)
    return Passage(
        capture=seen,
        arrived=_fact(seen, forth, Direction.IN),
        left=_fact(seen, forth, Direction.OUT),
        answer_arrived=_fact(seen, back_again, Direction.IN),
        answer_left=_fact(seen, back_again, Direction.OUT),
    )


def _fact(end: EndCapture, ends: tuple[str, str], direction: Direction) -> bool | None:
    if any(_is(record, ends, direction) for record in end.records):
        return True
    proves = end.proves_absence_in if direction is Direction.IN else end.proves_absence_out
    return False if proves else None


def _is(record: CaptureRecord, ends: tuple[str, str], direction: Direction) -> bool:
    return record.direction is direction and (record.src, record.dst) == ends and record.quoted is None
