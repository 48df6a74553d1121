"""The path MTU through a router whose second link is narrower than the first, on real packets."""

from __future__ import annotations

import shutil

import pytest

from harness.agent.contract import CaptureFilter
from harness.model import Protocol
from harness.probe.path_mtu import Verdict, path_mtu
from harness.transport.process import ProcessConnection
from harness.transport.session import Session
from tests.harness.probe.conftest import ROUTED_MTU, Pair, Routed

pytestmark = pytest.mark.lab

SHORT = 0.15


@pytest.mark.parametrize("method", ["icmp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_the_router_says_so(routed: Routed, family: int, method: str) -> None:
    found = path_mtu(routed.a.agent, routed.b.address(family), timeout=1.0, methods=[method])
    assert (found.mtu, found.method, found.verdict) == (ROUTED_MTU, method, Verdict.NARROWED)
    assert (found.interface_mtu, found.kernel_mtu) == (1500, ROUTED_MTU)
    (report,) = [one for one in found.said if not one.local]
    assert (report.mtu, report.sender) == (ROUTED_MTU, routed.router.address(family))


@pytest.mark.parametrize("family", [4, 6])
def test_black_hole(routed: Routed, family: int) -> None:
    too_big = "icmp type destination-unreachable" if family == 4 else "icmpv6 type packet-too-big"
    routed.a.nft("input", f"{too_big} drop")
    found = path_mtu(routed.a.agent, routed.b.address(family), timeout=SHORT, methods=["icmp"])
    assert (found.mtu, found.verdict) == (ROUTED_MTU, Verdict.BLACK_HOLE)
    assert not [one for one in found.said if not one.local]
    assert "black hole" in found.text


def test_nothing_narrows_it(pair: Pair) -> None:
    found = path_mtu(pair.a.agent, pair.b.address4)
    assert (found.mtu, found.verdict, found.probes) == (1500, Verdict.FULL, 2)


def test_silence_says_nothing(pair: Pair) -> None:
    pair.b.nft("input", "meta l4proto { icmp, udp } drop")
    found = path_mtu(pair.a.agent, pair.b.address4, timeout=SHORT)
    assert (found.mtu, found.verdict) == (None, Verdict.UNKNOWN)


def test_a_listener_of_ours_answers_where_the_target_would_not(routed: Routed) -> None:
    routed.b.nft("output", "meta l4proto icmp drop")
    routed.b.nft("input", "icmp type echo-request drop")
    found = path_mtu(routed.a.agent, routed.b.address4, timeout=SHORT)
    assert found.verdict is Verdict.UNKNOWN
    found = path_mtu(
        routed.a.agent, routed.b.address4, target=routed.b.agent, allow_disruptive=True, timeout=SHORT
    )
    assert (found.mtu, found.method, found.verdict) == (ROUTED_MTU, "udp", Verdict.NARROWED)


def test_udp_needs_no_privilege(routed: Routed) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv on this machine")
    prefix = ("ip", "netns", "exec", routed.a.namespace, setpriv, "--reuid=65534", "--regid=65534")
    with Session("vm-a", ProcessConnection("vm-a", (*prefix, "--clear-groups"))) as session:
        assert not session.agent.facts().root
        found = path_mtu(session.agent, routed.b.address4, methods=["udp"])
    assert (found.mtu, found.verdict) == (ROUTED_MTU, Verdict.NARROWED)


def test_packets_are_never_fragmented(routed: Routed) -> None:
    wanted = CaptureFilter(Protocol.ICMP, local=(routed.b.address4,))
    handle = routed.b.agent.capture(wanted).handle
    path_mtu(routed.a.agent, routed.b.address4, methods=["icmp"])
    report = routed.b.agent.capture_stop(handle)
    assert report.records
    assert not [one for one in report.records if one.icmp_type is None]
