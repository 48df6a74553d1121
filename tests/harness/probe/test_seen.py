"""What captures prove, from recorded packets."""

from __future__ import annotations

from typing import Any

import pytest

from harness.agent.contract import CaptureRecord, ControlResult, Direction, QuotedPacket
from harness.model import Protocol
from harness.probe.capture import EndCapture, line
from harness.probe.seen import Answer, ProbeKey, Seen, evaluate

A, B, SPORT, PORT = "10.0.0.4", "10.0.1.4", 40000, 1433
KEY = ProbeKey(Protocol.TCP, A, B, PORT, SPORT)
GOOD = ControlResult("eth0", "10.0.0.1", seen_out=True, seen_in=True, ms=0.2)


def packet(direction: str, flags: str, *, back: bool = False, **changes: Any) -> CaptureRecord:
    fields: dict[str, Any] = {
        "time": 1.5,
        "interface": "eth0",
        "direction": Direction(direction),
        "protocol": Protocol.TCP,
        "src": B if back else A,
        "dst": A if back else B,
        "sport": PORT if back else SPORT,
        "dport": SPORT if back else PORT,
        "ttl": 64,
        "seq": 7,
        "ack": 0,
        "flags": flags,
    }
    return CaptureRecord(**(fields | changes))


def end(*records: CaptureRecord, control: ControlResult | None = GOOD, dropped: int = 0) -> EndCapture:
    return EndCapture("vm", tuple(records), dropped, control)


SYN_OUT, SYN_IN = packet("out", "S"), packet("in", "S", syn_recv=True)
ANSWER_OUT, ANSWER_IN = packet("out", "S.", back=True), packet("in", "S.", back=True)
ERROR: dict[str, Any] = {
    "protocol": Protocol.ICMP, "sport": None, "dport": None, "src": "10.0.9.9", "dst": A,
    "icmp_type": 3, "icmp_code": 13, "version": 4, "quoted": QuotedPacket(Protocol.TCP, A, B, SPORT, PORT),
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "target", "seen"),
    [
        (
            end(SYN_OUT, ANSWER_IN),
            end(SYN_IN, ANSWER_OUT),
            Seen(True, True, True, Answer.ACCEPT, Answer.ACCEPT),
        ),
        (end(SYN_OUT), end(SYN_IN, ANSWER_OUT), Seen(True, True, True, Answer.ACCEPT, Answer.NONE)),
        (end(SYN_OUT), end(), Seen(True, False, None, Answer.NONE, Answer.NONE)),
        (end(), end(), Seen(False, False, None, Answer.NONE, Answer.NONE)),
        (None, None, Seen()),
        (end(SYN_OUT), None, Seen(left_source=True, answer_arrived=Answer.NONE)),
        # Silence proves nothing without the control, or when packets were lost; a packet always does.
        (end(control=None), end(control=None), Seen()),
        (end(dropped=1), end(dropped=1), Seen()),
        (end(SYN_OUT, control=None), end(SYN_IN, control=None), Seen(True, True, True)),
        (
            end(SYN_OUT, packet("in", "R.", back=True)),
            end(SYN_IN, packet("out", "R.", back=True)),
            Seen(True, True, True, Answer.RESET, Answer.RESET),
        ),
        # Another host's ICMP error: it arrived, but it did not leave the target.
        (
            end(SYN_OUT, packet("in", "", **ERROR)),
            end(),
            Seen(True, False, None, Answer.NONE, Answer.ICMP_ERROR),
        ),
        # Another flow's packets between the same two machines.
        (
            end(packet("out", "S", sport=1), packet("in", "S.", back=True, dport=1)),
            end(packet("in", "S", sport=1)),
            Seen(False, False, None, Answer.NONE, Answer.NONE),
        ),
        # A segment of an old connection is not the SYN.
        (
            end(packet("out", ".")),
            end(packet("in", "P.")),
            Seen(False, False, None, Answer.NONE, Answer.NONE),
        ),
        # A SYN with ECN.
        (
            end(packet("out", "SEW")),
            end(packet("in", "SEW")),
            Seen(True, True, None, Answer.NONE, Answer.NONE),
        ),
    ],
)
def test_evaluate(source: EndCapture | None, target: EndCapture | None, seen: Seen) -> None:
    assert evaluate(KEY, source, target) == seen


def test_translated_source_is_told_by_the_sequence_number() -> None:
    key = ProbeKey(Protocol.TCP, A, B, PORT, SPORT, translated=True)
    nat: dict[str, Any] = {"src": "203.0.113.5", "sport": 1024}
    other = packet("in", "S", src="203.0.113.5", sport=1025, seq=8)
    back = packet("out", "S.", back=True, dst="203.0.113.5", dport=1024)
    seen = evaluate(key, end(SYN_OUT), end(other, packet("in", "S", **nat), back))
    assert (seen.arrived_target, seen.answer_left) == (True, Answer.ACCEPT)
    assert evaluate(key, end(SYN_OUT), end(other)).arrived_target is False


def test_udp_is_told_by_its_nonce() -> None:
    key = ProbeKey(Protocol.UDP, A, B, 53, SPORT)
    fields: dict[str, Any] = {"protocol": Protocol.UDP, "dport": 53}
    mine = packet("in", "", nonce=True, **fields)
    assert evaluate(key, None, end(mine)).arrived_target is True
    assert evaluate(key, None, end(packet("in", "", nonce=False, **fields))).arrived_target is False


def test_line_reads_like_tcpdump() -> None:
    assert (
        line(SYN_OUT)
        == "00:00:01.500000 eth0 Out IP 10.0.0.4.40000 > 10.0.1.4.1433: Flags [S], seq 7, ttl 64"
    )
    assert line(SYN_IN).endswith("(socket in SYN-RECV)")
    assert "ICMP type 3 code 13 about tcp 10.0.0.4.40000 > 10.0.1.4.1433" in line(packet("in", "", **ERROR))
