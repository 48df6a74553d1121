"""Listeners: who came with what, until the lease is over."""

import errno
import select
import socket
import time

from harness.agent.linux.request import REQUIRED, Waiter
from harness.agent.linux.words import (
    IP_PKTINFO,
    IPV6_PKTINFO,
    IPV6_RECVPKTINFO,
    MAX_RECORDS,
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
    from harness.agent.linux.request import Answer, Params


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
            # Short, so that it gets back where something big came by.
            # The answer must come from the address that was asked, whichever of ours that is.
            keep = [
                item
                for item in ancillary
                if item[:2] in ((socket.IPPROTO_IP, IP_PKTINFO), (socket.IPPROTO_IPV6, IPV6_PKTINFO))
            ]
            try:
                self.sock.sendmsg([data[:512]], keep, 0, peer)
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


def listen(agent: "Agent", answer: "Answer", params: "Params") -> None:
    agent.open_handle(Listener, params, answer)


def listener_report(agent: "Agent", answer: "Answer", params: "Params") -> None:
    number = params.integer("handle", 1, 1 << 53, REQUIRED)
    wait = params.seconds("wait_ms", 0)
    nonce = params.text("nonce", None, 200)
    params.done()
    listener = agent.handle(number, Listener)

    def there() -> bool:
        records: "list[dict[str, Any]]" = listener.records
        return any(nonce is None or nonce in str(record.get("nonce", "")) for record in records)

    listener.waiters.append(Waiter(agent.reactor, answer, wait, there, listener.report))
    # What has arrived already counts, even if its turn in the loop has not come.
    (listener.acceptable if listener.protocol == "tcp" else listener.datagram)()
    for fd in list(listener.connections):
        listener.readable(fd)
    listener.wake()


def close_listener(agent: "Agent", answer: "Answer", params: "Params") -> None:
    number = params.integer("handle", 1, 1 << 53, REQUIRED)
    params.done()
    result = agent.handle(number, Listener).report()
    agent.release(number)
    answer.ok(result)
