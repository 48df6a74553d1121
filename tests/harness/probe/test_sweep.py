"""Many connects at once, each kind of verdict, on real packets through real rules."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.agent.contract import RequestError
from harness.agent.contract_sweep import SweepGroup
from harness.errors import AgentError
from harness.model import Outcome, Protocol
from harness.probe.listener import Lease
from harness.transport.process import ProcessConnection
from harness.transport.session import Session
from tests.harness.probe.conftest import Pair

pytestmark = pytest.mark.lab

OPEN, CLOSED, SILENT, FORBIDDEN, NOT_SENT = 8443, 8444, 8445, 8446, 8447
SHORT = 0.3


@pytest.mark.parametrize("family", [4, 6])
def test_every_verdict(pair: Pair, family: int) -> None:
    pair.b.nft("input", f"tcp dport {SILENT} drop")
    pair.b.nft("input", f"tcp dport {FORBIDDEN} reject with icmpx admin-prohibited")
    pair.a.nft("output", f"tcp dport {NOT_SENT} reject")
    ports = (OPEN, CLOSED, SILENT, FORBIDDEN, NOT_SENT)
    address = pair.b.address(family)
    with Lease(pair.b.agent, Protocol.TCP, OPEN, allow_disruptive=True):
        found = pair.a.agent.sweep([SweepGroup((address,), ports)], timeout=SHORT)
    assert found.outcomes == (
        Outcome.CONNECTED,
        Outcome.REFUSED,
        Outcome.TIMEOUT,
        Outcome.PROHIBITED,
        Outcome.PROHIBITED,
    )
    assert found.rtt_ms[0] is not None
    icmp = found.details[3].icmp
    assert icmp is not None
    assert (icmp.sender, icmp.local) == (address, False)
    assert found.details[4].detail == "local"


def test_no_route(pair: Pair) -> None:
    found = pair.a.agent.sweep([SweepGroup(("192.0.2.1", "fd99::1"), (80,))])
    assert found.outcomes == (Outcome.NO_ROUTE,) * 2


def test_silence_is_asked_again_and_counted(pair: Pair) -> None:
    # the first SYN of every two is dropped
    pair.b.nft("input", f"tcp dport {OPEN} tcp flags syn / syn,ack numgen inc mod 2 < 1 drop")
    with Lease(pair.b.agent, Protocol.TCP, OPEN, allow_disruptive=True):
        found = pair.a.agent.sweep(
            [SweepGroup((pair.b.address4,), (OPEN,))], timeout=0.2, retries=3, processes=1
        )
    assert found.outcomes == (Outcome.CONNECTED,)
    assert found.tries == {0: 2}


def test_thousands_over_several_processes(pair: Pair) -> None:
    pair.b.nft("input", "tcp dport 20000-20999 drop")
    ports = tuple(range(20000, 22000))
    found = pair.a.agent.sweep([SweepGroup((pair.b.address4,), ports)], timeout=SHORT, processes=3)
    assert found.processes == 3
    assert found.outcomes == (Outcome.TIMEOUT,) * 1000 + (Outcome.REFUSED,) * 1000


def test_more_targets_than_open_files(pair: Pair) -> None:
    prefix = ("ip", "netns", "exec", pair.a.namespace, "prlimit", "--nofile=100:100")
    with Session("vm-a", ProcessConnection("vm-a", prefix)) as session:
        ports = tuple(range(20000, 20500))
        found = session.agent.sweep([SweepGroup((pair.b.address4,), ports)], timeout=5)
    assert set(found.outcomes) == {Outcome.REFUSED}


def test_a_bounded_rate(pair: Pair) -> None:
    ports = tuple(range(20000, 20100))
    found = pair.a.agent.sweep([SweepGroup((pair.b.address4,), ports)], rate=500, processes=1)
    assert set(found.outcomes) == {Outcome.REFUSED}
    assert found.ms >= 99 / 500 * 1000


def children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def wait_until(condition: Callable[[], bool], limit: float = 20.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["killed", "closed", "shard killed"])
def test_its_processes_end_with_the_agent(pair: Pair, how: str) -> None:
    pair.b.nft("input", f"tcp dport {SILENT} drop")
    prefix = ("ip", "netns", "exec", pair.a.namespace)
    with Session("vm-a", ProcessConnection("vm-a", prefix)) as session:
        pid = session.agent.hello().pid
        pending = session.agent.start_sweep(
            [SweepGroup((pair.b.address4,), (SILENT,) * 1200)], timeout=60, processes=2
        )
        wait_until(lambda: len(children(pid)) == 2)
        shards = children(pid)
        if how == "killed":
            os.kill(pid, signal.SIGKILL)
        elif how == "closed":
            session.close()
        else:
            os.kill(shards[0], signal.SIGKILL)
        error = RequestError if how == "shard killed" else AgentError
        with pytest.raises(error):
            pending.result()
        wait_until(lambda: gone(shards))
        if how == "shard killed":
            assert session.agent.hello().pid == pid
