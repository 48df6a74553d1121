"""The positive control of a capture."""

import errno
import fcntl
import socket
import struct
import time

from harness.agent.linux.capture import Capture, packet_socket
from harness.agent.linux.ping import checksum
from harness.agent.linux.request import REQUIRED, without_nulls
from harness.agent.linux.route import default_gateway, route_to
from harness.agent.linux.words import (
    ETH_P_ARP,
    ETH_P_IP,
    ETH_P_IPV6,
    ICMP6,
    IFF_NOARP,
    SIOCGIFFLAGS,
    SIOCGIFHWADDR,
    OpError,
    errno_name,
    packed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from harness.agent.linux.agent import Agent
    from harness.agent.linux.request import Answer, Params

CONTROL_INTERVAL = 0.2


class Control:
    """Asks a neighbour by ARP or neighbour solicitation and waits until the capture saw both ways.

    Silence of a capture proves something only after this.
    """

    def __init__(self, agent: "Agent", answer: "Answer", params: "Params") -> None:
        self.answer = answer
        handle = params.integer("handle", 1, 1 << 53, REQUIRED)
        address = params.address("address", None)
        interface = params.text("interface", None, 15)
        family = params.integer("family", 4, 6, 4)
        wait = params.seconds("timeout_ms", 1000)
        params.done()
        capture = agent.handle(handle, Capture)
        if address is None:
            address, interface = default_gateway(family, interface or capture.interface)
        elif interface is None:
            interface = capture.interface or route_to(address, None)["interface"]
        if interface == "lo":
            raise OpError("unsupported", "the loopback interface has no neighbours to ask")
        self.capture = capture
        self.interface = interface
        self.address = address.partition("%")[0]
        self.raw = packed(address)
        self.v6 = ":" in address
        self.seen_out = False
        self.seen_in = False
        self.frame = self.build()
        capture.controls.append(self)
        self.timer = capture.reactor.after(wait, self.give, answer)
        self.t0 = time.perf_counter()
        self.ms: "float | None" = None
        if agent.packet_sender is None:
            # A socket of its own: the kernel does not show a packet to the socket that sent it.
            agent.packet_sender = packet_socket(socket.SOCK_RAW)
        self.sender = agent.packet_sender
        self.ask()

    def ask(self) -> None:
        """Sends the question, and again as long as nobody answers: one lost packet proves nothing."""
        if self.answer.given or self not in self.capture.controls:
            return
        try:
            self.sender.sendto(self.frame, (self.interface, ETH_P_IPV6 if self.v6 else ETH_P_ARP))
        except OSError as error:
            self.timer.cancel()
            self.capture.controls.remove(self)
            raise OpError(
                "failed", "cannot send on %s: %s" % (self.interface, errno_name(error.errno))
            ) from None
        self.capture.reactor.after(CONTROL_INTERVAL, self.ask, self.answer)

    def build(self) -> bytes:
        mac = hardware_address(self.interface)
        if not self.v6:
            own = packed(route_to(self.address, None)["source"])
            head = b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP)
            return head + struct.pack("!HHBBH", 1, ETH_P_IP, 6, 4, 1) + mac + own + b"\0" * 6 + self.raw
        own = packed(self.v6_source())
        group = packed("ff02::1:ff00:0")[:13] + self.raw[13:]
        body = struct.pack("!BBHI", 135, 0, 0, 0) + self.raw + b"\x01\x01" + mac
        pseudo = own + group + struct.pack("!II", len(body), ICMP6)
        body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
        head = b"\x33\x33" + group[12:] + mac + struct.pack("!H", ETH_P_IPV6)
        return head + struct.pack("!IHBB", 6 << 28, len(body), ICMP6, 255) + own + group + body

    def v6_source(self) -> str:
        """A link-local address of the interface if it has one, else any of its own."""
        found = []
        with open("/proc/net/if_inet6") as table:
            for line in table:
                words = line.split()
                if words[5] == self.interface:
                    found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0])))
        if not found:
            raise OpError("unsupported", "%s has no IPv6 address" % self.interface)
        return sorted(found, key=lambda one: not one.startswith("fe80"))[0]

    def see(self, name: str, ethertype: int, direction: str, data: bytes) -> None:
        if name != self.interface:
            return
        if not self.v6 and ethertype == ETH_P_ARP and len(data) >= 28:
            operation = struct.unpack_from("!H", data, 6)[0]
            if operation == 1 and direction == "out" and data[24:28] == self.raw:
                self.seen_out = True
            elif operation == 2 and direction == "in" and data[14:18] == self.raw:
                self.seen_in = True
        elif self.v6 and ethertype == ETH_P_IPV6 and len(data) >= 64 and data[6] == ICMP6:
            if data[40] == 135 and direction == "out" and data[48:64] == self.raw:
                self.seen_out = True
            elif data[40] == 136 and direction == "in" and data[48:64] == self.raw:
                self.seen_in = True
        if self.seen_out and self.seen_in and self.ms is None:
            self.ms = round((time.perf_counter() - self.t0) * 1000, 3)
            self.capture.reactor.after(0, self.give, self.answer)

    def give(self) -> None:
        self.timer.cancel()
        if self in self.capture.controls:
            self.capture.controls.remove(self)
        result = {
            "interface": self.interface,
            "address": self.address,
            "seen_out": self.seen_out,
            "seen_in": self.seen_in,
            "ms": self.ms,
        }
        self.answer.ok(without_nulls(result))


def hardware_address(interface: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16s24x", interface.encode("utf-8", "surrogateescape"))
        try:
            flags = struct.unpack_from("=H", fcntl.ioctl(sock, SIOCGIFFLAGS, request), 16)[0]
            answer = fcntl.ioctl(sock, SIOCGIFHWADDR, request)
        except OSError as error:
            kind = "not-found" if error.errno == errno.ENODEV else "failed"
            raise OpError(kind, "interface '%s': %s" % (interface, errno_name(error.errno))) from None
    if flags & IFF_NOARP or struct.unpack_from("=H", answer, 16)[0] != 1:
        raise OpError("unsupported", "%s does no neighbour discovery" % interface)
    return answer[18:24]
