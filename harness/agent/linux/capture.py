"""A capture by a packet socket: what this machine's interfaces saw of one flow."""

import array
import errno
import select
import socket
import struct
import time

from harness.agent.linux.decode import decode
from harness.agent.linux.filter import Filter, assemble
from harness.agent.linux.request import REQUIRED, Params, Waiter
from harness.agent.linux.words import (
    ETH_P_ALL,
    ETH_P_ARP,
    MAX_RECORDS,
    PACKET_OTHERHOST,
    PACKET_OUTGOING,
    PACKET_STATISTICS,
    SO_ATTACH_FILTER,
    SO_TIMESTAMPNS,
    SOL_PACKET,
    OpError,
    errno_name,
    packed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from harness.agent.linux.agent import Agent
    from harness.agent.linux.control import Control
    from harness.agent.linux.request import Answer

SYN_RECV_DELAY = 0.020


class Capture:
    """An AF_PACKET socket in cooked mode; packets are decoded and kept as records."""

    def __init__(self, agent: "Agent", handle: int, params: "Params") -> None:
        self.agent = agent
        self.reactor = agent.reactor
        self.handle = handle
        self.interface = params.text("interface", None, 15)
        self.loopback = params.flag("loopback", self.interface == "lo")
        self.limit = params.integer("limit", 1, 100000, MAX_RECORDS)
        lease = params.seconds("lease_ms", 600000, 86400000)
        wanted = params.take("filter", REQUIRED)
        params.done()
        if not isinstance(wanted, dict):
            raise params.bad("filter", "an object")
        self.filter = Filter(Params(wanted, "filter."))
        self.records: "list[dict[str, Any]]" = []
        self.dropped = 0
        self.unsettled: "dict[tuple[Any, ...], list[dict[str, Any]]]" = {}
        self.waiters: "list[Waiter]" = []
        self.controls: "list[Control]" = []
        self.sock = self.open()
        self.reactor.watch(self.sock.fileno(), select.EPOLLIN, lambda _: self.drain())
        self.timer = self.reactor.after(lease, lambda: agent.release(handle))

    def open(self) -> "socket.socket":
        index = None
        if self.interface is not None:
            try:
                index = socket.if_nametoindex(self.interface)
            except OSError:
                raise OpError("not-found", "no interface '%s'" % self.interface) from None
        return listen_to_packets(self.agent, self.filter.program(index))

    def describe(self) -> "dict[str, Any]":
        return {"handle": self.handle}

    def drain(self) -> None:
        while True:
            try:
                data, ancillary, _, address = self.sock.recvmsg(2048, 128)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENETDOWN):
                    break
                if error.errno == errno.EINTR:
                    continue
                break
            name, ethertype, kind = address[:3]
            if kind == PACKET_OTHERHOST or (name == "lo" and not self.loopback):
                continue
            direction = "out" if kind == PACKET_OUTGOING else "in"
            for control in self.controls:
                control.see(name, ethertype, direction, data)
            if ethertype == ETH_P_ARP:
                continue
            packet = decode(ethertype, data)
            if packet is None or not self.wanted(packet):
                continue
            if len(self.records) >= self.limit:
                self.dropped += 1
                continue
            moment = stamp(ancillary)
            self.keep(packet, {"time": round(moment, 6), "interface": name, "direction": direction})
        self.wake()

    def wanted(self, packet: "dict[str, Any]") -> bool:
        return self.filter.wants(packet)

    def keep(self, packet: "dict[str, Any]", record: "dict[str, Any]") -> None:
        payload = packet.pop("payload", b"")
        if self.filter.nonce is not None:
            record["nonce"] = self.filter.nonce.encode("utf-8") in payload
        record.update({name: value for name, value in packet.items() if name not in ("number", "quoted")})
        if "quoted" in packet:
            record["quoted"] = {name: value for name, value in packet["quoted"].items() if name != "number"}
        self.records.append(record)
        flags = packet.get("flags", "")
        if "S" in flags and "." not in flags and record["direction"] == "in":
            # A SYN that is answered at once needs no look at the socket table; the others get one
            # a little later: evidence that the stack took the SYN, even if the answer never leaves.
            key = (record["src"], record["sport"], record["dst"], record["dport"])
            self.unsettled.setdefault(key, []).append(record)
            self.reactor.after(SYN_RECV_DELAY, lambda: self.settle(key, tcp_state(*key) == "03"))
        elif record["direction"] == "out" and flags and ("S" in flags or "R" in flags):
            self.settle((record["dst"], record["dport"], record["src"], record["sport"]), "S" in flags)

    def settle(self, key: "tuple[Any, ...]", syn_recv: bool) -> None:
        for record in self.unsettled.pop(key, ()):
            record["syn_recv"] = syn_recv
        self.wake()

    def wake(self) -> None:
        self.waiters = [waiter for waiter in self.waiters if not waiter.check()]

    def report(self) -> "dict[str, Any]":
        self.dropped += kernel_drops(self.sock)
        return {"records": self.records, "dropped": self.dropped}

    def close(self) -> None:
        self.timer.cancel()
        self.reactor.unwatch(self.sock.fileno())
        for waiter in self.waiters:
            waiter.give()
        for control in list(self.controls):
            control.give()
        self.waiters = []
        put_away(self.agent, self.sock)


def listen_to_packets(agent: "Agent", program: bytes) -> "socket.socket":
    """A packet socket in cooked mode that hears what the filter program lets through."""
    sock = agent.idle_packet_sockets.pop() if agent.idle_packet_sockets else None
    if sock is None:
        sock = packet_socket(socket.SOCK_DGRAM, ETH_P_ALL)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    attach(sock, program)
    kernel_drops(sock)  # of its last use
    return sock


def kernel_drops(sock: "socket.socket") -> int:
    """Packets that the kernel had no room for since this was last asked: asking sets it to zero."""
    try:
        return int(struct.unpack("=II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1])
    except (OSError, struct.error):
        return 0


def put_away(agent: "Agent", sock: "socket.socket") -> None:
    """To close a packet socket takes the kernel 10 to 20 ms (it waits for all readers), during
    which this process could do nothing else. So it is kept, deaf, for the next time.
    """
    attach(sock, assemble([(0x06, 0, None, None)]))
    try:
        while True:
            sock.recv(1)
    except OSError:
        pass
    agent.idle_packet_sockets.append(sock)


def stamp(ancillary: "list[Any]") -> float:
    """When the kernel received the packet; now, where it does not say."""
    for level, number, value in ancillary:
        if level == socket.SOL_SOCKET and number == SO_TIMESTAMPNS and len(value) >= 16:
            seconds, nanoseconds = struct.unpack_from("=qq", value)
            return float(seconds + nanoseconds / 1e9)
    return time.time()


def attach(sock: "socket.socket", program: bytes) -> None:
    code = array.array("B", program)
    where, size = code.buffer_info()
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", size // 8, where))
    except OSError as error:
        sock.close()
        raise OpError("failed", "cannot capture: %s" % errno_name(error.errno)) from None


def packet_socket(kind: int, protocol: int = 0) -> "socket.socket":
    try:
        return socket.socket(socket.AF_PACKET, kind | socket.SOCK_NONBLOCK, socket.htons(protocol))
    except PermissionError:
        raise OpError("permission", "a capture needs CAP_NET_RAW") from None
    except OSError as error:
        raise OpError("failed", "no packet socket: %s" % errno_name(error.errno)) from None


def tcp_state(src: str, sport: int, dst: str, dport: int) -> "str | None":
    """The state (as in /proc/net/tcp) of the socket that this guest has for such a packet, or None."""

    def coded(address: str, port: int, mapped: bool) -> bytes:
        raw = packed(address)
        if mapped:
            raw = b"\0" * 10 + b"\xff\xff" + raw
        words = struct.unpack("=%dI" % (len(raw) // 4), raw)
        return ("".join("%08X" % word for word in words) + ":%04X" % port).encode("ascii")

    v6 = ":" in src
    for name, mapped in (("tcp6", False),) if v6 else (("tcp", False), ("tcp6", True)):
        try:
            with open("/proc/net/" + name, "rb") as table:
                text = table.read()
        except OSError:
            continue
        wanted = b" " + coded(dst, dport, mapped) + b" " + coded(src, sport, mapped) + b" "
        at = text.find(wanted)
        if at >= 0:
            return text[at + len(wanted) : at + len(wanted) + 2].decode("ascii", "replace")
    return None


def start_capture(agent: "Agent", answer: "Answer", params: "Params") -> None:
    agent.open_handle(Capture, params, answer)


def capture_read(agent: "Agent", answer: "Answer", params: "Params") -> None:
    number = params.integer("handle", 1, 1 << 53, REQUIRED)
    wait = params.seconds("wait_ms", 0)
    until_count = params.integer("count", 0, 100000, 0)
    until_nonce = params.flag("nonce")
    params.done()
    capture = agent.handle(number, Capture)

    def there() -> bool:
        # A SYN whose 20 ms are not over yet is waited for, so that its evidence is complete.
        if capture.unsettled:
            return False
        records: "list[dict[str, Any]]" = capture.records
        if until_nonce and not any(r.get("nonce") and r["direction"] == "in" for r in records):
            return False
        return len(records) >= int(until_count)

    capture.drain()
    wait = wait if until_count or until_nonce else 0.0
    if capture.unsettled:
        wait = max(wait, 2 * SYN_RECV_DELAY)
    capture.waiters.append(Waiter(agent.reactor, answer, wait, there, capture.report))
    if not (until_count or until_nonce) and not capture.unsettled:
        capture.waiters[-1].give()
    capture.wake()


def capture_stop(agent: "Agent", answer: "Answer", params: "Params") -> None:
    number = params.integer("handle", 1, 1 << 53, REQUIRED)
    params.done()
    capture = agent.handle(number, Capture)
    capture.drain()
    result = capture.report()
    agent.release(number)
    answer.ok(result)
