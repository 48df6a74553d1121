"""Thousands of TCP connects for little: a verdict per target and no more, by forked processes.

What the part ``tcp`` knows of each target costs too much here: an object, two callbacks and a
row of JSON. A shard of the targets is one process with one loop, a deadline queue (all wait
equally long) and arrays of results; the agent itself stays free for other requests.
"""

import array
import base64
import errno
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import time
from collections import deque

from harness.agent.linux.neterror import ask_for_errors, outcome_of_error, queued_error
from harness.agent.linux.reactor import complain
from harness.agent.linux.request import REQUIRED, Params
from harness.agent.linux.tcp import tcp_info
from harness.agent.linux.words import SPARE_FDS, OpError, family_of, plain, sockaddr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from harness.agent.linux.agent import Agent
    from harness.agent.linux.request import Answer

SWEEP_CODES = {
    "connected": "c",
    "refused": "r",
    "reset": "x",
    "timeout": "t",
    "unreachable": "u",
    "prohibited": "p",
    "no-route": "n",
    "bind-error": "b",
}
MAX_SWEEP = 1000000
OPENED_AT_ONCE = 64
SHARD_TARGETS = 500
"""Fewer than this are not worth a process of their own."""


class Sweep:
    """The agent's side: shards out the targets, gathers what they found."""

    def __init__(self, agent: "Agent", answer: "Answer", params: "Params") -> None:
        self.agent = agent
        self.answer = answer
        self.targets = sweep_targets(params)
        self.timeout = params.seconds("timeout_ms", 2000)
        self.retries = params.integer("retries", 0, 10, 0)
        self.rate = params.integer("rate", 1, 10000000, 0)
        free = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FDS)
        cores = len(os.sched_getaffinity(0))
        shards = params.integer("processes", 1, 64, min(cores, 8))
        self.shards = max(1, min(shards, -(-len(self.targets) // SHARD_TARGETS)))
        wanted = params.integer("parallel", 1, 10000000, free * self.shards)
        self.parallel = max(1, min(wanted // self.shards, free))
        params.done()
        self.children: "dict[int, int]" = {}
        self.heard: "dict[int, list[bytes]]" = {}
        self.sockets: "dict[int, socket.socket]" = {}
        self.rows: "dict[int, dict[str, Any]]" = {}
        self.started = time.time()
        self.t0 = time.perf_counter()
        if not self.targets:
            self.give()
            return
        for number in range(self.shards):
            self.fork(number)

    def fork(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self.stop()
            raise OpError("failed", "no process for the probes: %s" % os.strerror(error.errno or 0)) from None
        if pid == 0:
            status = 1
            try:
                shard_process(self, number, theirs)
                status = 0
            except Exception as error:  # noqa: BLE001 - told to the agent, whose exit status it becomes
                complain("a process that probes: %s: %s" % (type(error).__name__, error))
            finally:
                os._exit(status)
        theirs.close()
        ours.setblocking(False)
        self.children[number] = pid
        self.heard[number] = []
        self.sockets[number] = ours
        self.agent.reactor.watch(ours.fileno(), select.EPOLLIN, lambda _: self.readable(number), self.answer)

    def readable(self, number: int) -> None:
        try:
            data = self.sockets[number].recv(1048576)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.heard[number].append(data)
            return
        self.release(number)
        try:
            self.rows[number] = json.loads(b"".join(self.heard.pop(number)).decode("ascii"))
        except ValueError:
            self.stop()
            raise OpError("failed", "a process that probes ended early (killed, out of memory?)") from None
        if len(self.rows) == self.shards:
            self.give()

    def release(self, number: int) -> None:
        sock = self.sockets.pop(number)
        self.agent.reactor.unwatch(sock.fileno())
        sock.close()
        try:
            os.waitpid(self.children.pop(number), 0)
        except OSError:
            pass

    def stop(self) -> None:
        for number in list(self.sockets):
            try:
                os.kill(self.children[number], signal.SIGKILL)
            except OSError:
                pass
            self.release(number)

    def give(self) -> None:
        count = len(self.targets)
        codes = bytearray(count)
        times = array.array("I", [0]) * count
        details: "dict[str, Any]" = {}
        tries: "dict[str, int]" = {}
        for number, row in self.rows.items():
            codes[number :: self.shards] = row["codes"].encode("ascii")
            times[number :: self.shards] = array.array("I", base64.b64decode(row["times"]))
            for index, fields in row["details"]:
                details[str(index * self.shards + number)] = fields
            for index, extra in row["tries"]:
                tries[str(index * self.shards + number)] = extra
        self.answer.ok(
            {
                "outcomes": codes.decode("ascii"),
                "rtt_us": base64.b64encode(struct.pack("<%dI" % count, *times)).decode("ascii"),
                "details": details,
                "tries": tries,
                "started": round(self.started, 6),
                "ms": round((time.perf_counter() - self.t0) * 1000, 3),
                "processes": len(self.rows),
            }
        )


def sweep_targets(params: "Params") -> "list[Any]":
    """Every address of a group with every port of it, group after group."""
    targets: "list[Any]" = []
    for place, row in enumerate(params.array("groups", REQUIRED)):
        where = "groups[%d]" % place
        if not isinstance(row, dict):
            raise params.bad(where, "an object")
        group = Params(row, where + ".")
        addresses, ports = group.texts("addresses", REQUIRED, 65536), group.array("ports", REQUIRED, 65535)
        group.done()
        for port in ports:
            if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
                raise group.bad("ports", "a list of ports")
        if len(targets) + len(addresses) * len(ports) > MAX_SWEEP:
            raise params.bad("groups", "at most %d targets" % MAX_SWEEP)
        for address in addresses:
            Params({"address": address}, where + ".").address("address", REQUIRED)
            family = family_of(address)
            if family == socket.AF_INET6:
                targets += [(family, sockaddr(address, port)) for port in ports]
            else:
                targets += [(family, (address, port)) for port in ports]
    return targets


def shard_process(sweep: "Sweep", number: int, life: "socket.socket") -> None:
    """The forked process. It ends when ``life`` closes: with the agent, whatever ends that."""
    gc.disable()
    signal.set_wakeup_fd(-1)
    for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD):
        signal.signal(one, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    # Whatever else the agent has open stays the agent's: a lease that ends must free its port.
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd > 2 and fd != life.fileno():
            try:
                os.close(fd)
            except OSError:
                pass
    targets = sweep.targets[number :: sweep.shards]
    shard = Shard(targets, sweep.timeout, sweep.retries, sweep.parallel, sweep.rate / float(sweep.shards))
    if shard.run(life.fileno()):
        life.setblocking(True)
        life.sendall(shard.report())


class Shard:
    """One loop over its targets. Names are local and few things are looked up: it runs per packet."""

    def __init__(
        self, targets: "list[Any]", timeout: float, retries: int, parallel: int, rate: float
    ) -> None:
        self.targets = targets
        self.timeout = timeout
        self.retries = retries
        self.parallel = parallel
        self.rate = rate
        self.codes = bytearray(len(targets))
        self.times = array.array("I", [0]) * len(targets)
        self.tries = bytearray(len(targets))
        self.details: "list[Any]" = []
        self.again: "deque[int]" = deque()
        self.active: "dict[int, Any]" = {}
        self.deadlines: "deque[Any]" = deque()
        self.epoll = select.epoll()
        self.next = 0
        self.opened = 0

    def run(self, life: int) -> bool:
        """Whether it came to the end (False: the agent is gone)."""
        poll = self.epoll.poll
        self.epoll.register(life, select.EPOLLIN)
        begun = time.monotonic()
        while True:
            now = time.monotonic()
            left = len(self.targets) - self.next + len(self.again)
            room = min(OPENED_AT_ONCE, self.parallel - len(self.active), left)
            pause = 0.0
            if room > 0 and self.rate:
                room = min(room, int((now - begun) * self.rate) + 1 - self.opened)
                pause = max(0.0, (self.opened + 1) / self.rate - (now - begun)) if room <= 0 else 0.0
            if room > 0:
                self.open(room)
            elif not self.active and not pause:
                return True
            if self.deadlines and self.deadlines[0][0] <= now:
                self.expire(now)
                continue
            wait = 0.0
            if room <= 0:
                wait = pause or 3600.0
                if self.deadlines:
                    wait = min(wait, self.deadlines[0][0] - now + 0.0005)
            for fd, events in poll(wait, 1024):
                if fd == life:
                    return False
                self.ready(fd, events)

    def open(self, room: int) -> None:
        # The class below socket.socket, whose own __init__ and close cost a third of a connect.
        make, kind = socket.SocketType, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        active, register, write = self.active, self.epoll.register, select.EPOLLOUT
        for _ in range(room):
            if self.next < len(self.targets):
                index = self.next
                self.next += 1
            else:
                index = self.again.popleft()
            family, where = self.targets[index]
            try:
                sock = make(family, kind)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not active:
                    self.done(index, outcome_of_error(error.errno or 0, None, True))
                    continue
                self.again.append(index)
                self.parallel = max(1, len(active))
                return
            self.opened += 1
            self.tries[index] += 1
            ask_for_errors(sock, family)
            number = sock.connect_ex(where)
            if number not in (0, errno.EINPROGRESS):
                sock.close()
                self.done(index, outcome_of_error(number, None, True))
                continue
            fd = sock.fileno()
            active[fd] = (sock, index)
            register(fd, write)
            self.deadlines.append((time.monotonic() + self.timeout, fd, index))

    def ready(self, fd: int, events: int) -> None:
        sock, index = self.active.pop(fd)
        if events & (select.EPOLLERR | select.EPOLLHUP):
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            # Most are resets; with an ICMP error in the queue it may be this guest's own rule.
            queued = queued_error(sock, None)
            if number == errno.ECONNREFUSED and queued is None:
                self.codes[index] = 114  # r
            else:
                self.failed(index, sock, number, queued)
        else:
            self.codes[index] = 99  # c
            rtt, sent_again = tcp_info(sock)
            self.times[index] = min(int((rtt or 0.0) * 1000), 0xFFFFFFFF)
            if sent_again:
                self.details.append((index, {"retransmits": sent_again}))
            # A reset leaves no TIME-WAIT behind, which thousands of probes would pile up.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        sock.close()

    def failed(self, index: int, sock: "Any", number: int, queued: "dict[str, Any] | None") -> None:
        try:
            own = plain(sock.getsockname()[0])
        except OSError:
            own = None
        if queued is not None and own is not None and queued["from"] == own:
            queued["local"] = True
        to_self = own is not None and own == self.targets[index][1][0]
        self.done(index, outcome_of_error(number or (queued or {}).get("errno", 0), queued, False, to_self))

    def done(self, index: int, fields: "dict[str, Any]") -> None:
        """A result that is more than its code."""
        outcome = fields.pop("outcome")
        self.codes[index] = ord(SWEEP_CODES.get(outcome, "u"))
        fields = {name: value for name, value in fields.items() if value is not None}
        if fields:
            self.details.append((index, fields))

    def expire(self, now: float) -> None:
        active, deadlines = self.active, self.deadlines
        while deadlines and deadlines[0][0] <= now:
            fd, index = deadlines.popleft()[1:]
            entry = active.get(fd)
            # The number may be another target's socket by now.
            if entry is None or entry[1] != index or self.codes[index]:
                continue
            del active[fd]
            entry[0].close()
            if self.tries[index] <= self.retries:
                self.again.append(index)
            else:
                self.codes[index] = 116  # t

    def report(self) -> bytes:
        return json.dumps(
            {
                "codes": self.codes.decode("ascii"),
                "times": base64.b64encode(self.times.tobytes()).decode("ascii"),
                "details": self.details,
                "tries": [(index, count) for index, count in enumerate(self.tries) if count > 1],
            },
            separators=(",", ":"),
        ).encode("ascii")


LINGER_NONE = struct.pack("ii", 1, 0)
