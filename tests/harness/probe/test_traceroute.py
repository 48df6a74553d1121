"""Hops through a real router, for each protocol and each kind of end."""

from __future__ import annotations

import shutil

import pytest

from harness.agent.contract import ErrorKind, RequestError
from harness.model import Outcome, Protocol
from harness.probe.listener import Lease
from harness.probe.traceroute import Trace, traceroute
from harness.transport.process import ProcessConnection
from harness.transport.session import Session
from tests.harness.probe.conftest import Routed

pytestmark = pytest.mark.lab

PORT = 8443
SHORT = 0.2


def addresses(trace: Trace) -> list[str | None]:
    return [hop.address for hop in trace.hops]


@pytest.mark.parametrize("family", [4, 6])
def test_open_port(routed: Routed, family: int) -> None:
    target = routed.b.address(family)
    with Lease(routed.b.agent, Protocol.TCP, PORT, allow_disruptive=True) as lease:
        trace = traceroute(routed.a.agent, target, port=PORT)
        assert lease.arrivals() == ()  # no connection was ever completed
    assert trace.outcome is Outcome.CONNECTED
    assert trace.source_address == routed.a.address(family)
    assert addresses(trace) == [routed.router.address(family), target]
    assert [hop.outcome for hop in trace.hops] == [None, Outcome.CONNECTED]
    assert all(hop.rtt_ms is not None for hop in trace.hops)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("protocol", "port", "outcome"),
    [
        (Protocol.TCP, PORT, Outcome.REFUSED),
        (Protocol.UDP, PORT, Outcome.REFUSED),
        (Protocol.ICMP, None, Outcome.CONNECTED),
    ],
)
def test_other_ends(
    routed: Routed, family: int, protocol: Protocol, port: int | None, outcome: Outcome
) -> None:
    target = routed.b.address(family)
    trace = traceroute(routed.a.agent, target, protocol=protocol, port=port, timeout=SHORT)
    assert (trace.outcome, addresses(trace)) == (outcome, [routed.router.address(family), target])


def test_prohibited_by_the_router(routed: Routed) -> None:
    routed.router.nft("forward", f"tcp dport {PORT} reject with icmpx admin-prohibited")
    trace = traceroute(routed.a.agent, routed.b.address4, port=PORT, timeout=SHORT)
    assert trace.outcome is Outcome.PROHIBITED
    assert addresses(trace)[-1] == routed.router.address4


def test_silent_router(routed: Routed) -> None:
    routed.router.nft("output", "icmp type time-exceeded drop")
    trace = traceroute(routed.a.agent, routed.b.address4, port=PORT, timeout=SHORT)
    assert (trace.outcome, addresses(trace)) == (Outcome.REFUSED, [None, routed.b.address4])


def test_silent_target(routed: Routed) -> None:
    routed.b.nft("input", f"tcp dport {PORT} drop")
    trace = traceroute(routed.a.agent, routed.b.address4, port=PORT, timeout=0.1)
    assert (trace.outcome, addresses(trace)) == (Outcome.TIMEOUT, [routed.router.address4])


def test_no_route(routed: Routed) -> None:
    with pytest.raises(RequestError, check=lambda error: error.kind is ErrorKind.NO_ROUTE):
        traceroute(routed.router.agent, "192.0.2.1", port=PORT)


def test_not_without_privilege(routed: Routed) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv on this machine")
    prefix = ("ip", "netns", "exec", routed.a.namespace, setpriv, "--reuid=65534", "--regid=65534")
    with (
        Session("vm-a", ProcessConnection("vm-a", (*prefix, "--clear-groups"))) as session,
        pytest.raises(RequestError, match="crafted packet needs CAP_NET_RAW"),
    ):
        traceroute(session.agent, routed.b.address4, port=PORT)
