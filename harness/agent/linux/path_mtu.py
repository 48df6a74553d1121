"""The largest IP packet that gets through to an address unfragmented, and who says so.

Packets of many sizes with "don't fragment" are sent by ICMP echo, or as UDP datagrams (no
privilege needed), each from a socket of its own, so that every answer belongs to one size. An
answer of any kind proves that the size arrived; "fragmentation needed" that it did not; silence
of big ones, where small ones are answered, is a black hole. An echo's reply is as big as the
request, so by ICMP the way back is measured along.
"""

import errno
import fcntl
import os
import select
import socket
import struct

from harness.agent.linux.neterror import ask_for_errors, queued_error
from harness.agent.linux.ping import echo_request
from harness.agent.linux.request import REQUIRED, Params, without_nulls
from harness.agent.linux.route import route_to
from harness.agent.linux.words import ICMP, ICMP6, OpError, errno_name, family_of, plain, sockaddr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from harness.agent.linux.agent import Agent
    from harness.agent.linux.request import Answer

IP_MTU_DISCOVER, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_DONTFRAG = 10, 14, 23, 24, 62
PMTUDISC_PROBE = 3  # don't fragment, and do not believe what earlier errors said
SIOCGIFMTU = 0x8921
SIZES_AT_ONCE = 16
PASSED, TOO_BIG, SILENT, REFUSED = "passed", "too-big", "silent", "refused"


class PathMtu:
    """The search: small, then the interface's own MTU, then what an ICMP error said, then in between."""

    def __init__(self, agent: "Agent", answer: "Answer", params: "Params") -> None:
        self.agent = agent
        self.answer = answer
        self.address = params.address("address", REQUIRED)
        self.port = params.integer("port", 1, 65535, 33434)
        self.source = params.address("source", None)
        self.timeout = params.seconds("timeout_ms", 1000)
        self.methods = params.texts("methods", ["icmp", "udp"])
        ceiling = params.integer("max", 68, 65535, 0)
        params.done()
        if not self.methods or set(self.methods) - {"icmp", "udp"}:
            raise params.bad("methods", "some of icmp, udp")
        self.family = family_of(self.address)
        self.v6 = self.family == socket.AF_INET6
        self.interface = str(route_to(self.address, self.source)["interface"])
        self.interface_mtu = interface_mtu(self.interface)
        self.ceiling = min(ceiling or 65535, self.interface_mtu)
        self.low = self.floor = min(1280 if self.v6 else 576, self.ceiling)
        self.high = self.ceiling + 1
        self.method = ""
        self.refusing = False
        self.known: "dict[int, str]" = {}
        self.probes = 0
        self.said: "dict[tuple[str | None, int], dict[str, Any]]" = {}
        self.left = list(self.methods)
        self.try_method()

    def try_method(self) -> None:
        while self.left:
            self.method = self.left.pop(0)
            if self.method == "udp" or can_echo(self.family):
                Round(self, [self.floor], self.floor_known)
                return
        self.give(None)

    def floor_known(self, found: "dict[int, str]") -> None:
        if found[self.floor] not in (PASSED, REFUSED):
            self.try_method()
            return
        # Port unreachables are rationed to about one a second by those who send them.
        self.refusing = found[self.floor] == REFUSED
        if self.ceiling == self.floor:
            self.give(self.floor)
        else:
            Round(self, [self.ceiling], self.ceiling_known)

    def ceiling_known(self, found: "dict[int, str]") -> None:
        self.learn(found)
        hints = [entry["mtu"] for entry in self.said.values() if self.low < entry["mtu"] < self.high]
        if hints and self.low < self.ceiling:
            Round(self, [min(hints)], self.hint_known)
        else:
            self.search({})

    def hint_known(self, found: "dict[int, str]") -> None:
        self.learn(found)
        (size,) = found
        if self.low == size:
            self.give(size)  # it arrives, and somebody said that more does not
        else:
            self.search({})

    def search(self, found: "dict[int, str]") -> None:
        self.learn(found)
        gap = self.high - self.low - 1
        if gap <= 0:
            self.give(self.low)
            return
        count = min(gap, 1 if self.refusing else SIZES_AT_ONCE)
        sizes = {self.low + (gap * (number + 1) + count) // (count + 1) for number in range(count)}
        Round(self, sorted(sizes), self.search)

    def learn(self, found: "dict[int, str]") -> None:
        for size, what in sorted(found.items()):
            if what in (PASSED, REFUSED):
                self.low = max(self.low, size)
        for size, what in found.items():
            if self.low < size < self.high and what in (SILENT, TOO_BIG):
                self.high = size
        self.known.update(found)

    def black_hole(self) -> bool:
        """Whether all that is known of bigger packets is that nothing came of them."""
        beyond = [what for size, what in self.known.items() if size > self.low]
        return SILENT in beyond and TOO_BIG not in beyond

    def heard(self, error: "dict[str, Any]") -> None:
        """Somebody said that a packet was too big, and what would do."""
        mtu = int(error["info"])
        sender = None if error["local"] else error["from"]
        self.said.setdefault(
            (sender, mtu), without_nulls({"from": sender, "mtu": mtu, "local": error["local"]})
        )

    def give(self, mtu: "int | None") -> None:
        self.answer.ok(
            without_nulls(
                {
                    "mtu": mtu,
                    "method": self.method,
                    "answered": mtu is not None,
                    "interface": self.interface,
                    "interface_mtu": self.interface_mtu,
                    "kernel_mtu": kernel_mtu(self.address, self.family),
                    "said": list(self.said.values()),
                    "black_hole": mtu is not None and self.black_hole(),
                    "probes": self.probes,
                }
            )
        )


class Round:
    """Some sizes at the same time, each sent again once it has been silent; then ``done``."""

    def __init__(
        self, search: "PathMtu", sizes: "list[int]", done: "Callable[[dict[int, str]], None]"
    ) -> None:
        self.search = search
        self.reactor = search.agent.reactor
        self.done = done
        self.open: "dict[int, list[Any]]" = {size: [] for size in sizes}
        self.found: "dict[int, str]" = {}
        self.tries = 4 if search.refusing else 2
        self.send()

    def send(self) -> None:
        if not self.tries:
            for size in [size for size in self.open if size not in self.found]:
                self.settle(size, SILENT)
            return
        self.tries -= 1
        for size in [size for size in self.open if size not in self.found]:
            self.probe(size)
        if len(self.found) < len(self.open):
            self.reactor.after(self.search.timeout, self.send_again, self.search.answer)

    def send_again(self) -> None:
        if len(self.found) < len(self.open):
            self.send()

    def probe(self, size: int) -> None:
        search = self.search
        search.probes += 1
        try:
            sock, ident = probing_socket(search)
        except OSError as error:
            raise OpError(
                "failed", "cannot send to %s: %s" % (search.address, errno_name(error.errno))
            ) from None
        self.open[size].append(sock)
        room = size - (40 if search.v6 else 20) - 8
        if search.method == "icmp":
            data = echo_request(search.v6, ident, len(self.open[size]), b"\0" * room)
        else:
            data = b"\0" * room
        self.reactor.watch(
            sock.fileno(), select.EPOLLIN, lambda _: self.ready(size, sock, ident), search.answer
        )
        try:
            sock.send(data)
        except OSError as error:
            self.failed(size, sock, error.errno or 0)

    def ready(self, size: int, sock: "socket.socket", ident: int) -> None:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self.failed(size, sock, number):
            return
        try:
            data = sock.recv(65536)
        except OSError:
            return
        if self.search.method == "icmp" and sock.type & socket.SOCK_RAW == socket.SOCK_RAW:
            if not self.search.v6:
                data = data[(data[0] & 0xF) * 4 :]
            reply = 129 if self.search.v6 else 0
            if len(data) < 8 or data[0] != reply or struct.unpack_from("!H", data, 4)[0] != ident:
                return
        self.settle(size, PASSED)

    def failed(self, size: int, sock: "socket.socket", number: int) -> bool:
        """Whether there was an error; what it means for this size."""
        own = plain(sock.getsockname()[0])
        queued = queued_error(sock, own)
        if queued is not None and queued["errno"] == errno.EMSGSIZE:
            self.search.heard(queued)
            self.settle(size, TOO_BIG)
            return True
        if queued is None and not number:
            return False
        if number == errno.EMSGSIZE:
            self.settle(size, TOO_BIG)
        elif number == errno.ECONNREFUSED or (queued or {}).get("errno") == errno.ECONNREFUSED:
            self.settle(size, REFUSED)
        elif queued is not None and queued["from"] == self.search.address:
            self.settle(size, REFUSED)  # an error from the target itself: the packet was there
        else:
            self.settle(size, SILENT)
        return True

    def settle(self, size: int, what: str) -> None:
        if size in self.found:
            return
        self.found[size] = what
        for sock in self.open[size]:
            self.reactor.unwatch(sock.fileno())
            sock.close()
        if len(self.found) == len(self.open):
            # In a turn of its own: what is said about this round must not be taken for the next.
            self.reactor.after(0, lambda: self.done(self.found), self.search.answer)


def probing_socket(search: "PathMtu") -> "tuple[socket.socket, int]":
    """A connected socket whose packets are never fragmented, and its echo identifier."""
    if search.method == "udp":
        sock = socket.socket(search.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    else:
        sock = echo_socket(search.family)
    try:
        ask_for_errors(sock, search.family)
        if search.v6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        if search.source is not None:
            sock.bind(sockaddr(search.source, 0))
        sock.connect(sockaddr(search.address, search.port if search.method == "udp" else 0))
    except OSError:
        sock.close()
        raise
    raw = search.method == "icmp" and sock.type & socket.SOCK_RAW == socket.SOCK_RAW
    return sock, struct.unpack("!H", os.urandom(2))[0] if raw else sock.getsockname()[1]


def echo_socket(family: int) -> "socket.socket":
    protocol = ICMP6 if family == socket.AF_INET6 else ICMP
    try:
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
    except OSError:
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)


def can_echo(family: int) -> bool:
    try:
        echo_socket(family).close()
    except OSError:
        return False
    return True


def interface_mtu(interface: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16s24x", interface.encode("utf-8", "surrogateescape"))
        try:
            return int(struct.unpack_from("=i", fcntl.ioctl(sock, SIOCGIFMTU, request), 16)[0])
        except OSError as error:
            raise OpError("failed", "interface '%s': %s" % (interface, errno_name(error.errno))) from None


def kernel_mtu(address: str, family: int) -> "int | None":
    """What the kernel believes by now, for every other connection to this address."""
    v6 = family == socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(sockaddr(address, 9))
            if v6:
                return sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
            return sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
        except OSError:
            return None
