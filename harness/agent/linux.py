"""The resident agent of a Linux VM: one file, no dependencies, any python3 from 3.6 on.

The controller starts it with the bootstrap of ``harness.agent.bootstrap``, which reads this
source from standard input and executes it; nothing is written on the VM. Requests are then
served on the same stream, one JSON document per line, any number in flight, answers in any
order: ``{"id": 1, "op": "tcp", ...}`` -> ``{"id": 1, "ok": true, "result": {...}}`` or
``{"id": 1, "ok": false, "error": {"type": "...", "message": "..."}}``. It ends when its input
closes, and everything it opened ends with it.

What each request and answer means is ``harness.agent.contract``'s business; this file only
does it, on this one machine. Not for judging what was seen, and not to be imported by the
controller.
"""

import array
import errno
import fcntl
import heapq
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

PROTOCOL = 1
MAX_LINE = 32 << 20
MAX_RECORDS = 1000
CONNECTS_PER_TURN = 256
SPARE_FDS = 64
SYN_RECV_DELAY = 0.020
CONTROL_INTERVAL = 0.2
TOOLS = ("ss", "ip", "nft", "iptables-save", "ip6tables-save", "conntrack", "tcpdump", "ping", "sudo")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CAPABILITIES = {
    1: "dac_override", 2: "dac_read_search", 10: "net_bind_service", 12: "net_admin", 13: "net_raw",
    19: "sys_ptrace", 21: "sys_admin",
}  # fmt: skip

# Numbers that Python's socket module does not name in every version (linux/in.h and friends).
IP_RECVERR, IPV6_RECVERR = 11, 25
IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50
IP_RECVTTL, IP_TTL, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 12, 2, 51, 52
IP_BIND_ADDRESS_NO_PORT = 24
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35
SOL_PACKET, PACKET_STATISTICS = 263, 6
ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
PACKET_OTHERHOST, PACKET_OUTGOING = 3, 4
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
V6_EXTENSIONS = (0, 43, 44, 60)
SIOCGIFHWADDR, SIOCGIFFLAGS = 0x8927, 0x8913
IFF_NOARP = 0x80


class OpError(Exception):
    """A request that cannot be served: a stable ``kind`` for programs, a message for people."""

    def __init__(self, kind: str, message: str) -> None:
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message


def errno_name(number: "int | None") -> str:
    return errno.errorcode.get(number or 0, str(number))


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def plain(address: str) -> str:
    """An address as people write it: IPv4 seen through an IPv6 socket, and no scope."""
    address = address.partition("%")[0]
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def packed(address: str) -> bytes:
    return socket.inet_pton(family_of(address), address.partition("%")[0])


def sockaddr(address: str, port: int) -> "Any":
    """The address for the socket calls; the scope of a link-local one is resolved here."""
    if ":" not in address:
        return (address, port)
    name, _, scope = address.partition("%")
    if not scope:
        return (name, port)
    try:
        return (name, port, 0, int(scope) if scope.isdigit() else socket.if_nametoindex(scope))
    except OSError:
        raise OpError("bad-request", "no interface '%s' for %s" % (scope, address)) from None


# --------------------------------------------------------------------------------------------------
# Reactor


class Timer:
    __slots__ = ("active", "callback", "owner")

    def __init__(self, callback: "Callable[[], None]", owner: "Answer | None") -> None:
        self.callback = callback
        self.owner = owner
        self.active = True

    def cancel(self) -> None:
        self.active = False


class Reactor:
    """epoll and timers. An error in a callback fails the request that owns it, nothing else."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.watched: "dict[int, tuple[Callable[[int], None], Answer | None]]" = {}
        self.timers: "list[tuple[float, int, Timer]]" = []
        self.counter = 0
        self.running = True

    def watch(
        self, fd: int, events: int, callback: "Callable[[int], None]", owner: "Answer | None" = None
    ) -> None:
        if fd in self.watched:
            self.epoll.modify(fd, events)
        else:
            self.epoll.register(fd, events)
        self.watched[fd] = (callback, owner)

    def unwatch(self, fd: int) -> None:
        if self.watched.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def after(self, delay: float, callback: "Callable[[], None]", owner: "Answer | None" = None) -> "Timer":
        timer = Timer(callback, owner)
        self.counter += 1
        heapq.heappush(self.timers, (time.monotonic() + delay, self.counter, timer))
        return timer

    def run(self) -> None:
        while self.running:
            while self.timers and not self.timers[0][2].active:
                heapq.heappop(self.timers)
            wait = max(0.0, self.timers[0][0] - time.monotonic()) if self.timers else -1
            for fd, events in self.epoll.poll(wait, 4096):
                entry = self.watched.get(fd)
                if entry is not None:
                    self.call(entry[1], entry[0], events)
            now = time.monotonic()
            # A timer set by these callbacks with no delay waits for the next turn: input is not starved.
            for _ in range(len(self.timers)):
                if not self.timers or self.timers[0][0] > now:
                    break
                timer = heapq.heappop(self.timers)[2]
                if timer.active:
                    timer.active = False
                    self.call(timer.owner, timer.callback)

    def call(self, owner: "Answer | None", callback: "Callable[..., Any]", *args: "Any") -> None:
        try:
            callback(*args)
        except OpError as error:
            if owner is not None:
                owner.fail(error.kind, error.message)
        except Exception as error:  # noqa: BLE001
            complain("internal error: %s: %s" % (type(error).__name__, error))
            if owner is not None:
                owner.fail("internal", "%s: %s" % (type(error).__name__, error))


def complain(text: str) -> None:
    try:
        os.write(2, ("azreach agent: %s\n" % text).encode("utf-8", "replace"))
    except OSError:
        pass


# --------------------------------------------------------------------------------------------------
# Parameters and answers


class Params:
    """The parameters of one request, checked; ``done`` refuses what no one asked for."""

    def __init__(self, data: "dict[str, Any]", where: str = "") -> None:
        self.data = dict(data)
        self.where = where

    def bad(self, name: str, expected: str) -> "OpError":
        return OpError("bad-request", "'%s%s': expected %s" % (self.where, name, expected))

    def take(self, name: str, default: "Any") -> "Any":
        value = self.data.pop(name, None)
        if value is None and default is REQUIRED:
            raise OpError("bad-request", "'%s%s' is required" % (self.where, name))
        return default if value is None else value

    def integer(self, name: str, low: int, high: int, default: "Any") -> "Any":
        value = self.take(name, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.bad(name, "a whole number from %d to %d" % (low, high))
        return value

    def seconds(self, name: str, default_ms: int, high_ms: int = 600000) -> float:
        """A time given in milliseconds."""
        value = self.take(name, default_ms)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high_ms:
            raise self.bad(name, "milliseconds from 0 to %d" % high_ms)
        return value / 1000.0

    def text(self, name: str, default: "Any", limit: int = 4096) -> "Any":
        value = self.take(name, default)
        if value is default:
            return value
        if not isinstance(value, str) or len(value) > limit or "\0" in value:
            raise self.bad(name, "text of at most %d characters" % limit)
        return value

    def choice(self, name: str, choices: "tuple[str, ...]", default: "Any") -> str:
        value = self.text(name, default)
        if value not in choices:
            raise self.bad(name, "one of %s" % ", ".join(choices))
        return str(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise self.bad(name, "true or false")
        return value

    def address(self, name: str, default: "Any") -> "Any":
        value = self.text(name, default, 100)
        if value is default:
            return value
        try:
            packed(value)
        except (OSError, ValueError):
            raise self.bad(name, "an IP address") from None
        return value

    def array(self, name: str, default: "Any", limit: int = 100000) -> "Any":
        value = self.take(name, default)
        if value is default:
            return value
        if not isinstance(value, list) or len(value) > limit:
            raise self.bad(name, "a list of at most %d" % limit)
        return value

    def texts(self, name: str, default: "Any", limit: int = 1000) -> "Any":
        value = self.array(name, default, limit)
        if value is not default and not all(isinstance(item, str) and "\0" not in item for item in value):
            raise self.bad(name, "a list of texts")
        return value

    def done(self) -> None:
        if self.data:
            raise OpError("bad-request", "unknown parameter '%s%s'" % (self.where, sorted(self.data)[0]))


REQUIRED = object()


class Answer:
    """The one answer that a request gets; later ones are dropped."""

    def __init__(self, agent: "Agent", number: "Any") -> None:
        self.agent = agent
        self.number = number
        self.given = False

    def ok(self, result: "dict[str, Any]") -> None:
        self.give({"id": self.number, "ok": True, "result": result})

    def fail(self, kind: str, message: str) -> None:
        self.give({"id": self.number, "ok": False, "error": {"type": kind, "message": message}})

    def give(self, document: "dict[str, Any]") -> None:
        if not self.given:
            self.given = True
            self.agent.send(document)


def without_nulls(row: "dict[str, Any]") -> "dict[str, Any]":
    return {name: value for name, value in row.items() if value is not None}


# --------------------------------------------------------------------------------------------------
# What an error of the network means


def ask_for_errors(sock: "socket.socket", family: int) -> None:
    """IP_RECVERR: the kernel keeps the ICMP error itself, not only the errno made of it."""
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def queued_error(sock: "socket.socket", own: "str | None") -> "dict[str, Any] | None":
    """The ICMP error that the kernel kept for this socket, or None.

    ``own`` is the socket's local address: an error "from" it was made by this guest (no
    answer to ARP, a reject rule of its own), not by the network. TCP keeps errors from
    Linux 5.9 on; before that only the errno is left.
    """
    try:
        ancillary = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)[1]
    except OSError:
        return None
    for level, kind, data in ancillary:
        v4 = level == socket.IPPROTO_IP and kind == IP_RECVERR
        v6 = level == socket.IPPROTO_IPV6 and kind == IPV6_RECVERR
        if not (v4 or v6) or len(data) < 16:
            continue
        number, origin, icmp_type, code = struct.unpack_from("=IBBB", data)
        sender = None
        if origin in (2, 3) and len(data) >= 24:
            raw = data[20:24] if struct.unpack_from("=H", data, 16)[0] == socket.AF_INET else data[24:40]
            if len(raw) in (4, 16):
                sender = plain(socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw))
        return {
            "errno": number,
            "version": {2: 4, 3: 6}.get(origin),
            "type": icmp_type,
            "code": code,
            "from": sender,
            "local": origin == 1 or (own is not None and sender == own) or sender in ("127.0.0.1", "::1"),
        }
    return None


def outcome_of_icmp(version: int, icmp_type: int, code: int, refused_here: bool) -> str:
    """``refused_here``: the error was made by this guest about a packet to somebody else."""
    if version == 4 and icmp_type == 3:
        if code == 3:
            return "prohibited" if refused_here else "refused"
        if code in (9, 10, 13):
            return "prohibited"
    elif version == 6 and icmp_type == 1:
        if code == 4:
            return "prohibited" if refused_here else "refused"
        if code in (1, 5):
            return "prohibited"
    return "no-route" if refused_here else "unreachable"


def outcome_of_error(
    number: int, error: "dict[str, Any] | None", immediate: bool, to_self: bool = False
) -> "dict[str, Any]":
    """Outcome, detail and ICMP facts of a failed connect or send.

    ``immediate``: the system call itself failed, so the guest never sent anything: EACCES
    and EPERM are the guest's own refusal ("prohibited", detail "local"), the rest is
    "no-route". ``to_self``: the packet was for an address of this guest.
    """
    if error is not None and error["version"] is not None:
        version, icmp_type, code = error["version"], error["type"], error["code"]
        icmp = {
            "version": version,
            "type": icmp_type,
            "code": code,
            "from": error["from"],
            "local": error["local"],
        }
        return {
            "outcome": outcome_of_icmp(version, icmp_type, code, error["local"] and not to_self),
            "errno": errno_name(number or error["errno"]),
            "icmp": without_nulls(icmp),
            "detail": "local" if error["local"] else None,
        }
    name = errno_name(number)
    if number == errno.ECONNREFUSED:
        return {"outcome": "refused", "errno": name}
    if number in (errno.ECONNRESET, errno.EPIPE):
        return {"outcome": "reset", "errno": name}
    if number == errno.ETIMEDOUT:
        return {"outcome": "timeout", "errno": name}
    if number in (errno.EACCES, errno.EPERM):
        return {"outcome": "prohibited", "errno": name, "detail": "local" if immediate else None}
    if number in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
        return {"outcome": "bind-error", "errno": name, "detail": "no free local port for this destination"}
    if immediate:
        return {"outcome": "no-route", "errno": name, "detail": "local"}
    return {"outcome": "unreachable", "errno": name}


# --------------------------------------------------------------------------------------------------
# TCP and UDP probes


class Target:
    __slots__ = (
        "address",
        "local",
        "nonce",
        "payload",
        "port",
        "sock",
        "source",
        "source_port",
        "started",
        "t0",
    )

    def __init__(self, data: "Any", where: str, udp: bool) -> None:
        if not isinstance(data, dict):
            raise OpError("bad-request", "'%s': expected an object" % where)
        params = Params(data, where + ".")
        self.address = params.address("address", REQUIRED)
        self.port = params.integer("port", 1, 65535, REQUIRED)
        self.source = params.address("source", None)
        self.source_port = params.integer("source_port", 1, 65535, 0)
        self.nonce = params.text("nonce", None, 200)
        payload = params.text("payload", None, 131072) if udp else None
        try:
            self.payload: "bytes | None" = bytes.fromhex(payload) if payload is not None else None
        except ValueError:
            raise params.bad("payload", "hexadecimal digits") from None
        params.done()
        if self.source is not None and family_of(self.source) != family_of(self.address):
            raise OpError("bad-request", "'%s.source': not of the target's address family" % where)
        if udp and self.nonce is None and self.payload is None:
            raise OpError("bad-request", "'%s': a nonce or a payload is required" % where)
        self.sock: "socket.socket | None" = None
        self.local: "list[Any] | None" = None
        self.started = self.t0 = 0.0


class Batch:
    """Many targets at once: so many sockets as are allowed, one deadline queue, results in order."""

    kind = socket.SOCK_STREAM

    def __init__(self, agent: "Agent", answer: "Answer", params: "Params") -> None:
        self.agent = agent
        self.reactor = agent.reactor
        self.answer = answer
        udp = self.kind == socket.SOCK_DGRAM
        rows = params.array("targets", REQUIRED)
        self.targets = [Target(row, "targets[%d]" % number, udp) for number, row in enumerate(rows)]
        self.timeout = params.seconds("timeout_ms", 2000)
        free = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(self.reactor.watched) - SPARE_FDS)
        self.parallel = min(params.integer("parallel", 1, 1000000, free), free)
        self.extras(params)
        params.done()
        self.results: "list[dict[str, Any] | None]" = [None] * len(self.targets)
        self.left = len(self.targets)
        self.next = 0
        self.active = 0
        self.deadlines: "deque[tuple[float, int]]" = deque()
        self.sweeping: "Timer | None" = None
        if not self.targets:
            answer.ok({"results": []})
        else:
            self.fill()

    def extras(self, params: "Params") -> None:
        pass

    def fill(self) -> None:
        for _ in range(CONNECTS_PER_TURN):
            if self.next >= len(self.targets) or self.active >= self.parallel:
                return
            index = self.next
            self.next += 1
            self.active += 1
            try:
                self.open(index)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    # Other requests hold the descriptors: go on with as many as we have.
                    self.active -= 1
                    self.next -= 1
                    self.parallel = max(1, self.active)
                    if not self.active:
                        self.reactor.after(0.05, self.fill, self.answer)
                    return
                self.finish(index, outcome_of_error(error.errno or 0, None, True))
        self.reactor.after(0, self.fill, self.answer)

    def open(self, index: int) -> None:
        target = self.targets[index]
        family = family_of(target.address)
        target.started = time.time()
        target.sock = sock = socket.socket(family, self.kind | socket.SOCK_NONBLOCK)
        ask_for_errors(sock, family)
        if target.source is not None or target.source_port:
            try:
                if not target.source_port:
                    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            except OSError:
                pass  # older than Linux 4.2: the port is chosen at bind
            try:
                wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"
                sock.bind(sockaddr(target.source or wildcard, target.source_port))
            except OSError as error:
                detail = "cannot bind %s" % (target.source or target.source_port)
                self.finish(
                    index, {"outcome": "bind-error", "errno": errno_name(error.errno), "detail": detail}
                )
                return
        target.t0 = time.perf_counter()
        number = sock.connect_ex(sockaddr(target.address, target.port))
        if number not in (0, errno.EINPROGRESS):
            self.finish(index, outcome_of_error(number, None, True))
            return
        name = sock.getsockname()
        target.local = [plain(name[0]), name[1]]
        if not self.opened(index, sock):
            return
        deadline = time.monotonic() + self.timeout
        self.deadlines.append((deadline, index))
        if self.sweeping is None:
            self.sweeping = self.reactor.after(self.timeout, self.sweep, self.answer)

    def opened(self, index: int, sock: "socket.socket") -> bool:
        """Registers the socket; False where the target is finished already."""
        raise NotImplementedError

    def sweep(self) -> None:
        self.sweeping = None
        now = time.monotonic()
        while self.deadlines and self.deadlines[0][0] <= now:
            index = self.deadlines.popleft()[1]
            if self.waiting(index):
                self.finish(index, {"outcome": "timeout"})
        if self.deadlines:
            self.sweeping = self.reactor.after(self.deadlines[0][0] - now, self.sweep, self.answer)

    def waiting(self, index: int) -> bool:
        """Whether the deadline still applies to this target."""
        return self.results[index] is None

    def error(self, index: int) -> "dict[str, Any] | None":
        """The error pending on the target's socket as result fields, or None."""
        target = self.targets[index]
        assert target.sock is not None
        number = target.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        queued = queued_error(target.sock, target.local[0] if target.local else None)
        if not number and queued is None:
            return None
        to_self = target.local is not None and target.local[0] == target.address
        return outcome_of_error(number or int(queued["errno"] if queued else 0), queued, False, to_self)

    def elapsed_ms(self, index: int) -> float:
        return round((time.perf_counter() - self.targets[index].t0) * 1000, 3)

    def close(self, index: int) -> None:
        sock = self.targets[index].sock
        if sock is not None:
            self.reactor.unwatch(sock.fileno())
            sock.close()
            self.targets[index].sock = None

    def finish(self, index: int, fields: "dict[str, Any]") -> None:
        if self.results[index] is not None:
            return
        target = self.targets[index]
        row = {"started": round(target.started, 6), "local": target.local}
        row.update(fields)
        self.results[index] = without_nulls(row)
        self.close(index)
        self.active -= 1
        self.left -= 1
        if not self.left:
            if self.sweeping is not None:
                self.sweeping.cancel()
            self.answer.ok({"results": self.results})
        elif self.next < len(self.targets) and self.active == self.parallel - 1:
            self.reactor.after(0, self.fill, self.answer)


class TcpBatch(Batch):
    """TCP connects. After the handshake: the nonce is sent and its echo awaited, the connection held."""

    def extras(self, params: "Params") -> None:
        self.hold = params.seconds("hold_ms", 0)
        self.abort = params.flag("abort")
        self.established: "dict[int, dict[str, Any]]" = {}
        self.heard: "dict[int, bytes]" = {}

    def opened(self, index: int, sock: "socket.socket") -> bool:
        self.reactor.watch(sock.fileno(), select.EPOLLOUT, lambda _: self.ready(index), self.answer)
        return True

    def ready(self, index: int) -> None:
        rtt = self.elapsed_ms(index)
        sock = self.targets[index].sock
        assert sock is not None
        failed = self.error(index)
        if failed is not None:
            if failed["outcome"] in ("refused", "unreachable", "prohibited"):
                failed["rtt_ms"] = rtt
            self.finish(index, failed)
            return
        kernel_rtt, retransmits = tcp_info(sock)
        # The kernel's own figure does not contain the time that this process was busy elsewhere.
        fields: "dict[str, Any]" = {
            "outcome": "connected",
            "rtt_ms": kernel_rtt if kernel_rtt and not retransmits else rtt,
            "retransmits": retransmits or None,
        }
        nonce = self.targets[index].nonce
        if nonce is None and not self.hold:
            self.finish(index, fields)
            return
        self.established[index] = fields
        if nonce is not None:
            fields["echoed"] = False
            try:
                sock.send(nonce.encode("utf-8"))
            except OSError as error:
                self.lost(index, error)
                return
        self.heard[index] = b""
        self.reactor.watch(sock.fileno(), select.EPOLLIN, lambda _: self.readable(index), self.answer)
        wait = max(self.hold, self.timeout if nonce is not None else 0.0)
        self.reactor.after(wait, lambda: self.finish(index, fields), self.answer)

    def readable(self, index: int) -> None:
        target = self.targets[index]
        fields = self.established[index]
        assert target.sock is not None
        try:
            data = target.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(index, error)
            return
        if not data:
            fields["peer_closed"] = True
            self.finish(index, fields)
            return
        self.heard[index] = (self.heard[index] + data)[-4096:]
        if target.nonce is not None and target.nonce.encode("utf-8") in self.heard[index]:
            fields["echoed"] = True
            if not self.hold:
                self.finish(index, fields)

    def lost(self, index: int, error: "OSError") -> None:
        fields = self.established[index]
        fields.update({"outcome": "reset", "errno": errno_name(error.errno), "detail": "after the handshake"})
        self.finish(index, fields)

    def waiting(self, index: int) -> bool:
        return self.results[index] is None and index not in self.established

    def finish(self, index: int, fields: "dict[str, Any]") -> None:
        sock = self.targets[index].sock
        if sock is not None and self.results[index] is None:
            if fields["outcome"] == "timeout":
                fields["retransmits"] = tcp_info(sock)[1] or None
            if self.abort:
                # A reset leaves no TIME-WAIT behind, which thousands of probes would pile up.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        Batch.finish(self, index, fields)


def tcp_info(sock: "socket.socket") -> "tuple[float | None, int]":
    """Round-trip time in ms as the kernel measured it (None if it did not), and SYNs sent again."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, 11, 104)
    except OSError:
        return None, 0
    if len(info) < 104:
        return None, 0
    rtt = struct.unpack_from("=I", info, 68)[0]
    return (rtt / 1000.0 or None), struct.unpack_from("=I", info, 100)[0]


class UdpBatch(Batch):
    """One datagram per target; waits for an answer or an ICMP error."""

    kind = socket.SOCK_DGRAM

    def opened(self, index: int, sock: "socket.socket") -> bool:
        target = self.targets[index]
        data = target.payload if target.payload is not None else (target.nonce or "").encode("utf-8")
        self.reactor.watch(sock.fileno(), select.EPOLLIN, lambda _: self.ready(index), self.answer)
        try:
            sock.send(data)
        except OSError as error:
            queued = queued_error(sock, target.local[0] if target.local else None)
            self.finish(index, outcome_of_error(error.errno or 0, queued, queued is None))
            return False
        return True

    def ready(self, index: int) -> None:
        rtt = self.elapsed_ms(index)
        target = self.targets[index]
        assert target.sock is not None
        failed = self.error(index)
        if failed is not None:
            failed["rtt_ms"] = rtt
            self.finish(index, failed)
            return
        try:
            data = target.sock.recv(65536)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                self.finish(index, outcome_of_error(error.errno or 0, None, False))
            return
        echoed = target.nonce is not None and target.nonce.encode("utf-8") in data
        answered = {"outcome": "answered", "rtt_ms": rtt, "echoed": echoed, "data": data[:512].hex()}
        self.finish(index, answered)


# --------------------------------------------------------------------------------------------------
# ICMP echo


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    total += total >> 16
    return 0xFFFF - (total & 0xFFFF)


class Ping:
    """Echo requests, one after the other: ping socket, else raw socket, else the ping tool."""

    def __init__(self, agent: "Agent", answer: "Answer", params: "Params") -> None:
        self.agent = agent
        self.reactor = agent.reactor
        self.answer = answer
        self.address = params.address("address", REQUIRED)
        self.source = params.address("source", None)
        self.count = params.integer("count", 1, 10000, 1)
        self.timeout = params.seconds("timeout_ms", 2000)
        self.interval = params.seconds("interval_ms", 0)
        self.size = params.integer("size", 0, 65000, 56)
        methods = params.texts("methods", ["socket", "raw", "tool"])
        params.done()
        if not methods or set(methods) - {"socket", "raw", "tool"}:
            raise params.bad("methods", "some of socket, raw, tool")
        self.family = family_of(self.address)
        if self.source is not None and family_of(self.source) != self.family:
            raise OpError("bad-request", "'source': not of the target's address family")
        self.v6 = self.family == socket.AF_INET6
        self.attempts: "list[dict[str, Any]]" = []
        self.sock: "socket.socket | None" = None
        self.method = ""
        self.ident = struct.unpack("!H", os.urandom(2))[0]
        self.timer: "Timer | None" = None
        self.local: "str | None" = None
        self.t0 = self.started = 0.0
        self.choose(methods)

    def choose(self, methods: "list[str]") -> None:
        proto = ICMP6 if self.v6 else ICMP
        for method in methods:
            if method == "tool":
                if which("ping"):
                    self.method = "tool"
                    self.run_tool()
                    return
                continue
            kind = socket.SOCK_DGRAM if method == "socket" else socket.SOCK_RAW
            try:
                self.sock = socket.socket(self.family, kind | socket.SOCK_NONBLOCK, proto)
                self.method = method
                break
            except OSError:
                continue
        if self.sock is None:
            raise OpError("permission", "no ping socket, no CAP_NET_RAW and no ping tool on this machine")
        self.prepare(self.sock)

    def prepare(self, sock: "socket.socket") -> None:
        ask_for_errors(sock, self.family)
        if self.v6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        failed: "dict[str, Any] | None" = None
        try:
            if self.source is not None:
                sock.bind(sockaddr(self.source, 0))
        except OSError as error:
            detail = "cannot bind %s" % self.source
            failed = {"outcome": "bind-error", "errno": errno_name(error.errno), "detail": detail}
        if failed is None:
            try:
                sock.connect(sockaddr(self.address, 0))
                name = sock.getsockname()
                self.local = plain(name[0])
                if self.method == "socket":
                    self.ident = name[1]
            except OSError as error:
                failed = outcome_of_error(error.errno or 0, None, True)
        if failed is not None:
            now = round(time.time(), 6)
            self.attempts = [without_nulls(dict(failed, started=now)) for _ in range(self.count)]
            self.done()
            return
        self.reactor.watch(sock.fileno(), select.EPOLLIN, lambda _: self.ready(), self.answer)
        self.send()

    def send(self) -> None:
        assert self.sock is not None
        sequence = len(self.attempts) + 1
        body = bytes((index & 0xFF) for index in range(self.size))
        head = struct.pack("!BBHHH", 128 if self.v6 else 8, 0, 0, self.ident, sequence & 0xFFFF)
        if not self.v6:  # for IPv6 the kernel computes it, since it covers the addresses
            head = head[:2] + struct.pack("!H", checksum(head + body)) + head[4:]
        self.started = time.time()
        self.t0 = time.perf_counter()
        self.timer = self.reactor.after(
            self.timeout, lambda: self.record({"outcome": "timeout"}), self.answer
        )
        try:
            self.sock.send(head + body)
        except OSError as error:
            queued = queued_error(self.sock, self.local)
            self.record(outcome_of_error(error.errno or 0, queued, queued is None))

    def ready(self) -> None:
        rtt = round((time.perf_counter() - self.t0) * 1000, 3)
        assert self.sock is not None
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        queued = queued_error(self.sock, self.local)
        if number or queued is not None:
            self.record(dict(outcome_of_error(number, queued, False), rtt_ms=rtt))
            return
        try:
            data, ancillary = self.sock.recvmsg(65536, 256)[:2]
        except OSError:
            return
        ttl = None
        for level, kind, value in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, IP_TTL), (socket.IPPROTO_IPV6, IPV6_HOPLIMIT)):
                ttl = struct.unpack("=i", value[:4])[0]
        if self.method == "raw" and not self.v6:
            data = data[(data[0] & 0xF) * 4 :]
        if len(data) < 8:
            return
        kind, code, _, ident, sequence = struct.unpack_from("!BBHHH", data)
        expected = (len(self.attempts) + 1) & 0xFFFF
        if kind == (129 if self.v6 else 0) and ident == self.ident and sequence == expected:
            self.record({"outcome": "connected", "rtt_ms": rtt, "ttl": ttl})

    def record(self, fields: "dict[str, Any]") -> None:
        if self.timer is not None:
            self.timer.cancel()
        row = {"started": round(self.started, 6), "sequence": len(self.attempts) + 1}
        row.update(fields)
        self.attempts.append(without_nulls(row))
        if len(self.attempts) >= self.count:
            self.done()
        else:
            again = self.run_tool if self.method == "tool" else self.send
            self.reactor.after(self.interval, again, self.answer)

    def done(self) -> None:
        if self.sock is not None:
            self.reactor.unwatch(self.sock.fileno())
            self.sock.close()
        ident = self.ident if self.method != "tool" else None
        result = {"method": self.method, "ident": ident, "local": self.local, "attempts": self.attempts}
        self.answer.ok(without_nulls(result))

    def run_tool(self) -> None:
        """The tool runs once per attempt, so that each has an answer of its own."""
        self.started = time.time()
        wait = max(1, int(self.timeout + 0.999))
        argv = ["ping", "-n", "-c", "1", "-W", str(wait), "-s", str(self.size)]
        if self.source is not None:
            argv += ["-I", self.source]
        Command(self.agent, argv + [self.address], wait + 2.0, 65536, None, self.tool_ended, self.answer)

    def tool_ended(self, result: "dict[str, Any]") -> None:
        self.timer = None
        self.record(parse_ping(result["stdout"] + result["stderr"]))


def parse_ping(text: str) -> "dict[str, Any]":
    """What the ping tool (iputils or busybox) said about its one echo request."""
    for line in text.splitlines():
        if "time=" in line and ("seq=" in line or "req=" in line):
            words = dict(
                word.split("=", 1) for word in line.replace("time= ", "time=").split() if "=" in word
            )
            ttl = words.get("ttl", words.get("hlim", ""))
            return {
                "outcome": "connected",
                "rtt_ms": float(words["time"].rstrip("ms")),
                "ttl": int(ttl) if ttl.isdigit() else None,
            }
        lower = line.lower()
        if "prohibited" in lower or "filtered" in lower:
            return {"outcome": "prohibited", "detail": line.strip()[:200]}
        if "operation not permitted" in lower:
            return {"outcome": "prohibited", "errno": "EPERM", "detail": "local"}
        if "network is unreachable" in lower:
            return {"outcome": "no-route", "errno": "ENETUNREACH", "detail": "local"}
        if "port unreachable" in lower:
            return {"outcome": "refused", "detail": line.strip()[:200]}
        if "unreachable" in lower or "time to live exceeded" in lower:
            return {"outcome": "unreachable", "detail": line.strip()[:200]}
        if "cannot assign requested address" in lower:
            return {"outcome": "bind-error", "errno": "EADDRNOTAVAIL"}
    return {"outcome": "timeout"}


# --------------------------------------------------------------------------------------------------
# Listeners


class Listener:
    """A TCP or UDP socket that records who came with what, and echoes it, until its lease ends."""

    def __init__(self, agent: "Agent", handle: int, params: "Params") -> None:
        self.agent = agent
        self.reactor = agent.reactor
        self.handle = handle
        self.protocol = params.choice("protocol", ("tcp", "udp"), REQUIRED)
        self.address = params.address("address", None)
        port = params.integer("port", 0, 65535, 0)
        lease = params.seconds("lease_ms", 30000, 86400000)
        params.done()
        self.records: "list[dict[str, Any]]" = []
        self.dropped = 0
        self.connections: "dict[int, tuple[socket.socket, dict[str, Any]]]" = {}
        self.waiters: "list[Waiter]" = []
        self.sock = self.bind(port)
        self.port = self.sock.getsockname()[1]
        callback = self.acceptable if self.protocol == "tcp" else self.datagram
        self.reactor.watch(self.sock.fileno(), select.EPOLLIN, callback)
        self.timer = self.reactor.after(lease, lambda: agent.release(handle))

    def bind(self, port: int) -> "socket.socket":
        tries = [self.address] if self.address is not None else ["::", "0.0.0.0"]
        for address in tries:
            family = family_of(address)
            kind = socket.SOCK_STREAM if self.protocol == "tcp" else socket.SOCK_DGRAM
            try:
                sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            except OSError:
                if address == "::":  # a kernel without IPv6
                    continue
                raise
            try:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if self.address is None else 1)
                    if self.protocol == "udp":
                        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                if self.protocol == "tcp":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                elif family == socket.AF_INET:
                    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
                sock.bind(sockaddr(address, port))
                if self.protocol == "tcp":
                    sock.listen(1024)
                return sock
            except OSError as error:
                sock.close()
                if address == "::" and self.address is None and error.errno == errno.EADDRNOTAVAIL:
                    continue
                where = "%s port %d" % (self.address or "any address", port)
                if error.errno == errno.EADDRINUSE:
                    raise OpError("in-use", "%s is in use" % where) from None
                if error.errno in (errno.EACCES, errno.EPERM):
                    raise OpError("permission", "%s may not be bound by this user" % where) from None
                raise OpError("failed", "%s: %s" % (where, errno_name(error.errno))) from None
        raise OpError("failed", "no address family to listen with")

    def describe(self) -> "dict[str, Any]":
        return {"handle": self.handle, "port": self.port}

    def keep(self, peer: "Any", nonce: "str | None") -> "dict[str, Any]":
        record: "dict[str, Any]" = {
            "peer": plain(peer[0]),
            "peer_port": peer[1],
            "time": round(time.time(), 6),
        }
        if nonce is not None:
            record["nonce"] = nonce
        if len(self.records) < MAX_RECORDS:
            self.records.append(record)
        else:
            self.dropped += 1
        self.wake()
        return record

    def acceptable(self, _: int = 0) -> None:
        while True:
            try:
                connection, peer = self.sock.accept()
            except OSError:
                return
            connection.setblocking(False)
            record = self.keep(peer, None)
            fd = connection.fileno()
            self.connections[fd] = (connection, record)
            self.watch(fd)

    def readable(self, fd: int) -> None:
        connection, record = self.connections[fd]
        try:
            data = connection.recv(256)
            if data:
                connection.send(data)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.reactor.unwatch(fd)
            connection.close()
            del self.connections[fd]
            return
        record["nonce"] = (record.get("nonce", "") + data.decode("utf-8", "replace"))[:256]
        self.wake()

    def watch(self, fd: int) -> None:
        self.reactor.watch(fd, select.EPOLLIN, lambda _: self.readable(fd))

    def datagram(self, _: int = 0) -> None:
        while True:
            try:
                data, ancillary, _, peer = self.sock.recvmsg(2048, 256)
            except OSError:
                return
            self.keep(peer, data[:256].decode("utf-8", "replace"))
            # The answer must come from the address that was asked, whichever of ours that is.
            keep = [
                item
                for item in ancillary
                if item[:2] in ((socket.IPPROTO_IP, IP_PKTINFO), (socket.IPPROTO_IPV6, IPV6_PKTINFO))
            ]
            try:
                self.sock.sendmsg([data], keep, 0, peer)
            except OSError:
                pass

    def wake(self) -> None:
        self.waiters = [waiter for waiter in self.waiters if not waiter.check()]

    def report(self) -> "dict[str, Any]":
        return {"records": self.records, "dropped": self.dropped}

    def close(self) -> None:
        self.timer.cancel()
        self.reactor.unwatch(self.sock.fileno())
        self.sock.close()
        for fd, (connection, _) in self.connections.items():
            self.reactor.unwatch(fd)
            connection.close()
        self.connections = {}
        for waiter in self.waiters:
            waiter.give()
        self.waiters = []


class Waiter:
    """A request that is answered when a condition holds or its time is over, whichever is first."""

    def __init__(
        self,
        reactor: "Reactor",
        answer: "Answer",
        wait: float,
        condition: "Callable[[], bool]",
        report: "Callable[[], dict[str, Any]]",
    ) -> None:
        self.answer = answer
        self.condition = condition
        self.report = report
        self.timer = reactor.after(wait, self.give, answer)

    def check(self) -> bool:
        if not self.answer.given and self.condition():
            self.give()
        return self.answer.given

    def give(self) -> None:
        self.timer.cancel()
        self.answer.ok(self.report())


# --------------------------------------------------------------------------------------------------
# Capture


class Filter:
    """Which packets a capture keeps: one protocol, two address sets, ports; both directions.

    An ICMP error that quotes such a packet is kept too.
    """

    def __init__(self, params: "Params") -> None:
        self.protocol = params.choice("protocol", ("tcp", "udp", "icmp"), REQUIRED)
        self.local = self.addresses(params, "local")
        self.remote = self.addresses(params, "remote")
        ports = params.array("ports", [], 64)
        for port in ports:
            if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
                raise params.bad("ports", "a list of ports")
        if ports and self.protocol == "icmp":
            raise params.bad("ports", "none for icmp")
        self.ports = frozenset(ports)
        self.nonce = params.text("nonce", None, 200)
        params.done()
        self.numbers = {"tcp": (TCP,), "udp": (UDP,), "icmp": (ICMP, ICMP6)}[self.protocol]

    @staticmethod
    def addresses(params: "Params", name: str) -> "frozenset[str] | None":
        values = params.texts(name, None)
        if values is None:
            return None
        try:
            return frozenset(socket.inet_ntop(family_of(value), packed(value)) for value in values)
        except (OSError, ValueError):
            raise params.bad(name, "a list of IP addresses") from None

    def between(self, src: str, dst: str) -> bool:
        def side(one: str, other: str) -> bool:
            return (self.local is None or one in self.local) and (self.remote is None or other in self.remote)

        return side(src, dst) or side(dst, src)

    def matches(self, number: int, src: str, dst: str, sport: "int | None", dport: "int | None") -> bool:
        if number not in self.numbers or not self.between(src, dst):
            return False
        return not self.ports or sport in self.ports or dport in self.ports

    def program(self, interface: "int | None") -> bytes:
        """The same, roughly, as a classic BPF program: spares this process a busy VM's traffic."""
        ret, ld, ldh, ldb, jeq, jset, ldx, ldh_x = 0x06, 0x20, 0x28, 0x30, 0x15, 0x45, 0xB1, 0x48
        ports = sorted(self.ports)
        code: "list[Any]" = []
        if interface is not None:
            code += [(ld, 0xFFFFF008, None, None), (jeq, interface, None, "drop")]  # SKF_AD_IFINDEX
        code += [
            (ld, 0xFFFFF000, None, None),  # SKF_AD_PROTOCOL
            (jeq, ETH_P_ARP, "keep", None),
            (jeq, ETH_P_IPV6, "v6", None),
            (jeq, ETH_P_IP, None, "drop"),
            (ldb, 9, None, None),
            (jeq, ICMP, "keep", None),
            (jeq, self.numbers[0], None, "drop"),
            (ldh, 6, None, None),
            (jset, 0x1FFF, "drop", None),  # a later fragment has no ports
            (ldx, 0, None, None),
        ]
        for offset in (0, 2) if ports else ():
            code.append((ldh_x, offset, None, None))
            code += [(jeq, port, "keep", None) for port in ports]
        code.append((ret, 0 if ports else 0xFFFF, None, None))
        code += ["v6", (ldb, 6, None, None)]
        code += [(jeq, number, "keep", None) for number in V6_EXTENSIONS + (ICMP6,)]
        code += [(jeq, self.numbers[0], "ports6", "drop"), "ports6"]
        for offset in (40, 42) if ports else ():
            code.append((ldh, offset, None, None))
            code += [(jeq, port, "keep", None) for port in ports]
        code.append((ret, 0 if ports else 0xFFFF, None, None))
        code += ["keep", (ret, 0xFFFF, None, None), "drop", (ret, 0, None, None)]
        return assemble(code)


def assemble(code: "list[Any]") -> bytes:
    """Instructions (opcode, k, label if true, label if false) and labels, as struct sock_filter."""
    labels: "dict[str, int]" = {}
    rows: "list[Any]" = []
    for item in code:
        if isinstance(item, str):
            labels[item] = len(rows)
        else:
            rows.append(item)
    out = b""
    for here, (opcode, k, true, false) in enumerate(rows):
        jumps = [labels[label] - here - 1 if label is not None else 0 for label in (true, false)]
        out += struct.pack("=HBBI", opcode, jumps[0], jumps[1], k)
    return out


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
        sock = self.agent.idle_packet_sockets.pop() if self.agent.idle_packet_sockets else None
        if sock is None:
            sock = packet_socket(socket.SOCK_DGRAM, ETH_P_ALL)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        attach(sock, self.filter.program(index))
        sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)  # reading sets the counters to zero
        return sock

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
            moment = time.time()
            for level, number, value in ancillary:
                if level == socket.SOL_SOCKET and number == SO_TIMESTAMPNS and len(value) >= 16:
                    seconds, nanoseconds = struct.unpack_from("=qq", value)
                    moment = seconds + nanoseconds / 1e9
            self.keep(packet, {"time": round(moment, 6), "interface": name, "direction": direction})
        self.wake()

    def wanted(self, packet: "dict[str, Any]") -> bool:
        quoted = packet.get("quoted")
        one = quoted if quoted is not None else packet
        return self.filter.matches(one["number"], one["src"], one["dst"], one.get("sport"), one.get("dport"))

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
        return {"records": self.records, "dropped": self.dropped + self.kernel_drops()}

    def kernel_drops(self) -> int:
        try:
            lost = struct.unpack("=II", self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        except (OSError, ValueError):
            return 0
        self.dropped += int(lost)  # reading resets the kernel's counter
        return 0

    def close(self) -> None:
        self.timer.cancel()
        self.reactor.unwatch(self.sock.fileno())
        for waiter in self.waiters:
            waiter.give()
        for control in list(self.controls):
            control.give()
        self.waiters = []
        # To close a packet socket takes the kernel 10 to 20 ms (it waits for all readers), during
        # which this process could do nothing else. So it is kept, deaf, for the next capture.
        attach(self.sock, assemble([(0x06, 0, None, None)]))
        try:
            while True:
                self.sock.recv(1)
        except OSError:
            pass
        self.agent.idle_packet_sockets.append(self.sock)


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


# --------------------------------------------------------------------------------------------------
# Decoding packets


def decode(ethertype: int, data: bytes) -> "dict[str, Any] | None":
    """One IP packet as record fields, or None where it is none of TCP, UDP, ICMP."""
    try:
        outer = ip_header(data) if ethertype in (ETH_P_IP, ETH_P_IPV6) else None
        if outer is None:
            return None
        number, src, dst, ttl, rest = outer
        packet: "dict[str, Any]" = {"number": number, "src": src, "dst": dst, "ttl": ttl}
        if number == TCP:
            sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", rest)
            packet.update(sport=sport, dport=dport, seq=seq, ack=ack, flags=flag_text(flags), protocol="tcp")
            packet["payload"] = rest[(offset >> 4) * 4 :]
        elif number == UDP:
            sport, dport, length = struct.unpack_from("!HHH", rest)
            packet.update(
                sport=sport, dport=dport, length=max(0, length - 8), protocol="udp", payload=rest[8:]
            )
        elif number == (ICMP if ethertype == ETH_P_IP else ICMP6):
            kind, code, _, ident, sequence = struct.unpack_from("!BBHHH", rest)
            packet.update(icmp_type=kind, icmp_code=code, protocol="icmp", version=4 if number == ICMP else 6)
            if kind in ((8, 0) if number == ICMP else (128, 129)):
                packet.update(ident=ident, sequence=sequence)
                packet["payload"] = rest[8:]
            elif kind in ((3, 5, 11, 12) if number == ICMP else (1, 2, 3, 4)):
                packet["quoted"] = decode_quoted(rest[8:])
                if packet["quoted"] is None:
                    return None
        else:
            return None
        return packet
    except (struct.error, IndexError, ValueError):
        return None


def decode_quoted(data: bytes) -> "dict[str, Any] | None":
    """The start of the packet that an ICMP error quotes."""
    inner = ip_header(data)
    if inner is None:
        return None
    number, src, dst, _, rest = inner
    quoted: "dict[str, Any]" = {"number": number, "src": src, "dst": dst}
    if number in (TCP, UDP):
        quoted["sport"], quoted["dport"] = struct.unpack_from("!HH", rest)
        quoted["protocol"] = "tcp" if number == TCP else "udp"
    elif number in (ICMP, ICMP6):
        quoted["ident"], quoted["sequence"] = struct.unpack_from("!HH", rest, 4)
        quoted["protocol"] = "icmp"
    else:
        return None
    return quoted


def ip_header(data: bytes) -> "tuple[int, str, str, int, bytes] | None":
    """Protocol, source, destination, TTL and the rest; None for a later fragment."""
    if data[0] >> 4 == 4:
        if struct.unpack_from("!H", data, 6)[0] & 0x1FFF:
            return None
        src, dst = (
            socket.inet_ntop(socket.AF_INET, data[12:16]),
            socket.inet_ntop(socket.AF_INET, data[16:20]),
        )
        return data[9], src, dst, data[8], data[(data[0] & 0xF) * 4 :]
    if data[0] >> 4 != 6:
        return None
    src, dst = socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])
    number, rest = data[6], data[40:]
    while number in V6_EXTENSIONS:
        if number == 44:
            if struct.unpack_from("!H", rest, 2)[0] & 0xFFF8:
                return None
            number, rest = rest[0], rest[8:]
        else:
            number, rest = rest[0], rest[(rest[1] + 1) * 8 :]
    return number, src, dst, data[7], rest


def flag_text(flags: int) -> str:
    """TCP flags as tcpdump writes them: S for SYN, ``S.`` for SYN-ACK."""
    return "".join(letter for bit, letter in enumerate("FSRP.UEW") if flags & (1 << bit))


# --------------------------------------------------------------------------------------------------
# Positive control of a capture


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


def default_gateway(family: int, interface: "str | None") -> "tuple[str, str]":
    """Address and interface of the default route (of ``interface``, where one is given)."""
    if family == 4:
        with open("/proc/net/route") as table:
            for line in list(table)[1:]:
                words = line.split()
                if (
                    words[1] == words[7] == "00000000"
                    and words[2] != "00000000"
                    and interface in (None, words[0])
                ):
                    return socket.inet_ntop(socket.AF_INET, struct.pack("=I", int(words[2], 16))), words[0]
    else:
        with open("/proc/net/ipv6_route") as table:
            for line in table:
                words = line.split()
                if words[0] == "0" * 32 and words[1] == "00" and words[4] != "0" * 32 and words[9] != "lo":
                    if interface in (None, words[9]):
                        return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[4])), words[9]
    raise OpError(
        "not-found", "no IPv%d default gateway%s" % (family, " on " + interface if interface else "")
    )


def route_to(address: str, source: "str | None") -> "dict[str, Any]":
    """How this guest would send to ``address``: interface, gateway, source (asked by netlink)."""
    family = family_of(address)

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", len(value) + 4, kind) + value

    raw = packed(address)
    body = struct.pack("=BBBBBBBBI", family, len(raw) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(1, raw)
    if source is not None:
        body = body[:2] + struct.pack("=B", len(raw) * 8) + body[3:] + attribute(2, packed(source))
    scope = address.partition("%")[2]
    if scope:
        body += attribute(4, struct.pack("=I", sockaddr(address, 0)[3]))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(2.0)
        sock.send(struct.pack("=IHHII", 16 + len(body), 26, 1, 1, 0) + body)
        data = sock.recv(65536)
    if struct.unpack_from("=H", data, 4)[0] == 2:
        number = -struct.unpack_from("=i", data, 16)[0]
        raise OpError("no-route", "no route to %s: %s" % (address, errno_name(number)))
    found: "dict[int, bytes]" = {}
    at, end = 28, struct.unpack_from("=I", data)[0]
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    index = struct.unpack("=I", found[4])[0] if 4 in found else 0
    result: "dict[str, Any]" = {"local": data[16 + 7] == 2}
    try:
        result["interface"] = socket.if_indextoname(index)
    except OSError:
        raise OpError("no-route", "no route to %s" % address) from None
    if 5 in found:
        result["gateway"] = socket.inet_ntop(family, found[5])
    if source is not None or 7 in found:
        result["source"] = source if source is not None else socket.inet_ntop(family, found[7])
    else:
        # IPv6 leaves the choice of the source to the socket.
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect(sockaddr(address, 9))
                result["source"] = plain(sock.getsockname()[0])
            except OSError as error:
                raise OpError("no-route", "no route to %s: %s" % (address, errno_name(error.errno))) from None
    return result


# --------------------------------------------------------------------------------------------------
# Commands


def search_path() -> str:
    have = os.environ.get("PATH", "").split(":")
    return ":".join([one for one in have if one] + [one for one in PATH.split(":") if one not in have])


def which(name: str) -> "str | None":
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    for directory in search_path().split(":"):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


class Command:
    """A child process: its output up to a limit, its end, killed with all its children at its time-out."""

    def __init__(
        self,
        agent: "Agent",
        argv: "list[str]",
        timeout: float,
        limit: int,
        stdin: "bytes | None",
        done: "Callable[[dict[str, Any]], None]",
        owner: "Answer",
    ) -> None:
        import subprocess

        if which(argv[0]) is None:
            raise OpError("not-found", "no command '%s' on this machine" % argv[0])
        self.agent = agent
        self.reactor = agent.reactor
        self.limit = limit
        self.done = done
        self.owner = owner
        self.truncated = self.timed_out = self.ended = False
        environment = dict(os.environ, PATH=search_path(), LANG="C.UTF-8", LC_ALL="C")
        environment.pop("LANGUAGE", None)
        t0 = time.perf_counter()
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            kind = {errno.ENOENT: "not-found", errno.EACCES: "permission"}.get(error.errno or 0, "failed")
            raise OpError(kind, "cannot run '%s': %s" % (argv[0], errno_name(error.errno))) from None
        self.t0 = t0
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output: "dict[int, list[bytes]]" = {}
        self.order = (self.process.stdout.fileno(), self.process.stderr.fileno())
        self.open = set(self.order)
        for fd in self.order:
            self.output[fd] = []
            os.set_blocking(fd, False)
            self.watch(fd)
        self.pending = stdin or b""
        if self.process.stdin is not None:
            os.set_blocking(self.process.stdin.fileno(), False)
            self.reactor.watch(self.process.stdin.fileno(), select.EPOLLOUT, lambda _: self.writable(), owner)
        self.timer = self.reactor.after(timeout, self.expire, owner)
        agent.children[self.process.pid] = self

    def readable(self, fd: int) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            room = self.limit - sum(len(part) for part in self.output[fd])
            if len(data) > room:
                self.truncated = True
            if room > 0:
                self.output[fd].append(data[:room])
            return
        self.shut(fd)
        self.settle()

    def watch(self, fd: int) -> None:
        self.reactor.watch(fd, select.EPOLLIN, lambda _: self.readable(fd), self.owner)

    def shut(self, fd: int) -> None:
        if fd in self.open:
            self.open.discard(fd)
            self.reactor.unwatch(fd)

    def writable(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        try:
            if self.pending:
                self.pending = self.pending[os.write(stdin.fileno(), self.pending) :]
        except BlockingIOError:
            return
        except OSError:
            self.pending = b""
        if not self.pending:
            self.reactor.unwatch(stdin.fileno())
            stdin.close()

    def reap(self) -> None:
        if self.process.poll() is not None:
            self.settle()

    def settle(self) -> None:
        """Done when the process has ended and its output is closed, or a moment after its end.

        A child left in the background may hold the output open for ever.
        """
        if self.ended or self.process.poll() is None:
            return
        if self.open:
            self.reactor.after(0.1, self.finish, self.owner)
        else:
            self.finish()

    def expire(self) -> None:
        self.timed_out = True
        self.kill()
        self.finish()

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass

    def finish(self) -> None:
        if self.ended:
            return
        self.ended = True
        self.timer.cancel()
        for fd in list(self.open):
            self.shut(fd)
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.reactor.unwatch(self.process.stdin.fileno())
            self.process.stdin.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.process.wait()
        self.agent.children.pop(self.process.pid, None)
        texts = [b"".join(self.output[fd]).decode("utf-8", "replace") for fd in self.order]
        self.done(
            {
                "exit_code": self.process.returncode,
                "stdout": texts[0],
                "stderr": texts[1],
                "truncated": self.truncated,
                "timed_out": self.timed_out,
                "ms": round((time.perf_counter() - self.t0) * 1000, 3),
            }
        )


# --------------------------------------------------------------------------------------------------
# The agent


class Agent:
    """Reads requests, starts operations, writes answers."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.buffer = bytearray()
        self.skipping = False
        self.outgoing: "deque[memoryview]" = deque()
        self.handles: "dict[int, Any]" = {}
        self.last_handle = 0
        self.children: "dict[int, Command]" = {}
        self.idle_packet_sockets: "list[socket.socket]" = []
        self.packet_sender: "socket.socket | None" = None
        self.operations: "dict[str, Callable[[Params, Answer], Any]]" = {
            "hello": self.hello,
            "tcp": lambda params, answer: TcpBatch(self, answer, params),
            "udp": lambda params, answer: UdpBatch(self, answer, params),
            "icmp": lambda params, answer: Ping(self, answer, params),
            "route": self.route,
            "listen": lambda params, answer: self.open_handle(Listener, params, answer),
            "listener_report": self.listener_report,
            "close": self.close,
            "capture": lambda params, answer: self.open_handle(Capture, params, answer),
            "capture_control": lambda params, answer: Control(self, answer, params),
            "capture_read": self.capture_read,
            "capture_stop": self.capture_stop,
            "run": self.run,
            "read": self.read,
            "quit": self.quit,
        }

    # the stream

    def serve(self, token: str) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            except (OSError, ValueError):
                pass
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self.leave)
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write.fileno())
        self.reactor.watch(wake_read.fileno(), select.EPOLLIN, lambda _: self.child_ended(wake_read))
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self.reactor.watch(0, select.EPOLLIN, lambda _: self.readable())
        # A line of its own, whatever a profile left on the line before.
        self.write(("\nazreach-agent-ready %d %s\n" % (PROTOCOL, token)).encode("ascii"))
        try:
            self.reactor.run()
        finally:
            for command in list(self.children.values()):
                command.kill()

    def leave(self, *_: object) -> None:
        self.reactor.running = False
        raise SystemExit(0)

    def child_ended(self, wake: "socket.socket") -> None:
        try:
            while wake.recv(4096):
                pass
        except BlockingIOError:
            pass
        for command in list(self.children.values()):
            command.reap()

    def readable(self) -> None:
        try:
            data = os.read(0, 262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.reactor.running = False
            return
        self.buffer += data
        while True:
            end = self.buffer.find(b"\n")
            if end < 0:
                break
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            if self.skipping:
                self.skipping = False
            elif line.strip():
                self.dispatch(line)
        if len(self.buffer) > MAX_LINE:
            if not self.skipping:
                Answer(self, None).fail("bad-request", "a line longer than %d bytes" % MAX_LINE)
            self.skipping = True
            self.buffer = bytearray()

    def dispatch(self, line: bytes) -> None:
        try:
            request = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            Answer(self, None).fail("bad-request", "not a JSON document: %s" % str(error)[:200])
            return
        number = request.get("id") if isinstance(request, dict) else None
        if isinstance(number, bool) or not isinstance(number, int):
            Answer(self, None).fail("bad-request", "expected an object with a whole number 'id'")
            return
        answer = Answer(self, number)
        params = {name: value for name, value in request.items() if name not in ("id", "op")}
        operation = request.get("op")
        start = self.operations.get(operation) if isinstance(operation, str) else None
        if start is None:
            answer.fail("unknown-op", "no operation %s" % json.dumps(operation)[:100])
            return
        self.reactor.call(answer, start, Params(params), answer)

    def send(self, document: "dict[str, Any]") -> None:
        self.write(json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n")

    def write(self, data: bytes) -> None:
        self.outgoing.append(memoryview(data))
        if len(self.outgoing) == 1:
            self.flush()

    def flush(self) -> None:
        try:
            while self.outgoing:
                sent = os.write(1, self.outgoing[0][:1048576])
                if sent == len(self.outgoing[0]):
                    self.outgoing.popleft()
                else:
                    self.outgoing[0] = self.outgoing[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.reactor.running = False
            return
        if self.outgoing and 1 not in self.reactor.watched:
            self.reactor.watch(1, select.EPOLLOUT, lambda _: self.flush())
        elif not self.outgoing:
            self.reactor.unwatch(1)

    # handles

    def open_handle(self, kind: "Any", params: "Params", answer: "Answer") -> None:
        self.last_handle += 1
        thing = kind(self, self.last_handle, params)
        self.handles[self.last_handle] = thing
        answer.ok(thing.describe())

    def handle(self, number: int, kind: "Any") -> "Any":
        thing = self.handles.get(number)
        if not isinstance(thing, kind):
            raise OpError(
                "not-found",
                "no %s with handle %d (closed, or its lease is over)" % (kind.__name__.lower(), number),
            )
        return thing

    def release(self, number: int) -> None:
        thing = self.handles.pop(number, None)
        if thing is not None:
            thing.close()

    # operations

    def hello(self, params: "Params", answer: "Answer") -> None:
        tools = params.texts("tools", list(TOOLS), 100)
        params.done()
        effective = 0
        try:
            with open("/proc/self/status") as status:
                for line in status:
                    if line.startswith("CapEff:"):
                        effective = int(line.split()[1], 16)
        except OSError:
            pass
        answer.ok(
            {
                "protocol": PROTOCOL,
                "python": "%d.%d.%d" % sys.version_info[:3],
                "platform": "linux",
                "kernel": os.uname().release,
                "hostname": socket.gethostname(),
                "pid": os.getpid(),
                "uid": os.getuid(),
                "euid": os.geteuid(),
                "capabilities": [name for bit, name in sorted(CAPABILITIES.items()) if effective >> bit & 1],
                "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                "clock": time.time(),
                "tools": {name: which(name) for name in tools},
            }
        )

    def route(self, params: "Params", answer: "Answer") -> None:
        address = params.address("address", REQUIRED)
        source = params.address("source", None)
        params.done()
        if source is not None and family_of(source) != family_of(address):
            raise OpError("bad-request", "'source': not of the target's address family")
        answer.ok(route_to(address, source))

    def listener_report(self, params: "Params", answer: "Answer") -> None:
        number = params.integer("handle", 1, 1 << 53, REQUIRED)
        wait = params.seconds("wait_ms", 0)
        nonce = params.text("nonce", None, 200)
        params.done()
        listener = self.handle(number, Listener)

        def there() -> bool:
            records: "list[dict[str, Any]]" = listener.records
            return any(nonce is None or nonce in str(record.get("nonce", "")) for record in records)

        listener.waiters.append(Waiter(self.reactor, answer, wait, there, listener.report))
        # What has arrived already counts, even if its turn in the loop has not come.
        (listener.acceptable if listener.protocol == "tcp" else listener.datagram)()
        for fd in list(listener.connections):
            listener.readable(fd)
        listener.wake()

    def close(self, params: "Params", answer: "Answer") -> None:
        number = params.integer("handle", 1, 1 << 53, REQUIRED)
        params.done()
        result = self.handle(number, Listener).report()
        self.release(number)
        answer.ok(result)

    def capture_read(self, params: "Params", answer: "Answer") -> None:
        number = params.integer("handle", 1, 1 << 53, REQUIRED)
        wait = params.seconds("wait_ms", 0)
        until_count = params.integer("count", 0, 100000, 0)
        until_nonce = params.flag("nonce")
        params.done()
        capture = self.handle(number, Capture)

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
        capture.waiters.append(Waiter(self.reactor, answer, wait, there, capture.report))
        if not (until_count or until_nonce) and not capture.unsettled:
            capture.waiters[-1].give()
        capture.wake()

    def capture_stop(self, params: "Params", answer: "Answer") -> None:
        number = params.integer("handle", 1, 1 << 53, REQUIRED)
        params.done()
        capture = self.handle(number, Capture)
        capture.drain()
        result = capture.report()
        self.release(number)
        answer.ok(result)

    def run(self, params: "Params", answer: "Answer") -> None:
        argv = params.texts("argv", REQUIRED)
        timeout = params.seconds("timeout_ms", 10000, 86400000)
        limit = params.integer("max_output", 0, 16 << 20, 1 << 20)
        stdin = params.text("stdin", None, 16 << 20)
        params.done()
        if not argv or not argv[0]:
            raise params.bad("argv", "a list of at least one word")
        data = stdin.encode("utf-8", "replace") if stdin is not None else None
        Command(self, argv, timeout, limit, data, answer.ok, answer)

    def read(self, params: "Params", answer: "Answer") -> None:
        path = params.text("path", REQUIRED)
        limit = params.integer("max_bytes", 0, 16 << 20, 1 << 20)
        params.done()
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                parts = []
                left = limit + 1
                while left > 0:
                    part = os.read(fd, left)
                    if not part:
                        break
                    parts.append(part)
                    left -= len(part)
            finally:
                os.close(fd)
        except OSError as error:
            kinds = {errno.ENOENT: "not-found", errno.ENOTDIR: "not-found", errno.EACCES: "permission"}
            kinds[errno.EPERM] = "permission"
            message = "%s: %s" % (path, os.strerror(error.errno or 0))
            raise OpError(kinds.get(error.errno or 0, "failed"), message) from None
        data = b"".join(parts)
        answer.ok({"content": data[:limit].decode("utf-8", "replace"), "truncated": len(data) > limit})

    def quit(self, params: "Params", answer: "Answer") -> None:
        params.done()
        answer.ok({})
        os.set_blocking(1, True)
        self.flush()
        self.reactor.running = False


if __name__ == "azreach_agent":  # the name that the bootstrap gives
    Agent().serve(globals()["TOKEN"])
