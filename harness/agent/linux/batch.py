"""Many TCP or UDP targets at once, each with all that can be known of it."""

import errno
import resource
import socket
import time
from collections import deque

from harness.agent.linux.neterror import ask_for_errors, outcome_of_error, queued_error
from harness.agent.linux.request import REQUIRED, Params, without_nulls
from harness.agent.linux.words import (
    IP_BIND_ADDRESS_NO_PORT,
    SPARE_FDS,
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
    from harness.agent.linux.request import Answer

CONNECTS_PER_TURN = 256


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
