"""Readers of what listens: lines of ``ss`` from real machines, expected sockets."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.guest.listeners import read_listeners
from harness.model import Protocol

REAL = Path(__file__).parents[4] / "shared" / "linux-outputs"

LINES = [
    ("tcp   LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=954,fd=3))", "tcp", None, 22, {4}, ("sshd (pid 954)",)),
    ("tcp   LISTEN 0 128 [::]:22 [::]:*", "tcp", None, 22, {6}, ()),
    ("tcp LISTEN 0 4096 *:443 *:* users:((\"caddy\",pid=9,fd=1))", "tcp", None, 443, {4, 6}, ("caddy (pid 9)",)),
    ("udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*", "udp", "127.0.0.53", 53, {4}, ()),
    ("udp UNCONN 0 0 [fe80::7c90:e6ff:fec6:6a87]%eth0:546 [::]:*", "udp", "fe80::7c90:e6ff:fec6:6a87", 546, {6}, ()),
    ("tcp LISTEN 0 32 [::ffff:127.0.0.1]:47312 *:*", "tcp", "127.0.0.1", 47312, {4}, ()),
    ("tcp LISTEN 0 1 10.0.3.4:1433 0.0.0.0:* users:((\"a b\",pid=1,fd=3),(\"a b\",pid=1,fd=4))", "tcp", "10.0.3.4", 1433, {4}, ("a b (pid 1)",)),
]  # fmt: skip


@pytest.mark.parametrize(("line", "protocol", "address", "port", "families", "processes"), LINES)
def test_a_line_becomes_a_socket(
    line: str, protocol: str, address: str | None, port: int, families: set[int], processes: tuple[str, ...]
) -> None:
    (socket,) = read_listeners(line)
    assert socket.protocol == protocol
    assert socket.address == (ip_address(address) if address else None)
    assert (socket.port, set(socket.families), socket.processes) == (port, families, processes)


def test_lines_of_other_kinds_are_left_out() -> None:
    assert (
        read_listeners(
            "tcp ESTAB 0 0 10.0.0.4:22 10.0.0.9:51515\nNetid State\n\ntcp LISTEN 0 x 0.0.0.0:1 *:*\n"
        )
        == ()
    )


def test_a_socket_bound_to_a_device_serves_that_device_only() -> None:
    (socket,) = read_listeners("udp UNCONN 0 0 0.0.0.0%virbr0:67 0.0.0.0:*")
    assert socket.serves(ip_address("10.0.0.4"), "virbr0")
    assert not socket.serves(ip_address("10.0.0.4"), "eth0")


def test_a_full_accept_queue_is_seen() -> None:
    full, not_full = read_listeners(
        "tcp LISTEN 6 5 0.0.0.0:80 0.0.0.0:*\ntcp LISTEN 5 5 0.0.0.0:81 0.0.0.0:*"
    )
    assert full.backlog_full
    assert not not_full.backlog_full


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    read_listeners(text)
    read_listeners(f"tcp LISTEN 0 1 {text}:80 0.0.0.0:*")


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the collection of real machines' outputs is not beside this checkout"
)
def test_real_output_of_ubuntu_18() -> None:
    sockets = read_listeners((REAL / "ss-tulpen.root.ubuntu18.txt").read_text())
    assert {(s.protocol, s.port) for s in sockets} >= {
        (Protocol.UDP, 4789),
        (Protocol.TCP, 80),
        (Protocol.TCP, 53),
    }
    http = next(s for s in sockets if s.port == 80 and s.families == {4})
    assert http.backlog == 511
    assert len(http.processes) == 7
