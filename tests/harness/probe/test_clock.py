"""A machine whose clock is a day ahead: durations are true, stamps are its own, and all of one clock."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator

import pytest

from harness.agent import bootstrap
from harness.agent.client import Agent
from harness.agent.contract_sweep import SweepGroup
from harness.model import Outcome, Protocol
from harness.probe.icmp import probe_icmp
from harness.probe.listener import Lease
from harness.probe.observe import observe
from harness.probe.result import ProbeResult, Proof
from harness.probe.tcp import probe_tcp
from harness.probe.traceroute import traceroute
from harness.probe.udp import probe_udp
from harness.transport.process import ProcessConnection
from harness.transport.session import Session
from tests.harness.probe.conftest import Pair

pytestmark = pytest.mark.lab

DAY = 86400
PORT = 8443


@pytest.fixture
def ahead(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An agent in vm-a's namespace for which it is tomorrow."""
    shift = f"import time\n_now = time.time\ntime.time = lambda: _now() + {DAY}\n"
    program = zlib.compress((shift + bootstrap.source()).encode())
    monkeypatch.setattr(bootstrap, "_compressed", lambda: program)
    with Session("vm-a", ProcessConnection("vm-a", ("ip", "netns", "exec", pair.a.namespace))) as session:
        yield session.agent


def is_of_tomorrow(result: ProbeResult) -> bool:
    return all(abs(attempt.started - time.time() - DAY) < 3600 for attempt in result.tries)


def test_probes(pair: Pair, ahead: Agent) -> None:
    with Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=True):
        results = [
            probe_tcp(ahead, pair.b.address4, PORT),
            probe_tcp(ahead, pair.b.address4, PORT + 1),
            probe_icmp(ahead, pair.b.address4),
        ]
        sweep = ahead.sweep([SweepGroup((pair.b.address4,), (PORT,))])
        trace = traceroute(ahead, pair.b.address4, port=PORT)
    for result in results:
        assert is_of_tomorrow(result)
        assert result.rtt_ms is not None
        assert 0 <= result.rtt_ms < 10000
    assert sweep.ms < 10000
    assert trace.outcome is Outcome.CONNECTED
    assert trace.hops[0].rtt_ms is not None
    assert 0 <= trace.hops[0].rtt_ms < 10000


def test_stamps_of_one_probe_are_of_one_clock(pair: Pair, ahead: Agent) -> None:
    """Also where the receiver's word ends the probe before the sender's answer is there."""
    pair.b.nft("output", f"udp sport {PORT} drop")
    result = probe_udp(ahead, pair.b.address4, PORT, target=pair.b.agent, count=2, allow_disruptive=True)
    assert (result.outcome, result.proof) == (Outcome.DELIVERED, Proof.LISTENER)
    assert is_of_tomorrow(result)


def test_both_ends_are_told_apart_by_packets_not_by_time(pair: Pair, ahead: Agent) -> None:
    with Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=True):
        seen = observe(ahead, pair.b.agent, protocol=Protocol.TCP, address=pair.b.address4, port=PORT)
    assert seen.probe.outcome is Outcome.CONNECTED
    assert (seen.left_source, seen.arrived_target, seen.missing) == (True, True, ())
