"""ICMP echo: by a ping socket, a raw socket or the ping tool."""

import os
import select
import socket
import struct
import time

from harness.agent.linux.command import Command
from harness.agent.linux.hello import which
from harness.agent.linux.neterror import ask_for_errors, outcome_of_error, queued_error
from harness.agent.linux.request import REQUIRED, without_nulls
from harness.agent.linux.words import (
    ICMP,
    ICMP6,
    IP_RECVTTL,
    IP_TTL,
    IPV6_HOPLIMIT,
    IPV6_RECVHOPLIMIT,
    OpError,
    errno_name,
    family_of,
    plain,
    sockaddr,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from harness.agent.linux.agent import Agent
    from harness.agent.linux.reactor import Timer
    from harness.agent.linux.request import Answer, Params


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    total += total >> 16
    return 0xFFFF - (total & 0xFFFF)


def echo_request(v6: bool, ident: int, sequence: int, body: bytes) -> bytes:
    head = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, ident, sequence & 0xFFFF)
    if not v6:  # for IPv6 the kernel computes the checksum, since it covers the addresses
        head = head[:2] + struct.pack("!H", checksum(head + body)) + head[4:]
    return head + body


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
        data = echo_request(self.v6, self.ident, sequence, body)
        self.started = time.time()
        self.t0 = time.perf_counter()
        self.timer = self.reactor.after(
            self.timeout, lambda: self.record({"outcome": "timeout"}), self.answer
        )
        try:
            self.sock.send(data)
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
