"""What every agent must do, whatever it runs on: a set of checks over one session.

Each check takes a :class:`Rig` and asserts one thing. ``test_linux_contract.py`` runs them
against the Linux agent; an agent for another platform is held to the same list.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from harness.agent.client import Agent
from harness.agent.contract import (
    PROTOCOL,
    CaptureFilter,
    ErrorKind,
    RequestError,
    TcpTarget,
    UdpReply,
    UdpTarget,
)
from harness.agent.contract_sweep import SweepGroup
from harness.model import Outcome, Protocol
from harness.probe import raw
from harness.transport.session import Session


@dataclass(frozen=True, slots=True)
class Rig:
    """A session whose agent runs on this machine, with a loopback interface that both share."""

    session: Session
    raw: Callable[[bytes], None]
    """Sends bytes to the agent as they are."""

    @property
    def agent(self) -> Agent:
        return self.session.agent


Check = Callable[[Rig], None]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def refused(kind: ErrorKind) -> Any:
    return pytest.raises(RequestError, check=lambda error: error.kind is kind)


@check
def hello_tells_who_the_agent_is(rig: Rig) -> None:
    hello = rig.agent.hello(["definitely-no-such-tool"])
    assert hello.protocol == PROTOCOL
    assert hello.tools == {"definitely-no-such-tool": None}
    assert abs(hello.clock - time.time()) < 60
    assert hello.nofile > 0


@check
def unknown_operation_is_an_error_answer(rig: Rig) -> None:
    with refused(ErrorKind.UNKNOWN_OP):
        rig.session.request("no-such-op")


@check
def bad_parameters_are_error_answers(rig: Rig) -> None:
    requests: list[tuple[str, dict[str, Any]]] = [
        ("tcp", {}),
        ("tcp", {"targets": [{"address": "127.0.0.1", "port": 0}]}),
        ("tcp", {"targets": [{"address": "not an address", "port": 1}]}),
        ("tcp", {"targets": [{"address": "127.0.0.1", "port": 1, "source": "::1"}]}),
        ("tcp", {"targets": [], "timeout_ms": -1}),
        ("tcp", {"targets": [], "colour": "red"}),
        ("udp", {"targets": [{"address": "127.0.0.1", "port": 1}]}),
        ("icmp", {"address": "127.0.0.1", "count": True}),
        ("listen", {"protocol": "icmp"}),
        ("listener_report", {"handle": "1"}),
        ("run", {"argv": []}),
        ("run", {"argv": "ls"}),
        ("read", {"path": 1}),
        ("hello", {"tools": [1]}),
        ("sweep", {}),
        ("sweep", {"groups": [{"addresses": ["127.0.0.1"], "ports": [0]}]}),
        ("sweep", {"groups": [{"addresses": ["nobody"], "ports": [1]}]}),
        ("sweep", {"groups": [{"addresses": ["127.0.0.1"], "ports": [1], "colour": "red"}]}),
        ("sweep", {"groups": [], "rate": -1}),
        ("path_mtu", {"address": "127.0.0.1", "methods": ["tcp"]}),
        ("raw", {"packets": ["AAAA"], "filter": {"protocol": "tcp"}}),
        ("raw", {"packets": ["?"], "filter": {"protocol": "tcp"}}),
        ("raw", {"packets": []}),
    ]
    for op, params in requests:
        with refused(ErrorKind.BAD_REQUEST):
            rig.session.request(op, **params)


@check
def garbage_lines_do_not_kill_it(rig: Rig) -> None:
    # Its answer has no id, since none could be read: that ends a session, but not the agent.
    before = rig.agent.hello().pid
    future: Future[dict[str, Any]] = Future()
    with rig.session._lock:
        rig.session._pending[0] = ("garbage", future)
    for line in (b'{"id": 0}\n', b'{"id": 0, "op": 7}\n', b"\n", b'{"id": 0, "op": "hello", "id": 0}\n'):
        rig.raw(line)
    with pytest.raises(RequestError):
        future.result(10)
    assert rig.agent.hello().pid == before


@check
def many_requests_at_once(rig: Rig) -> None:
    slow = rig.session.submit("run", argv=["sleep", "0.2"])
    quick = [rig.session.submit("hello") for _ in range(50)]
    assert all(future.result(10)["protocol"] == PROTOCOL for future in quick)
    assert not slow.done()
    assert slow.result(10)["exit_code"] == 0


@check
def tcp_connected_and_refused_in_order(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        closed = other.getsockname()[1]
        other.close()
        port = server.getsockname()[1]
        targets = [TcpTarget("127.0.0.1", closed), TcpTarget("127.0.0.1", port)] * 3
        results = rig.agent.tcp(targets, timeout=5)
    assert [r.outcome for r in results] == [Outcome.REFUSED, Outcome.CONNECTED] * 3
    assert all(r.rtt_ms is not None and r.rtt_ms >= 0 for r in results)
    assert all(r.local is not None and r.local[0] == "127.0.0.1" for r in results)


@check
def tcp_over_ipv6(rig: Rig) -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine's loopback interface")
    with server:
        results = rig.agent.tcp([TcpTarget("::1", server.getsockname()[1])])
    assert results[0].outcome is Outcome.CONNECTED


@check
def tcp_without_targets(rig: Rig) -> None:
    assert rig.agent.tcp([]) == ()


@check
def tcp_in_small_batches(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        targets = [TcpTarget("127.0.0.1", server.getsockname()[1])] * 100
        results = rig.agent.tcp(targets, parallel=7, abort=True)
    assert {r.outcome for r in results} == {Outcome.CONNECTED}


@check
def tcp_source_that_is_not_ours(rig: Rig) -> None:
    result = rig.agent.tcp([TcpTarget("127.0.0.1", 9, source="192.0.2.77")])[0]
    assert result.outcome is Outcome.BIND_ERROR
    assert result.errno == "EADDRNOTAVAIL"


@check
def tcp_nonce_is_seen_and_echoed_by_a_listener(rig: Rig) -> None:
    opened = rig.agent.listen(Protocol.TCP, address="127.0.0.1")
    result = rig.agent.tcp([TcpTarget("127.0.0.1", opened.port, nonce="azreach-1234")])[0]
    assert result.outcome is Outcome.CONNECTED
    assert result.echoed is True
    report = rig.agent.close(opened.handle)
    assert [(a.peer, a.peer_port, a.nonce) for a in report.records] == [
        (*(result.local or ()), "azreach-1234")
    ]


@check
def tcp_hold_sees_a_reset(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        future = rig.session.submit(
            "tcp", targets=[{"address": "127.0.0.1", "port": server.getsockname()[1]}], hold_ms=5000
        )
        connection, _ = server.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        assert future.result(10)["results"][0]["outcome"] == Outcome.RESET


@check
def sweep_of_many_in_order(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        port = server.getsockname()[1]
        closed = [free for free in range(1, 1001) if free % 7 == 3]
        groups = [
            SweepGroup(("127.0.0.1", "127.0.0.2"), (*closed, port)),
            SweepGroup(("127.0.0.1",), (port,)),
        ]
        found = rig.agent.sweep(groups, timeout=5, processes=3, parallel=50)
    wanted = [Outcome.REFUSED] * len(closed) + [Outcome.CONNECTED]
    # another service of this machine may listen on a low port, and nothing listens on 127.0.0.2:port
    assert len(found.outcomes) == 2 * len(wanted) + 1
    assert found.outcomes[len(closed)] is Outcome.CONNECTED
    assert found.outcomes[2 * len(wanted) - 1] is Outcome.REFUSED
    assert found.outcomes[-1] is Outcome.CONNECTED
    assert found.outcomes.count(Outcome.REFUSED) > len(closed)
    assert found.rtt_ms[-1] is not None
    assert not found.tries


@check
def sweep_without_targets(rig: Rig) -> None:
    assert rig.agent.sweep([]).outcomes == ()
    assert rig.agent.sweep([SweepGroup((), (1,))]).outcomes == ()


@check
def sweep_does_not_stop_the_rest(rig: Rig) -> None:
    with full_queue() as port:
        pending = rig.agent.start_sweep([SweepGroup(("127.0.0.1",), (port,) * 3)], timeout=0.15, retries=1)
        assert rig.agent.hello().protocol == PROTOCOL
        assert not pending.done
        found = pending.result()
    assert found.outcomes == (Outcome.TIMEOUT,) * 3
    assert found.tries == {0: 2, 1: 2, 2: 2}


@contextmanager
def full_queue() -> Iterator[int]:
    """A loopback port that answers no SYN: its accept queue is full."""
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()[1]


@check
def path_mtu_to_loopback(rig: Rig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = rig.agent.path_mtu("127.0.0.1", port=port, methods=["udp"], largest=9000)
    assert (found.mtu, found.method, found.interface) == (9000, "udp", "lo")


@check
def raw_packets_and_their_answers_or_no_permission(rig: Rig) -> None:
    packet = raw.tcp_segment("127.0.0.1", "127.0.0.1", 54321, 1, seq=77)
    wanted = CaptureFilter(Protocol.TCP, ports=(54321,))
    if not rig.agent.facts().can_capture:
        with refused(ErrorKind.PERMISSION):
            rig.agent.raw([packet], wanted)
        return
    found = rig.agent.raw([packet], wanted, window=5, count=2)
    assert found.sent[0].errno is None
    replies = [raw.dissect(answer.packet) for answer in found.answers]
    assert [reply.flags for reply in replies if reply is not None] == ["S", "R."]
    assert replies[1] is not None
    assert replies[1].ack == 78


@check
def udp_answered_refused_and_silent(rig: Rig) -> None:
    opened = rig.agent.listen(Protocol.UDP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        free = rig.agent.listen(Protocol.UDP, address="127.0.0.1")
        rig.agent.close(free.handle)
        ports = (opened.port, free.port, silent.getsockname()[1])
        results = rig.agent.udp(
            [UdpTarget("127.0.0.1", port, nonce=f"n{port}") for port in ports], timeout=0.3
        )
    assert [r.outcome for r in results] == [UdpReply.ANSWERED, UdpReply.REFUSED, UdpReply.TIMEOUT]
    assert results[0].echoed
    report = rig.agent.listener_report(opened.handle, nonce=f"n{opened.port}", wait=5)
    assert [(a.peer, a.nonce) for a in report.records] == [("127.0.0.1", f"n{opened.port}")]
    rig.agent.close(opened.handle)


@check
def icmp_echo_to_loopback(rig: Rig) -> None:
    echo = rig.agent.icmp("127.0.0.1", count=3)
    assert [a.outcome for a in echo.attempts] == [Outcome.CONNECTED] * 3
    assert [a.sequence for a in echo.attempts] == [1, 2, 3]
    assert echo.method


@check
def listener_port_in_use(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, refused(ErrorKind.IN_USE):
        rig.agent.listen(Protocol.TCP, address="127.0.0.1", port=server.getsockname()[1])


@check
def listener_on_both_families(rig: Rig) -> None:
    opened = rig.agent.listen(Protocol.TCP)
    results = rig.agent.tcp([TcpTarget("127.0.0.1", opened.port), TcpTarget("::1", opened.port)])
    rig.agent.close(opened.handle)
    assert results[0].outcome is Outcome.CONNECTED
    assert results[1].outcome in (Outcome.CONNECTED, Outcome.NO_ROUTE, Outcome.BIND_ERROR)


@check
def listener_closes_when_its_lease_is_over(rig: Rig) -> None:
    opened = rig.agent.listen(Protocol.TCP, address="127.0.0.1", lease=0.05)
    # Waits for somebody who never comes: the answer is given when the lease ends.
    assert rig.agent.listener_report(opened.handle, wait=20).records == ()
    with refused(ErrorKind.NOT_FOUND):
        rig.agent.close(opened.handle)
    assert rig.agent.tcp([TcpTarget("127.0.0.1", opened.port)])[0].outcome is Outcome.REFUSED


@check
def unknown_handles(rig: Rig) -> None:
    for op in ("listener_report", "close", "capture_read", "capture_stop", "capture_control"):
        with refused(ErrorKind.NOT_FOUND):
            rig.session.request(op, handle=999999)


@check
def capture_sees_a_handshake_or_says_that_it_may_not(rig: Rig) -> None:
    opened = rig.agent.listen(Protocol.TCP, address="127.0.0.1")
    wanted = CaptureFilter(Protocol.TCP, local=("127.0.0.1",), remote=("127.0.0.1",), ports=(opened.port,))
    if not rig.agent.facts().can_capture:
        with refused(ErrorKind.PERMISSION):
            rig.agent.capture(wanted, loopback=True)
        rig.agent.close(opened.handle)
        return
    capture = rig.agent.capture(wanted, loopback=True)
    result = rig.agent.tcp([TcpTarget("127.0.0.1", opened.port)])[0]
    report = rig.agent.capture_read(capture.handle)
    assert rig.agent.capture_stop(capture.handle).records[: len(report.records)] == report.records
    rig.agent.close(opened.handle)
    assert result.local is not None
    inbound = [r for r in report.records if r.direction == "in"]
    assert [r.flags for r in inbound][:2] == ["S", "S."]
    assert (inbound[0].sport, inbound[0].dport) == (result.local[1], opened.port)
    assert inbound[0].syn_recv is True
    assert inbound[1].ack == (inbound[0].seq or 0) + 1


@check
def run_gives_status_output_and_locale(rig: Rig) -> None:
    result = rig.agent.run("sh", "-c", "cat; echo $LC_ALL; echo oops >&2; exit 3", stdin="in é\n")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "in é\nC\n", "oops\n")
    assert not result.truncated
    assert not result.timed_out


@check
def run_not_found(rig: Rig) -> None:
    with refused(ErrorKind.NOT_FOUND):
        rig.agent.run("definitely-no-such-command")


@check
def run_timed_out_with_its_children(rig: Rig) -> None:
    result = rig.agent.run("sh", "-c", "echo begun; sleep 60 & sleep 60", timeout=0.2)
    assert result.timed_out
    assert result.stdout == "begun\n"
    assert result.exit_code != 0


@check
def run_truncates(rig: Rig) -> None:
    result = rig.agent.run("sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x", max_output=1000)
    assert result.truncated
    assert result.stdout == "x" * 1000
    assert result.exit_code == 0


@check
def run_with_a_child_left_behind(rig: Rig) -> None:
    result = rig.agent.run("sh", "-c", "sleep 3 & echo done", timeout=60)
    assert result.stdout == "done\n"
    assert not result.timed_out


@check
def run_invalid_utf8_is_replaced(rig: Rig) -> None:
    assert rig.agent.run("printf", r"a\377b").stdout == "a�b"


@check
def read_a_file(rig: Rig) -> None:
    whole = rig.agent.read("/etc/passwd")
    assert "root" in whole.content
    assert not whole.truncated
    part = rig.agent.read("/etc/passwd", max_bytes=4)
    assert part.content == whole.content[:4]
    assert part.truncated
    with refused(ErrorKind.NOT_FOUND):
        rig.agent.read("/no/such/file")


@check
def route_to_loopback(rig: Rig) -> None:
    route = rig.agent.route("127.0.0.1")
    assert route.local
    assert route.source == "127.0.0.1"


@check
def big_answers_come_whole(rig: Rig) -> None:
    result = rig.agent.run("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' y", max_output=4000000)
    assert len(result.stdout) == 3000000
