"""Probes from one end, listeners as leases, and the telnet test, on real packets."""

from __future__ import annotations

import pytest

from harness.agent.contract import ErrorKind, RequestError, TcpTarget
from harness.errors import DisruptiveError
from harness.model import Outcome, Protocol
from harness.probe.icmp import probe_icmp
from harness.probe.listener import Lease
from harness.probe.local import connect_locally
from harness.probe.result import Proof
from harness.probe.tcp import probe_tcp
from harness.probe.udp import probe_udp
from tests.harness.probe.conftest import Pair

pytestmark = pytest.mark.lab

PORT = 8443


def test_lease_is_refused_where_disruption_is(pair: Pair) -> None:
    with pytest.raises(DisruptiveError, match=r"vm-b: .*tcp port 8443.*not permitted"):
        Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=False)


def test_lease_closes_whatever_happens(pair: Pair) -> None:
    lease = Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=True)

    def fail() -> None:
        with lease:
            assert probe_tcp(pair.a.agent, pair.b.address4, lease.port).outcome is Outcome.CONNECTED
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert probe_tcp(pair.a.agent, pair.b.address4, PORT).outcome is Outcome.REFUSED
    assert lease.close() is None


def test_lease_on_a_port_in_use(pair: Pair) -> None:
    with (
        Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=True),
        pytest.raises(RequestError) as caught,
        Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=True),
    ):
        raise AssertionError("two listeners on one port")
    assert caught.value.kind is ErrorKind.IN_USE


def test_nonce_proves_which_connection_came(pair: Pair) -> None:
    with Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=True) as lease:
        probe_tcp(pair.a.agent, pair.b.address4, PORT, nonce="azreach-1")
        assert lease.saw("azreach-1", wait=5)
        assert not lease.saw("azreach-2")
        assert lease.arrivals()[0].peer == pair.a.address4


def test_count_and_retries(pair: Pair) -> None:
    assert probe_tcp(pair.a.agent, pair.b.address4, PORT, count=3).attempts == 3
    result = probe_tcp(pair.a.agent, pair.b.address4, PORT, retries=2)
    assert (result.outcome, result.attempts, result.successes) == (Outcome.REFUSED, 3, 0)


def test_intermittent(pair: Pair) -> None:
    # The first new connection is dropped, the second is let through.
    pair.b.nft("input", f"tcp dport {PORT} tcp flags syn / syn,ack numgen inc mod 4 < 2 drop")
    with Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=True):
        result = probe_tcp(pair.a.agent, pair.b.address4, PORT, timeout=0.2, count=4)
    assert (result.outcome, result.attempts, result.successes) == (Outcome.INTERMITTENT, 4, 2)
    assert "2 of 4" in result.detail


def test_udp_proven_by_a_listener(pair: Pair) -> None:
    pair.b.nft("output", f"udp sport {PORT} drop")
    result = probe_udp(
        pair.a.agent, pair.b.address4, PORT, target=pair.b.agent, timeout=0.5, allow_disruptive=True
    )
    assert (result.outcome, result.proof) == (Outcome.DELIVERED, Proof.LISTENER)


def test_udp_kept_from_the_listener(pair: Pair) -> None:
    pair.b.nft("input", f"udp dport {PORT} drop")
    result = probe_udp(
        pair.a.agent, pair.b.address4, PORT, target=pair.b.agent, timeout=0.3, allow_disruptive=True
    )
    assert (result.outcome, result.proof) == (Outcome.TIMEOUT, None)


def test_udp_proven_by_the_service(pair: Pair) -> None:
    with Lease(pair.b.agent, Protocol.UDP, PORT, allow_disruptive=True):
        result = probe_udp(pair.a.agent, pair.b.address6, PORT, payload=b"hello ")
    assert (result.outcome, result.proof) == (Outcome.DELIVERED, Proof.ANSWER)


def test_udp_to_a_silent_service_is_unconfirmed(pair: Pair) -> None:
    pair.b.nft("output", f"udp sport {PORT} drop")
    with Lease(pair.b.agent, Protocol.UDP, PORT, allow_disruptive=True):
        result = probe_udp(pair.a.agent, pair.b.address4, PORT, timeout=0.3)
    assert result.outcome is Outcome.UNCONFIRMED


@pytest.mark.parametrize("method", ["raw", "socket", "tool"])
@pytest.mark.parametrize("family", [4, 6])
def test_every_way_to_ping(pair: Pair, method: str, family: int) -> None:
    if method == "socket" and pair.a.agent.run("sysctl", "net.ipv4.ping_group_range").stdout.endswith(
        "1\t0\n"
    ):
        assert pair.a.agent.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 0").exit_code == 0
    echo = pair.a.agent.icmp(pair.b.address(family), count=2, methods=[method])
    assert echo.method == method
    assert [attempt.outcome for attempt in echo.attempts] == [Outcome.CONNECTED] * 2
    assert all(attempt.ttl == 64 for attempt in echo.attempts)


@pytest.mark.parametrize("method", ["raw", "socket"])
@pytest.mark.parametrize("family", [4, 6])
def test_ping_names_who_prohibits(pair: Pair, method: str, family: int) -> None:
    pair.a.agent.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 0")
    pair.b.nft("input", "meta l4proto { icmp, icmpv6 } @th,0,8 { 8, 128 } reject with icmpx admin-prohibited")
    attempt = pair.a.agent.icmp(pair.b.address(family), methods=[method]).attempts[0]
    assert attempt.outcome is Outcome.PROHIBITED
    assert attempt.icmp is not None
    assert attempt.icmp.sender == pair.b.address(family)


def test_icmp_summary(pair: Pair) -> None:
    result = probe_icmp(pair.a.agent, pair.b.address4, count=3)
    assert (result.outcome, result.attempts, result.successes) == (Outcome.CONNECTED, 3, 3)
    assert result.rtt_ms is not None


def test_telnet_test_tells_loopback_only(pair: Pair) -> None:
    with Lease(pair.b.agent, Protocol.TCP, PORT, address="127.0.0.1", allow_disruptive=True):
        found = connect_locally(pair.b.agent, PORT, [pair.b.address4, pair.b.address6])
    assert [(c.address, c.outcome) for c in found] == [
        ("127.0.0.1", Outcome.CONNECTED),
        ("::1", Outcome.REFUSED),
        (pair.b.address4, Outcome.REFUSED),
        (pair.b.address6, Outcome.REFUSED),
    ]
    assert [c.loopback for c in found] == [True, True, False, False]


def test_thousand_targets_at_once(pair: Pair) -> None:
    pair.b.nft("input", "tcp dport 3001-4000 drop")
    with Lease(pair.b.agent, Protocol.TCP, PORT, allow_disruptive=True):
        targets = [TcpTarget(pair.b.address4, port) for port in (*range(2001, 4001), *[PORT] * 1000)]
        results = pair.a.agent.tcp(targets, timeout=0.8, abort=True)
    assert [r.outcome for r in results] == (
        [Outcome.REFUSED] * 1000 + [Outcome.TIMEOUT] * 1000 + [Outcome.CONNECTED] * 1000
    )
