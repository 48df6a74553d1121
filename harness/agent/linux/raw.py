"""Packets that the controller crafted, sent as they are, and what came back, as it came.

They leave by a raw IP socket, so routes and output rules of this machine apply to them as to
any other packet; the kernel fills in what an IPv4 header leaves at zero. Not for understanding
them: that is the controller's.
"""

import base64
import binascii
import errno
import select
import socket
import time

from harness.agent.linux.capture import kernel_drops, listen_to_packets, put_away, stamp
from harness.agent.linux.decode import decode
from harness.agent.linux.filter import Filter
from harness.agent.linux.request import REQUIRED, Params, without_nulls
from harness.agent.linux.words import PACKET_OUTGOING, OpError, errno_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from harness.agent.linux.agent import Agent
    from harness.agent.linux.request import Answer

MAX_PACKETS = 1000
MAX_ANSWERS = 10000
IPPROTO_RAW = 255


class Raw:
    """Sends one packet after the other, then waits until enough answers came or the window closes."""

    def __init__(self, agent: "Agent", answer: "Answer", params: "Params") -> None:
        self.agent = agent
        self.answer = answer
        texts = params.texts("packets", REQUIRED, MAX_PACKETS)
        self.interval = params.seconds("interval_ms", 0)
        self.window = params.seconds("window_ms", 1000)
        self.count = params.integer("count", 0, MAX_ANSWERS, 0)
        wanted = params.take("filter", REQUIRED)
        params.done()
        if not isinstance(wanted, dict):
            raise params.bad("filter", "an object")
        self.filter = Filter(Params(wanted, "filter."))
        self.packets = [(crafted, destination(params, crafted)) for crafted in map(unpacked, texts)]
        self.sent: "list[dict[str, Any]]" = []
        self.answers: "list[dict[str, Any]]" = []
        self.dropped = 0
        self.over = False
        self.t0 = time.perf_counter()
        self.senders = {family: raw_socket(family) for family in {one[1][0] for one in self.packets}}
        try:
            self.sock = listen_to_packets(agent, self.filter.program(None))
        except OpError:
            self.close_senders()
            raise
        agent.reactor.watch(self.sock.fileno(), select.EPOLLIN, lambda _: self.drain(), answer)
        self.send()

    def send(self) -> None:
        if self.over:
            return
        while len(self.sent) < len(self.packets):
            data, (family, address) = self.packets[len(self.sent)]
            row: "dict[str, Any]" = {"time": time.time(), "ms": self.elapsed_ms()}
            try:
                self.senders[family].sendto(data, (address, 0))
            except OSError as error:
                row["errno"] = errno_name(error.errno)
            self.sent.append(row)
            if self.interval and len(self.sent) < len(self.packets):
                self.agent.reactor.after(self.interval, self.send, self.answer)
                return
        if all("errno" in row for row in self.sent):
            self.give()
        else:
            self.agent.reactor.after(self.window, self.give, self.answer)

    def drain(self) -> None:
        while not self.over:
            try:
                data, ancillary, _, address = self.sock.recvmsg(65536, 128)
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                return
            if address[2] == PACKET_OUTGOING:
                continue
            packet = decode(address[1], data)
            if packet is None or not self.filter.wants(packet):
                continue
            if len(self.answers) >= MAX_ANSWERS:
                self.dropped += 1
                continue
            # The kernel's stamp says when; but how long it took is not for a clock that may be set.
            moment = stamp(ancillary)
            waited = min(max(0.0, time.time() - moment), 1.0)
            self.answers.append(
                {
                    "time": moment,
                    "ms": round(self.elapsed_ms() - waited * 1000, 3),
                    "interface": address[0],
                    "packet": base64.b64encode(data).decode("ascii"),
                }
            )
            if self.count and len(self.answers) >= self.count and len(self.sent) == len(self.packets):
                self.give()

    def elapsed_ms(self) -> float:
        return round((time.perf_counter() - self.t0) * 1000, 3)

    def give(self) -> None:
        if self.over:
            return
        self.drain()
        self.over = True
        self.dropped += kernel_drops(self.sock)
        self.agent.reactor.unwatch(self.sock.fileno())
        put_away(self.agent, self.sock)
        self.close_senders()
        sent = [without_nulls(row) for row in self.sent]
        self.answer.ok({"sent": sent, "answers": self.answers, "dropped": self.dropped})

    def close_senders(self) -> None:
        for sock in self.senders.values():
            sock.close()


def unpacked(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise OpError("bad-request", "'packets': expected base64") from None


def destination(params: "Params", data: bytes) -> "tuple[int, str]":
    """Family and destination address of a crafted packet."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        return socket.AF_INET, socket.inet_ntop(socket.AF_INET, data[16:20])
    if len(data) >= 40 and data[0] >> 4 == 6:
        return socket.AF_INET6, socket.inet_ntop(socket.AF_INET6, data[24:40])
    raise params.bad("packets", "IPv4 or IPv6 packets with their whole header")


def raw_socket(family: int) -> "socket.socket":
    try:
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, IPPROTO_RAW)
    except PermissionError:
        raise OpError("permission", "a crafted packet needs CAP_NET_RAW") from None
    except OSError as error:
        raise OpError("failed", "no raw socket: %s" % errno_name(error.errno)) from None
