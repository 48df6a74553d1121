"""Probes watched from both ends, on real packets through real rules."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from harness.agent.contract import TcpTarget
from harness.errors import AgentError
from harness.model import Outcome, Protocol
from harness.probe.listener import Lease
from harness.probe.observe import Observation, observe
from harness.probe.result import Proof
from harness.probe.seen import Answer
from harness.transport.process import ProcessConnection
from harness.transport.session import Session
from tests.harness.probe.conftest import Machine, Pair

pytestmark = pytest.mark.lab

TCP, UDP, ICMP = Protocol.TCP, Protocol.UDP, Protocol.ICMP
PORT = 1433
SHORT = 0.3


@dataclass(frozen=True, slots=True)
class Case:
    """A rule at one end, and what a probe must see. ``rule`` is (side, hook, nft rule)."""

    name: str
    protocol: Protocol
    outcome: Outcome
    left: bool | None
    arrived: bool | None
    answer_left: Answer | None
    answer_arrived: Answer | None
    syn_recv: bool | None = None
    rule: tuple[str, str, str] | None = None
    listening: bool = True
    proof: Proof | None = None


ECHO = "meta l4proto { icmp, icmpv6 } @th,0,8 { 8, 128 } drop"
NONE, ACCEPT, RESET, ERROR = Answer.NONE, Answer.ACCEPT, Answer.RESET, Answer.ICMP_ERROR
CASES = [
    Case("open", TCP, Outcome.CONNECTED, True, True, ACCEPT, ACCEPT, True),
    Case("closed", TCP, Outcome.REFUSED, True, True, RESET, RESET, False, listening=False),
    Case(
        "dropped-in", TCP, Outcome.TIMEOUT, True, True, NONE, NONE, False,
        ("b", "input", f"tcp dport {PORT} drop"),
    ),
    Case(
        "rejected-by-reset", TCP, Outcome.REFUSED, True, True, RESET, RESET, False,
        ("b", "input", f"tcp dport {PORT} reject with tcp reset"),
    ),
    Case(
        "rejected-by-icmp", TCP, Outcome.REFUSED, True, True, ERROR, ERROR, False,
        ("b", "input", f"tcp dport {PORT} reject"),
    ),
    Case(
        "prohibited", TCP, Outcome.PROHIBITED, True, True, ERROR, ERROR, False,
        ("b", "input", f"tcp dport {PORT} reject with icmpx admin-prohibited"),
    ),
    Case(
        "answers-dropped", TCP, Outcome.TIMEOUT, True, True, NONE, NONE, True,
        ("b", "output", f"tcp sport {PORT} drop"),
    ),
    Case(
        "answers-dropped-at-source", TCP, Outcome.TIMEOUT, True, True, ACCEPT, ACCEPT, True,
        ("a", "input", f"tcp sport {PORT} drop"),
    ),
    Case(
        "dropped-out", TCP, Outcome.TIMEOUT, False, False, NONE, NONE, None,
        ("a", "output", f"tcp dport {PORT} drop"),
    ),
    Case(
        "rejected-out", TCP, Outcome.PROHIBITED, False, False, NONE, NONE, None,
        ("a", "output", f"tcp dport {PORT} reject"),
    ),
    Case("udp-answered", UDP, Outcome.DELIVERED, True, True, ACCEPT, ACCEPT, proof=Proof.ANSWER),
    Case("udp-closed", UDP, Outcome.REFUSED, True, True, ERROR, ERROR, listening=False),
    Case(
        "udp-arrived-at-the-interface", UDP, Outcome.DELIVERED, True, True, NONE, NONE, None,
        ("b", "input", f"udp dport {PORT} drop"), proof=Proof.CAPTURE,
    ),
    Case(
        "udp-prohibited", UDP, Outcome.PROHIBITED, True, True, ERROR, ERROR, None,
        ("b", "input", f"udp dport {PORT} reject with icmpx admin-prohibited"),
    ),
    Case(
        "udp-dropped-out", UDP, Outcome.PROHIBITED, False, False, NONE, NONE, None,
        ("a", "output", f"udp dport {PORT} drop"),
    ),
    Case("echo", ICMP, Outcome.CONNECTED, True, True, ACCEPT, ACCEPT),
    Case("echo-dropped", ICMP, Outcome.TIMEOUT, True, True, NONE, NONE, None, ("b", "input", ECHO)),
    Case("echo-dropped-out", ICMP, Outcome.PROHIBITED, False, False, NONE, NONE, None, ("a", "output", ECHO)),
]  # fmt: skip


def see(pair: Pair, case: Case, family: int) -> Observation:
    return observe(
        pair.a.agent,
        pair.b.agent,
        protocol=case.protocol,
        address=pair.b.address(family),
        port=None if case.protocol is ICMP else PORT,
        timeout=SHORT,
    )


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(pair: Pair, case: Case, family: int) -> None:
    if case.rule is not None:
        side, hook, rule = case.rule
        machine: Machine = getattr(pair, side)
        machine.nft(hook, rule)
    if case.listening and case.protocol is not ICMP:
        with Lease(pair.b.agent, case.protocol, PORT, allow_disruptive=True):
            seen = see(pair, case, family)
    else:
        seen = see(pair, case, family)
    assert seen.missing == ()
    assert seen.probe.outcome is case.outcome, seen.probe
    assert (seen.left_source, seen.arrived_target) == (case.left, case.arrived)
    assert (seen.answer_left, seen.answer_arrived) == (case.answer_left, case.answer_arrived)
    assert seen.syn_recv is case.syn_recv
    assert seen.probe.proof is case.proof
    if case.left:
        assert seen.probe.local is not None
        assert seen.probe.local[1] > 0
    for end in (seen.source_capture, seen.target_capture):
        assert end is not None
        assert len(end.lines) == len(end.records)


def test_lost_on_the_way(pair: Pair) -> None:
    # 10.77.0.9 is nobody's; a permanent neighbour entry makes the packets leave for it all the same.
    nobody = ("10.77.0.9", "lladdr", "02:00:00:00:00:09", "dev", "eth0")
    pair.a.ip("neigh", "replace", *nobody, "nud", "permanent")
    try:
        seen = observe(
            pair.a.agent, pair.b.agent, protocol=UDP, address="10.77.0.9", port=PORT, timeout=SHORT
        )
    finally:
        pair.a.ip("neigh", "del", "10.77.0.9", "dev", "eth0")
    assert seen.probe.outcome is Outcome.TIMEOUT
    assert seen.left_source is True
    assert seen.arrived_target is False
    assert seen.answer_left is Answer.NONE


def test_no_route(pair: Pair) -> None:
    seen = observe(pair.a.agent, pair.b.agent, protocol=TCP, address="192.0.2.1", port=PORT)
    assert seen.probe.outcome is Outcome.NO_ROUTE
    assert seen.left_source is False
    assert seen.arrived_target is None
    assert any("no route" in reason for reason in seen.missing)


def test_nobody_answers_the_neighbour_discovery(pair: Pair) -> None:
    seen = observe(pair.a.agent, pair.b.agent, protocol=TCP, address="10.77.0.9", port=PORT, timeout=5)
    assert seen.probe.outcome is Outcome.NO_ROUTE
    assert seen.left_source is False
    assert seen.answer_arrived is None
    assert any("positive control failed" in reason for reason in seen.missing)


def test_without_a_target_agent(pair: Pair) -> None:
    seen = observe(pair.a.agent, None, protocol=UDP, address=pair.b.address4, port=PORT, timeout=SHORT)
    assert seen.probe.outcome is Outcome.REFUSED
    assert seen.left_source is True
    assert seen.arrived_target is None
    assert seen.answer_left is None
    assert seen.answer_arrived is ERROR
    assert seen.missing


def test_unconfirmed_without_a_receiver(pair: Pair) -> None:
    pair.b.nft("input", f"udp dport {PORT} drop")
    seen = observe(pair.a.agent, None, protocol=UDP, address=pair.b.address4, port=PORT, timeout=SHORT)
    assert seen.probe.outcome is Outcome.UNCONFIRMED


def test_to_itself(pair: Pair) -> None:
    with Lease(pair.b.agent, TCP, PORT, allow_disruptive=True):
        seen = observe(pair.b.agent, pair.b.agent, protocol=TCP, address=pair.b.address4, port=PORT)
    assert seen.probe.outcome is Outcome.CONNECTED
    assert seen.left_source is True
    assert seen.arrived_target is True


def test_translated_source(pair: Pair) -> None:
    """Behind SNAT the target's packets are told by the sequence number."""
    with Lease(pair.b.agent, TCP, PORT, allow_disruptive=True):
        seen = observe(
            pair.a.agent, pair.b.agent, protocol=TCP, address=pair.b.address4, port=PORT, translated=True
        )
    assert seen.arrived_target is True
    assert seen.answer_left is ACCEPT


@pytest.mark.parametrize("when", ["before", "during"])
def test_target_agent_that_dies_only_makes_its_end_unknown(pair: Pair, when: str) -> None:
    prefix = ("ip", "netns", "exec", pair.b.namespace)
    pair.b.nft("input", f"tcp dport {PORT} drop")
    with Session("vm-b", ProcessConnection("vm-b", prefix)) as doomed, ThreadPoolExecutor(1) as pool:
        pid = doomed.agent.hello().pid
        if when == "before":
            os.kill(pid, signal.SIGKILL)
        watching = pool.submit(
            observe,
            pair.a.agent,
            doomed.agent,
            protocol=TCP,
            address=pair.b.address4,
            port=PORT,
            timeout=1.0,
        )
        if when == "during":
            while not doomed._last_id > 3 and not watching.done():  # captures are up, the probe is out
                time.sleep(0.005)
            os.kill(pid, signal.SIGKILL)
        seen = watching.result(60)
    assert seen.probe.outcome is Outcome.TIMEOUT
    assert seen.left_source is True
    assert seen.arrived_target is None
    assert seen.answer_left is None
    assert any("vm-b: the agent" in reason for reason in seen.missing), seen.missing


def test_source_agent_that_is_dead_is_an_error(pair: Pair) -> None:
    session = Session("vm-a", ProcessConnection("vm-a", ("ip", "netns", "exec", pair.a.namespace)))
    session.close()
    with pytest.raises(AgentError, match="vm-a: the session is closed"):
        observe(session.agent, pair.b.agent, protocol=TCP, address=pair.b.address4, port=PORT)


def test_busy_flow_is_not_mistaken_for_the_probe(pair: Pair) -> None:
    """Other connections between the same machines, on the same port, at the same time."""
    with Lease(pair.b.agent, TCP, PORT, allow_disruptive=True):
        others = pair.a.agent
        targets = [TcpTarget(pair.b.address4, PORT, nonce=f"other-{n}") for n in range(20)]
        with ThreadPoolExecutor(1) as pool:
            busy = pool.submit(others.tcp, targets)
            seen = observe(others, pair.b.agent, protocol=TCP, address=pair.b.address4, port=PORT)
            busy.result(30)
    assert seen.probe.outcome is Outcome.CONNECTED
    assert (seen.left_source, seen.arrived_target, seen.syn_recv) == (True, True, True)
