"""The agent itself: reads requests, starts operations, writes answers. The last part."""

import json
import os
import resource
import select
import signal
import socket
import time
from collections import deque

from harness.agent.linux.reactor import Reactor, complain
from harness.agent.linux.request import Answer, Params
from harness.agent.linux.words import PROTOCOL, OpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from harness.agent.linux.command import Command

    LATE: "dict[str, tuple[tuple[str, ...], str]]" = {}

MAX_LINE = 32 << 20

SILENCE = 900.0
"""Seconds without a request after which the controller is taken for gone: a network that vanished says
nothing, and sshd notices after two hours or never. A controller that lives speaks far more often."""

OPERATIONS = {
    "hello": ("hello", "hello"),
    "tcp": ("tcp", "TcpBatch"),
    "sweep": ("sweep", "Sweep"),
    "udp": ("udp", "UdpBatch"),
    "icmp": ("ping", "Ping"),
    "path_mtu": ("path_mtu", "PathMtu"),
    "route": ("route", "route"),
    "listen": ("listener", "listen"),
    "listener_report": ("listener", "listener_report"),
    "close": ("listener", "close_listener"),
    "capture": ("capture", "start_capture"),
    "capture_control": ("control", "Control"),
    "capture_read": ("capture", "capture_read"),
    "capture_stop": ("capture", "capture_stop"),
    "raw": ("raw", "Raw"),
    "run": ("command", "run_command"),
    "read": ("command", "read_file"),
    "quit": ("agent", "quit_agent"),
}
"""Operation -> the part that does it, and what there is called with (agent, answer, params)."""

LOADED = {"words", "reactor", "request", "agent"}


def load(part: str) -> None:
    """Compiles a part, and those that it imports, when it is first needed: most sessions need few."""
    if part in LOADED:
        return
    needs, text = LATE[part]
    for one in needs:
        load(one)
    exec(compile(text, "<azreach-agent %s>" % part, "exec"), globals())
    LOADED.add(part)


def start_operation(agent: "Agent", answer: "Answer", params: "Params", operation: str) -> None:
    part, name = OPERATIONS[operation]
    load(part)
    globals()[name](agent, answer, params)


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
        self.heard = time.monotonic()

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
        self.end_in_silence()
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

    def end_in_silence(self) -> None:
        left = self.heard + SILENCE - time.monotonic()
        if left > 0:
            self.reactor.after(left, self.end_in_silence)
            return
        complain("no request for %d s: the controller is taken for gone" % SILENCE)
        self.reactor.running = False

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
        self.heard = time.monotonic()
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
        if not isinstance(operation, str) or operation not in OPERATIONS:
            answer.fail("unknown-op", "no operation %s" % json.dumps(operation)[:100])
            return
        self.reactor.call(answer, start_operation, self, answer, Params(params), operation)

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


def quit_agent(agent: "Agent", answer: "Answer", params: "Params") -> None:
    params.done()
    answer.ok({})
    os.set_blocking(1, True)
    agent.flush()
    agent.reactor.running = False


if __name__ == "azreach_agent":  # the name that the bootstrap gives
    Agent().serve(globals()["TOKEN"])
