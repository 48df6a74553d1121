"""A capture at one machine for the length of a probe, with its positive control.

What a capture saw is proof; what it did not see is proof only after the control showed that it
sees both directions, and while it lost nothing. Not for deciding what packets mean for a flow
(:mod:`harness.probe.seen`).
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from harness.agent.client import Agent
from harness.agent.contract import (
    CaptureFilter,
    CaptureRecord,
    CaptureReport,
    ControlResult,
    Direction,
    RequestError,
)
from harness.errors import AgentError


@dataclass(frozen=True, slots=True)
class EndCapture:
    """What one end's capture saw, and whether its silence can be trusted."""

    machine: str
    records: tuple[CaptureRecord, ...] = ()
    dropped: int = 0
    control: ControlResult | None = None
    problem: str = ""
    """Why there was no control, or it failed; empty where it passed."""

    @property
    def proves_absence_out(self) -> bool:
        return self.control is not None and self.control.seen_out and not self.dropped

    @property
    def proves_no_answer(self) -> bool:
        """Whether an answer that was not seen was not made: one may wait for a neighbour that is silent."""
        return self.proves_absence_out and self.proves_absence_in

    @property
    def proves_absence_in(self) -> bool:
        return self.control is not None and self.control.seen_in and not self.dropped

    @property
    def lines(self) -> tuple[str, ...]:
        """The records for people, much as tcpdump prints them."""
        return tuple(line(record) for record in self.records)


class Capture:
    """``with Capture(agent, CaptureFilter(...)) as capture: ...``; stopped when the block ends.

    Raises RequestError of kind ``permission`` where the log-in may not capture.
    """

    def __init__(self, agent: Agent, wanted: CaptureFilter, *, loopback: bool = False) -> None:
        self._agent = agent
        self._control: ControlResult | None = None
        self._problem = "no positive control was made"
        self._handle: int | None = agent.capture(wanted, loopback=loopback).handle

    @property
    def machine(self) -> str:
        return self._agent.machine

    def control(self, *, address: str, interface: str, timeout: float = 1.0) -> bool:
        """Asks ``address`` (the next hop) on ``interface``; whether the capture saw both directions."""
        assert self._handle is not None
        try:
            self._control = self._agent.capture_control(
                self._handle, address=address, interface=interface, timeout=timeout
            )
        except RequestError as error:
            self.no_control(error.text)
            return False
        seen = self._control.seen_out and self._control.seen_in
        self._problem = (
            "" if seen else f"the positive control failed: no answer from {address} on {interface}"
        )
        return seen

    def no_control(self, reason: str) -> None:
        """Records why no neighbour could be asked."""
        self._problem = f"no positive control: {reason}"

    def read(self, *, wait: float = 0.0, count: int = 0) -> tuple[CaptureRecord, ...]:
        assert self._handle is not None
        return self._agent.capture_read(self._handle, wait=wait, count=count).records

    def saw_nonce(self, *, wait: float = 0.0) -> bool:
        """Whether the filter's nonce came in; waits at most ``wait`` seconds for it."""
        assert self._handle is not None
        report = self._agent.capture_read(self._handle, wait=wait, nonce=True)
        return any(record.nonce and record.direction is Direction.IN for record in report.records)

    def saw_answer(self) -> bool:
        """Whether anything of the flow went out here: an answer or an ICMP error is under way."""
        return any(record.direction is Direction.OUT for record in self.read())

    def finish(self) -> EndCapture:
        """Stops the capture; everything that it saw."""
        assert self._handle is not None
        # Read before stop: a SYN just seen is given its 20 ms.
        self._agent.capture_read(self._handle)
        handle, self._handle = self._handle, None
        report: CaptureReport = self._agent.capture_stop(handle)
        return EndCapture(self.machine, report.records, report.dropped, self._control, self._problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with contextlib.suppress(AgentError):
                self._agent.capture_stop(handle)


def line(record: CaptureRecord) -> str:
    """One packet as a line, much as tcpdump prints it (time of day in UTC)."""
    moment = time.gmtime(record.time)
    clock = time.strftime("%H:%M:%S", moment) + f"{record.time % 1:.6f}"[1:]
    direction = "In " if record.direction is Direction.IN else "Out"
    family = "IP6" if ":" in record.src else "IP"
    source = record.src if record.sport is None else f"{record.src}.{record.sport}"
    target = record.dst if record.dport is None else f"{record.dst}.{record.dport}"
    where = f"{clock} {record.interface} {direction} {family} {source} > {target}"
    text = f"{where}: {_what(record)}, ttl {record.ttl}"
    if record.syn_recv is not None:
        text += " (socket in SYN-RECV)" if record.syn_recv else " (no socket in SYN-RECV)"
    return text


def _what(record: CaptureRecord) -> str:
    if record.protocol == "tcp":
        return f"Flags [{record.flags or 'none'}], seq {record.seq}" + (
            f", ack {record.ack}" if "." in record.flags else ""
        )
    if record.protocol == "udp":
        return f"UDP, length {record.length}" + (", the probe's nonce" if record.nonce else "")
    name = "ICMP" if record.version == 4 else "ICMP6"
    if record.quoted is None:
        request = record.icmp_type in (8, 128)
        return f"{name} echo {'request' if request else 'reply'}, id {record.ident}, seq {record.sequence}"
    quoted = record.quoted
    ports = (
        f"{quoted.src}.{quoted.sport} > {quoted.dst}.{quoted.dport}"
        if quoted.sport is not None
        else f"{quoted.src} > {quoted.dst}"
    )
    return f"{name} type {record.icmp_type} code {record.icmp_code} about {quoted.protocol} {ports}"
