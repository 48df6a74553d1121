"""One portion of a source's flows as agent requests: one for TCP, one for UDP, one for each echo.

The requests are under way at the same time; the answers are waited for together. A datagram counts
as delivered only when it was answered: nobody watches at the targets, so silence is
``unconfirmed``. Not for pace, order or retries (:mod:`harness.matrix.runner`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.agent import contract
from harness.agent.client import MARGIN, Pending, Requester
from harness.agent.contract import (
    EchoResult,
    ErrorKind,
    RequestError,
    TcpResults,
    UdpReply,
    UdpResult,
    UdpResults,
)
from harness.errors import AgentError
from harness.matrix.result import FlowResult
from harness.model import Flow, Outcome, Protocol
from harness.probe.icmp import result_of_echo
from harness.probe.result import attempt_of_tcp, describe, new_nonce

Addresses = Mapping[tuple[str, int | None], str]
"""(target, family) -> the address to send to."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The results of one portion, and the flows that the agent has no means to ask, with the reason."""

    results: tuple[FlowResult, ...]
    unasked: Mapping[Flow, str]


class Portion:
    """Flows whose requests have been sent. Raises AgentError for an agent that is gone."""

    def __init__(
        self, agent: Requester, flows: Sequence[Flow], addresses: Addresses, *, timeout: float
    ) -> None:
        self.flows = flows
        self._addresses = addresses
        self._tcp = [flow for flow in flows if flow.protocol is Protocol.TCP]
        self._udp = [flow for flow in flows if flow.protocol is Protocol.UDP]
        self._icmp = [flow for flow in flows if flow.protocol is Protocol.ICMP]
        wait = {"timeout_ms": timeout * 1000}
        takes = 2 * timeout + MARGIN
        self._pending_tcp = self._pending_udp = None
        if self._tcp:
            rows = [{"address": self._address(flow), "port": flow.port} for flow in self._tcp]
            self._pending_tcp = _submit(agent, TcpResults, "tcp", takes, targets=rows, **wait)
        if self._udp:
            nonce = new_nonce()
            rows = [
                {"address": self._address(flow), "port": flow.port, "nonce": f"{nonce}-{number}"}
                for number, flow in enumerate(self._udp)
            ]
            self._pending_udp = _submit(agent, UdpResults, "udp", takes, targets=rows, **wait)
        self._pending_icmp = [
            _submit(agent, EchoResult, "icmp", takes, address=self._address(flow), count=1, **wait)
            for flow in self._icmp
        ]

    @property
    def done(self) -> bool:
        """Whether every answer is there."""
        waiting = (self._pending_tcp, self._pending_udp, *self._pending_icmp)
        return all(pending.done for pending in waiting if pending is not None)

    def answers(self) -> Answers:
        """The answers, waited for."""
        results: list[FlowResult] = []
        if self._pending_tcp is not None:
            found = self._pending_tcp.result().results
            results += [
                self._result(flow, attempt.outcome, attempt.started, attempt.rtt_ms, attempt.detail)
                for flow, attempt in _paired(self._tcp, [attempt_of_tcp(one) for one in found])
            ]
        if self._pending_udp is not None:
            results += [
                self._of_udp(flow, one)
                for flow, one in _paired(self._udp, self._pending_udp.result().results)
            ]
        unasked: dict[Flow, str] = {}
        for flow, pending in zip(self._icmp, self._pending_icmp, strict=True):
            try:
                echo = result_of_echo(pending.result())
            except RequestError as error:
                if error.kind not in (ErrorKind.PERMISSION, ErrorKind.UNSUPPORTED):
                    raise
                unasked[flow] = error.text
                continue
            results.append(self._result(flow, echo.outcome, echo.tries[-1].started, echo.rtt_ms, echo.detail))
        return Answers(tuple(results), unasked)

    def _address(self, flow: Flow) -> str:
        return self._addresses[flow.target, flow.family]

    def _result(
        self, flow: Flow, outcome: Outcome, started: float, rtt_ms: float | None, detail: str
    ) -> FlowResult:
        return FlowResult(flow, self._address(flow), outcome, started, rtt_ms, detail)

    def _of_udp(self, flow: Flow, one: UdpResult) -> FlowResult:
        if one.outcome is UdpReply.ANSWERED:
            return self._result(flow, Outcome.DELIVERED, one.started, one.rtt_ms, "answered")
        if one.outcome is UdpReply.TIMEOUT:
            return self._result(flow, Outcome.UNCONFIRMED, one.started, None, "no answer")
        outcome = Outcome(one.outcome.value)
        detail = describe(outcome, errno=one.errno, icmp=one.icmp, detail=one.detail)
        return self._result(flow, outcome, one.started, one.rtt_ms, detail)


def _submit(agent: Requester, kind: type[Any], op: str, takes: float, **params: Any) -> Pending[Any]:
    def finish(data: dict[str, Any]) -> Any:
        return contract.parse(kind, data, machine=agent.machine, op=op)

    return Pending(agent.machine, agent.submit(op, **params), takes, finish)


def _paired(flows: Sequence[Flow], found: Sequence[Any]) -> list[tuple[Flow, Any]]:
    if len(flows) != len(found):
        raise AgentError(
            flows[0].source, f"the agent's answer has {len(found)} results for {len(flows)} targets"
        )
    return list(zip(flows, found, strict=True))
