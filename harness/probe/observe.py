"""One probe, watched from both ends: what the diagnosis rests on.

Captures are started at both ends and each passes its positive control before the probe is
sent; afterwards the observation says what left, arrived, was accepted, was answered, and how
far the answer came. Answered flows wait for nothing but their packets. What could not be
watched is None, with the reason in ``missing``. Not for causes (:mod:`harness.diagnosis`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from harness.agent.client import Agent
from harness.agent.contract import CaptureFilter, Direction, ErrorKind, RequestError, UdpTarget
from harness.errors import AgentError
from harness.model import Protocol
from harness.probe.capture import Capture, EndCapture
from harness.probe.icmp import probe_icmp
from harness.probe.result import ProbeResult, Proof, new_nonce, summarize
from harness.probe.seen import Answer, ProbeKey, evaluate
from harness.probe.tcp import probe_tcp
from harness.probe.udp import send_and_prove

TIMEOUT = 2.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Observation:
    """A probe's result and what the captures at both ends saw of it.

    ``left_source`` and ``arrived_target``: the SYN, datagram or echo request at the ends'
    interfaces. ``syn_recv``: the target's stack took the SYN. ``answer_left`` and
    ``answer_arrived``: the answer at the target's and at the source's interface. None: not
    known, and ``missing`` says why.
    """

    protocol: Protocol
    source: str
    target: str | None
    source_address: str | None
    address: str
    port: int | None
    probe: ProbeResult
    left_source: bool | None = None
    arrived_target: bool | None = None
    syn_recv: bool | None = None
    answer_left: Answer | None = None
    answer_arrived: Answer | None = None
    source_capture: EndCapture | None = None
    target_capture: EndCapture | None = None
    missing: tuple[str, ...] = ()


def observe(
    source: Agent,
    target: Agent | None,
    *,
    protocol: Protocol,
    address: str,
    port: int | None = None,
    source_address: str | None = None,
    timeout: float = TIMEOUT,
    translated: bool = False,
) -> Observation:
    """Sends one probe from ``source`` to ``address`` and watches it at both ends.

    ``target`` is the agent behind ``address``, or None where there is none; one that is dead
    only makes its end unknown. ``translated``: addresses change on the way (NAT), so the target
    watches for any source. Raises AgentError where the source's agent fails.
    """
    missing: list[str] = []
    try:
        route = source.route(address, source=source_address)
    except RequestError as error:
        if error.kind is not ErrorKind.NO_ROUTE:
            raise
        missing.append(f"{source.machine}: {error.text}")
        route = None
    own = route.source if route else source_address
    nonce = new_nonce() if protocol is Protocol.UDP else None
    ports = (port,) if port is not None else ()

    def at_source() -> Capture | None:
        if route is None or own is None:
            return None
        wanted = CaptureFilter(protocol, local=(own,), remote=(address,), ports=ports, nonce=nonce)
        capture = Capture(source, wanted, loopback=route.local)
        capture.control(address=route.gateway or address, interface=route.interface)
        return capture

    def at_target() -> Capture | None:
        if target is None or own is None:  # without a source address nothing is sent
            return None
        remote = None if translated else (own,)
        wanted = CaptureFilter(protocol, local=(address,), remote=remote, ports=ports, nonce=nonce)
        capture = Capture(target, wanted, loopback=route is not None and route.local)
        _control_at_target(target, capture, own)
        return capture

    with ExitStack() as stack, ThreadPoolExecutor(2, thread_name_prefix="observe") as pool:
        opening = pool.submit(_try, missing, source.machine, at_source, True)
        target_name = target.machine if target is not None else "target"
        there = _try(missing, target_name, at_target, False)
        if there is not None:
            stack.enter_context(there)
        here = opening.result()
        if here is not None:
            stack.enter_context(here)
        result = _probe(source, protocol, address, port, source_address, timeout, nonce, there)
        finishing = pool.submit(_try, missing, source.machine, here.finish, True) if here else None
        target_end = _try(missing, target_name, there.finish, False) if there else None
        source_end = finishing.result() if finishing else None

    missing += [f"{end.machine}: {end.problem}" for end in (source_end, target_end) if end and end.problem]
    if target is None:
        missing.append(f"no agent behind {address}: what happened there is not known")
    result = _with_local(result, source_end)
    local = result.local or (own or "", 0)
    seen = evaluate(
        ProbeKey(protocol, own or local[0], address, port, local[1], translated), source_end, target_end
    )
    return Observation(
        protocol=protocol,
        source=source.machine,
        target=target.machine if target is not None else None,
        source_address=own,
        address=address,
        port=port,
        probe=result,
        left_source=False if route is None else seen.left_source,
        arrived_target=seen.arrived_target,
        syn_recv=seen.syn_recv,
        answer_left=seen.answer_left,
        answer_arrived=seen.answer_arrived,
        source_capture=source_end,
        target_capture=target_end,
        missing=tuple(missing),
    )


def _control_at_target(target: Agent, capture: Capture, peer: str) -> None:
    """Asks the next hop on the target's way back."""
    try:
        back = target.route(peer)
    except RequestError as error:
        capture.no_control(error.text)
        return
    capture.control(address=back.gateway or peer, interface=back.interface)


def _probe(
    source: Agent,
    protocol: Protocol,
    address: str,
    port: int | None,
    source_address: str | None,
    timeout: float,
    nonce: str | None,
    there: Capture | None,
) -> ProbeResult:
    if protocol is Protocol.ICMP:
        return probe_icmp(source, address, source_address=source_address, timeout=timeout)
    if port is None:
        raise ValueError(f"{protocol} needs a port")
    if protocol is Protocol.TCP:
        return probe_tcp(source, address, port, source_address=source_address, timeout=timeout)
    datagram = UdpTarget(address, port, nonce, source=source_address)
    if there is None:
        return summarize([send_and_prove(source, datagram, timeout=timeout, proof=None, witness=None)])
    attempt = send_and_prove(
        source,
        datagram,
        timeout=timeout,
        proof=Proof.CAPTURE,
        witness=lambda wait: there.saw_nonce(wait=wait),
        answering=there.saw_answer,
    )
    return summarize([attempt])


def _with_local(result: ProbeResult, source: EndCapture | None) -> ProbeResult:
    """A datagram proven before its sender reported: the source's capture knows the port it used."""
    if result.local is not None or source is None:
        return result
    for record in source.records:
        if record.direction is Direction.OUT and record.nonce and record.sport is not None:
            last = replace(result.tries[-1], local=(record.src, record.sport))
            return replace(result, tries=(*result.tries[:-1], last))
    return result


def _try(missing: list[str], machine: str, action: Callable[[], Result | None], fatal: bool) -> Result | None:
    """``action``'s result; a refusal is noted. A dead agent is noted too, unless it is ``fatal``."""
    try:
        return action()
    except RequestError as error:
        missing.append(f"{machine}: {error.text}")
    except AgentError as error:
        if fatal:
            raise
        missing.append(error.message)
    return None
