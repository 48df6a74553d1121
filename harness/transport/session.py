"""Sessions: one machine, one connection, one resident agent; and the pool of an environment's.

A session multiplexes requests by id, from any number of threads, over the agent's two
streams. An agent that dies, talks garbage or does not answer ends its session with one
AgentError that carries what the machine wrote to standard error; the pool opens a new one
when it is asked again. Nothing is global, so every process (pytest worker) has its own.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from harness.agent import bootstrap
from harness.agent.client import Agent
from harness.agent.contract import refusal
from harness.environment import Environment, Ssh
from harness.errors import (
    AgentError,
    AuthenticationError,
    AzreachError,
    HostKeyError,
    InputError,
    TransportError,
)
from harness.transport.base import Connection, Process, reason
from harness.transport.ssh import SshConnection, connect

MAX_NOISE = 16 << 20
"""Bytes of banners, motd and profile output that are skipped before the agent reports ready."""

MAX_ANSWER = 256 << 20
SEND_TIMEOUT = 15.0
RETRY_AFTER = 30.0
"""Seconds for which the pool remembers that a machine could not be reached."""

MAX_OPENING = 32


class Session:
    """A resident agent on ``machine``. Takes over ``connection`` and closes it."""

    def __init__(
        self, machine: str, connection: Connection, *, timeout: float = 10.0, python: str = "python3"
    ) -> None:
        self._machine = machine
        self._connection = connection
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._pending: dict[int, tuple[str, Future[dict[str, Any]]]] = {}
        self._last_id = 0
        self._failure: tuple[str, str] | None = None
        self._closed = False
        self._ready: Future[None] = Future()
        start = bootstrap.start(python)
        self._marker = start.ready.encode("ascii") + b"\n"
        try:
            self._process: Process = connection.start(start.command)
        except BaseException:
            connection.close()
            raise
        self._reader = threading.Thread(target=self._read, name=f"agent {machine}", daemon=True)
        self._reader.start()
        try:
            self._begin(start.preamble, timeout)
        except BaseException:
            self.close()
            raise
        self.agent = Agent(self)

    @property
    def machine(self) -> str:
        return self._machine

    @property
    def alive(self) -> bool:
        return self._failure is None and not self._closed

    def request(self, op: str, *, timeout: float = 30.0, **params: Any) -> dict[str, Any]:
        """The answer to one request. An agent that does not answer in time is given up for dead."""
        future = self.submit(op, **params)
        try:
            return future.result(timeout)
        except TimeoutError:
            self._fail(f"the agent did not answer '{op}' within {timeout:g} s", _LOST)
            raise self._dead() from None

    def submit(self, op: str, **params: Any) -> Future[dict[str, Any]]:
        """Sends one request; the future holds its answer, RequestError, or AgentError."""
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            if not self.alive:
                raise self._dead()
            self._last_id += 1
            number = self._last_id
            self._pending[number] = (op, future)
        line = json.dumps({"id": number, "op": op, **params}, separators=(",", ":")).encode("utf-8") + b"\n"
        try:
            with self._sending:
                self._process.send(line, SEND_TIMEOUT)
        except (OSError, ValueError) as error:
            self._fail_with_status(f"the agent takes no requests: {reason(error)}")
        return future

    def close(self) -> None:
        """Ends the agent (its input closes) and the connection."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._process.close()
        if threading.current_thread() is not self._reader:
            self._reader.join(5.0)
        self._connection.close()
        self._drop_pending()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # start

    def _begin(self, preamble: bytes, timeout: float) -> None:
        with contextlib.suppress(OSError, ValueError):  # the reader finds out why
            self._process.send(preamble, timeout)
        try:
            self._ready.result(timeout)
        except TimeoutError:
            tail = self._process.stderr_tail()
            raise AgentError(
                self._machine,
                f"the agent did not start within {timeout:g} s" + (f": {tail}" if tail else ""),
                hint="does the log-in shell wait for input, or is the machine overloaded?",
            ) from None

    def _why_not_started(self) -> AgentError:
        status = self._process.exit_status(2.0)
        tail = self._process.stderr_tail()
        if status == 127 and "python3" in tail:
            return AgentError(
                self._machine,
                "there is no python3 on the machine (or not in its PATH)",
                hint="install it (apt-get install python3, dnf install python3); any from 3.6 on will do",
            )
        ended = f"ended with status {status}" if status is not None else "ended"
        return AgentError(
            self._machine, f"the agent {ended} before it was ready" + (f": {tail}" if tail else "")
        )

    # reading

    def _read(self) -> None:
        buffer = bytearray()
        started = False
        while True:
            try:
                data = self._process.receive()
            except Exception as error:  # noqa: BLE001 - whatever the transport raises, the session is over
                self._fail(f"the connection broke: {reason(error)}", _LOST)
                break
            if not data:
                break
            buffer += data
            if not started:
                started = self._skip_noise(buffer)
                if not started:
                    continue
            if not self._take_lines(buffer):
                return
        if not started and not self._ready.done():
            self._ready.set_exception(self._why_not_started())
        self._fail_with_status("the agent died")

    def _skip_noise(self, buffer: bytearray) -> bool:
        """Whether the agent is ready; what login banners and profiles wrote before is dropped."""
        at = buffer.find(self._marker)
        if at >= 0:
            del buffer[: at + len(self._marker)]
            self._ready.set_result(None)
            return True
        if len(buffer) > MAX_NOISE and not self._ready.done():
            self._ready.set_exception(
                AgentError(
                    self._machine, f"the log-in wrote more than {MAX_NOISE >> 20} MB before the agent started"
                )
            )
        if len(buffer) > 2 * MAX_NOISE:
            del buffer[: -len(self._marker)]
        return False

    def _take_lines(self, buffer: bytearray) -> bool:
        """Serves every complete line; False when the agent is out of protocol."""
        end = buffer.rfind(b"\n")
        if end < 0 and len(buffer) <= MAX_ANSWER:
            return True
        lines = bytes(buffer[:end]).split(b"\n") if end >= 0 else [b"a line without end"]
        del buffer[: end + 1]
        for line in lines:
            if line.strip() and not self._take(line):
                shown = line[:200].decode("utf-8", "replace")
                self._fail(f"the agent's output is out of protocol: {shown!r}", _GARBAGE)
                return False
        return True

    def _take(self, line: bytes) -> bool:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            return False
        number = answer.get("id")
        if not isinstance(number, int):
            return False
        with self._lock:
            waiting = self._pending.pop(number, None)
        if waiting is None:
            return True
        op, future = waiting
        if answer["ok"]:
            result = answer.get("result")
            if not isinstance(result, dict):
                with self._lock:
                    self._pending[number] = waiting
                return False
            future.set_result(result)
        else:
            future.set_exception(refusal(answer.get("error"), machine=self._machine, op=op))
        return True

    # failure

    def _fail_with_status(self, what: str) -> None:
        status = self._process.exit_status(0.5) if not self._closed else None
        self._fail(what + (f" (status {status})" if status is not None else ""), _LOST)

    def _fail(self, what: str, hint: str) -> None:
        with self._lock:
            if self._failure is None and not self._closed:
                tail = self._process.stderr_tail()
                self._failure = (what + (f"; it wrote: {tail}" if tail else ""), hint)
        self._drop_pending()
        self._process.close()

    def _drop_pending(self) -> None:
        with self._lock:
            waiting = list(self._pending.values())
            self._pending.clear()
        for _, future in waiting:
            future.set_exception(self._dead())

    def _dead(self) -> AgentError:
        what, hint = self._failure or ("the session is closed", "")
        return AgentError(self._machine, what, hint=hint)


_LOST = "has the machine stopped or rebooted, or does a rule now block the management connection?"
_GARBAGE = "something else on the machine writes to the agent's output"


class Sessions:
    """The sessions of one environment: opened when first asked for, one per machine, closed together."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._sessions: dict[str, Session] = {}
        self._jumps: dict[str, SshConnection] = {}
        self._failures: dict[str, tuple[float, AzreachError]] = {}
        self._closed = False

    @property
    def environment(self) -> Environment:
        return self._environment

    def agent(self, name: str) -> Agent:
        """The agent of the machine ``name``; see :meth:`get`."""
        return self.get(name).agent

    def get(self, name: str) -> Session:
        """The session of the machine ``name``, opened if need be; a dead one is replaced.

        A refused log-in or host key is remembered for good, an unreachable machine for
        half a minute, so that many flows to it cost one time-out (:meth:`forget` ends both).
        """
        machine = self._environment.machine(name)
        with self._lock_of(name):
            session = self._sessions.get(name)
            if session is not None and session.alive:
                return session
            if session is not None:
                session.close()
            self._raise_remembered(name)
            try:
                connection = self._connect(name, machine.ssh, (name,))
                session = Session(name, connection, timeout=machine.ssh.connect_timeout)
            except (TransportError, AgentError) as error:
                self._failures[name] = (time.monotonic(), error)
                raise
            with self._lock:
                if not self._closed:
                    self._sessions[name] = session
                    return session
            session.close()
            raise InputError("the sessions of this environment are closed")

    def open_many(self, names: Iterable[str]) -> dict[str, Session | AzreachError]:
        """Opens many at the same time; an error stands in the place of a session that failed."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}

        def attempt(name: str) -> Session | AzreachError:
            try:
                return self.get(name)
            except AzreachError as error:
                return error

        with ThreadPoolExecutor(min(MAX_OPENING, len(wanted)), thread_name_prefix="open") as pool:
            return dict(zip(wanted, pool.map(attempt, wanted), strict=True))

    def forget(self, name: str) -> None:
        """Tries the machine anew when it is next asked for, whatever happened before."""
        with self._lock_of(name):
            self._failures.pop(name, None)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            sessions, jumps = list(self._sessions.values()), list(self._jumps.values())
            self._sessions.clear()
            self._jumps.clear()
        if sessions:
            with ThreadPoolExecutor(min(MAX_OPENING, len(sessions)), thread_name_prefix="close") as pool:
                list(pool.map(Session.close, sessions))
        for connection in jumps:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock_of(self, name: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())

    def _raise_remembered(self, name: str) -> None:
        when, error = self._failures.get(name, (0.0, None))
        if error is None:
            return
        if isinstance(error, AuthenticationError | HostKeyError) or time.monotonic() - when < RETRY_AFTER:
            raise error.with_traceback(None)
        del self._failures[name]

    def _connect(self, name: str, ssh: Ssh, path: tuple[str, ...]) -> SshConnection:
        return connect(name, ssh, via=self._jump(name, ssh, path) if ssh.jump is not None else None)

    def _jump(self, name: str, ssh: Ssh, path: tuple[str, ...]) -> SshConnection:
        """The connection to a jump host, shared by every machine behind it."""
        jump = ssh.jump
        assert jump is not None
        if jump in path:
            raise InputError(f"{name}: the jump hosts form a circle: {' -> '.join((*path, jump))}")
        with self._lock_of(f"jump {jump}"):
            connection = self._jumps.get(jump)
            if connection is not None and connection.alive:
                return connection
            try:
                connection = self._connect(jump, self._jump_login(name, ssh, jump), (*path, jump))
            except TransportError as error:
                raise type(error)(name, f"jump host {error.message}", hint=error.hint) from error
            self._jumps[jump] = connection
            return connection

    def _jump_login(self, name: str, ssh: Ssh, jump: str) -> Ssh:
        """The log-in of a jump host: another machine's, or user@host[:port] with this machine's keys."""
        if jump in self._environment.machines:
            return self._environment.machines[jump].ssh
        user, at, rest = jump.rpartition("@")
        host, colon, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
        if not colon or (":" in host and not host.startswith("[")):
            host, port = rest, "22"
        if not at or not user or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise InputError(
                f"machines.{name}.ssh.jump: '{jump}' is neither a machine of this file nor user@host[:port]"
            )
        changes = {
            "host": host.strip("[]"),
            "port": int(port),
            "user": user,
            "jump": None,
            "host_key_alias": None,
        }
        return ssh.model_copy(update=changes)
