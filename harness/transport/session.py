"""The pool of an environment's sessions: opened when first asked for, one per machine, closed together.

A session itself is :class:`harness.transport.resident.Session`. Nothing is global, so every
process (pytest worker) has its own pool.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from harness.agent.client import Agent
from harness.environment import Environment, Ssh
from harness.errors import (
    AgentError,
    AuthenticationError,
    AzreachError,
    HostKeyError,
    InputError,
    TransportError,
)
from harness.transport.resident import Session
from harness.transport.ssh import SshConnection, connect

__all__ = ["Session", "Sessions"]

RETRY_AFTER = 30.0
"""Seconds for which the pool remembers that a machine could not be reached."""

MAX_OPENING = 32


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
                session = Session(
                    name, connection, timeout=machine.ssh.connect_timeout, become=machine.become
                )
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
