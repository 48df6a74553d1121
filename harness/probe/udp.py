"""UDP probes with receiver proof.

A datagram counts as delivered only when the far side proves it: the service answered, a
listener of ours read the nonce, or a capture at the target saw it arrive (see
:class:`~harness.probe.result.Proof` for what each proves). Without any proof it is
``unconfirmed``; ``timeout`` is said only where a receiver that would have seen it did not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from harness.agent.client import Agent, Pending
from harness.agent.contract import CaptureFilter, ErrorKind, RequestError, UdpReply, UdpResult, UdpTarget
from harness.model import Outcome, Protocol
from harness.probe.capture import Capture
from harness.probe.listener import Lease
from harness.probe.result import Attempt, ProbeResult, Proof, attempts_of, describe, new_nonce, summarize

TIMEOUT = 2.0
GRACE = 0.05
"""Seconds for an answer or an ICMP error after the receiver is known to have seen the datagram."""

FIRST_LOOK = 0.005
"""Seconds in which most answers have come, so that no receiver needs to be asked."""

Witness = Callable[[float], bool]
"""Whether the receiver saw the nonce; waits at most so many seconds for it."""


def probe_udp(
    source: Agent,
    address: str,
    port: int,
    *,
    target: Agent | None = None,
    source_address: str | None = None,
    payload: bytes | None = None,
    timeout: float = TIMEOUT,
    count: int = 1,
    retries: int = 0,
    allow_disruptive: bool = False,
) -> ProbeResult:
    """Sends a datagram to ``address``:``port`` and proves its delivery by whatever is possible.

    With a ``target`` agent: a temporary listener where that is permitted and the port is free,
    else a capture where the log-in may. ``payload`` is what a service understands; it should
    hold nothing secret.
    """

    def once() -> Attempt:
        nonce = new_nonce()
        with ExitStack() as stack:
            receiver = _receiver(stack, target, address, port, nonce, allow_disruptive, timeout)
            datagram = UdpTarget(
                address, port, nonce, None if payload is None else payload + nonce.encode(), source_address
            )
            return send_and_prove(
                source,
                datagram,
                timeout=timeout,
                proof=receiver.proof,
                witness=receiver.witness,
                answering=receiver.answering,
            )

    return summarize(attempts_of(once, count=count, retries=retries))


@dataclass(frozen=True, slots=True)
class _Receiver:
    """Who can prove the delivery at the target, if anybody."""

    proof: Proof | None = None
    witness: Witness | None = None
    answering: Callable[[], bool] | None = None


def _receiver(
    stack: ExitStack,
    target: Agent | None,
    address: str,
    port: int,
    nonce: str,
    allow_disruptive: bool,
    timeout: float,
) -> _Receiver:
    if target is None:
        return _Receiver()
    if allow_disruptive:
        lease = Lease(
            target, Protocol.UDP, port, allow_disruptive=True, address=address, lease=timeout + 20.0
        )
        try:
            stack.enter_context(lease)
            return _Receiver(Proof.LISTENER, lambda wait: lease.saw(nonce, wait=wait))
        except RequestError as error:
            # The service itself holds the port, or the address is translated on its way.
            if error.kind not in (ErrorKind.IN_USE, ErrorKind.PERMISSION, ErrorKind.FAILED):
                raise
    try:
        wanted = CaptureFilter(Protocol.UDP, ports=(port,), nonce=nonce)
        capture = stack.enter_context(Capture(target, wanted))
    except RequestError as error:
        if error.kind is not ErrorKind.PERMISSION:
            raise
        return _Receiver()
    return _Receiver(Proof.CAPTURE, lambda wait: capture.saw_nonce(wait=wait), capture.saw_answer)


def send_and_prove(
    source: Agent,
    datagram: UdpTarget,
    *,
    timeout: float,
    proof: Proof | None,
    witness: Witness | None,
    answering: Callable[[], bool] | None = None,
) -> Attempt:
    """One datagram. As soon as the witness saw it, only a short grace is left for an answer.

    ``answering`` tells whether the target has sent one; then it is waited for.
    """
    pending = source.start_udp([datagram], timeout=timeout)
    started = source.clock()
    witnessed = False
    if witness is not None:
        witnessed = _wait_for_either(pending, witness, timeout)
        if witnessed and not pending.wait(GRACE) and not (answering is not None and answering()):
            return Attempt(Outcome.DELIVERED, started, detail=_DELIVERED[proof], proof=proof)
    result = pending.result()[0]
    if result.outcome is UdpReply.TIMEOUT and witness is not None and not witnessed:
        witnessed = witness(0.0)
    return _judge(result, witnessed, proof)


def _wait_for_either(pending: Pending[tuple[UdpResult, ...]], witness: Witness, timeout: float) -> bool:
    if pending.wait(FIRST_LOOK):
        return False
    deadline = time.monotonic() + timeout
    while not pending.done and (left := deadline - time.monotonic()) > 0:
        # The agent waits for the nonce; in slices, so that an answer at the source ends the wait.
        if witness(min(left, GRACE)):
            return True
    return False


_DELIVERED: dict[Proof | None, str] = {
    Proof.LISTENER: "a listener on the target read the nonce",
    Proof.CAPTURE: "the nonce arrived at the target's interface; no answer",
}


def _judge(result: UdpResult, witnessed: bool, proof: Proof | None) -> Attempt:
    if result.outcome is UdpReply.ANSWERED:
        return Attempt(
            Outcome.DELIVERED, result.started, result.rtt_ms, "answered", result.local, proof=Proof.ANSWER
        )
    if result.outcome is UdpReply.TIMEOUT:
        if witnessed:
            return Attempt(
                Outcome.DELIVERED, result.started, None, _DELIVERED[proof], result.local, proof=proof
            )
        if proof is None:
            detail = "no answer, and no receiver could say whether it arrived"
            return Attempt(Outcome.UNCONFIRMED, result.started, None, detail, result.local)
        return Attempt(Outcome.TIMEOUT, result.started, None, "the receiver never saw it", result.local)
    outcome = Outcome(result.outcome.value)
    detail = describe(outcome, errno=result.errno, icmp=result.icmp, detail=result.detail)
    return Attempt(outcome, result.started, result.rtt_ms, detail, result.local, result.icmp)
