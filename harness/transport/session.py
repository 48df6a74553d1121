"""The pool of an environment's sessions: opened when first asked for, one per machine, closed together.

A session itself is :class:`harness.transport.resident.Session`. Nothing is global, so every
process (pytest worker) has its own pool.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from harness.agent.client import Agent
from harness.environment import Environment
from harness.errors import AgentError, AzreachError, InputError, TransportError
from harness.transport.failures import Failures, short
from harness.transport.jumps import Hop, way
from harness.transport.resident import Session
from harness.transport.ssh import SshConnection, connect

__all__ = ["Session", "Sessions"]

MAX_OPENING = 32


class Sessions:
    """The sessions of one environment: opened when first asked for, one per machine, closed together."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._sessions: dict[str, Session] = {}
        self._jumps: dict[Hop, SshConnection] = {}
        self._failures = Failures()
        self._closed = False

    @property
    def environment(self) -> Environment:
        return self._environment

    def agent(self, name: str) -> Agent:
        """The agent of the machine ``name``; see :meth:`get`."""
        return self.get(name).agent

    def get(self, name: str) -> Session:
        """The session of the machine ``name``, opened if need be; a dead one is replaced.

        A refused log-in or host key, the machine's or a jump host's, is remembered for good; any
        other failure answers everybody who asked before it was found, and makes later attempts
        short ones for half a minute (:mod:`harness.transport.failures`; :meth:`forget` ends both).
        """
        return self._get(name, time.monotonic())

    def open_many(self, names: Iterable[str]) -> dict[str, Session | AzreachError]:
        """Opens many at the same time; an error stands in the place of a session that failed."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        asked = time.monotonic()

        def attempt(name: str) -> Session | AzreachError:
            try:
                return self._get(name, asked)
            except AzreachError as error:
                return error

        with ThreadPoolExecutor(min(MAX_OPENING, len(wanted)), thread_name_prefix="open") as pool:
            return dict(zip(wanted, pool.map(attempt, wanted), strict=True))

    def forget(self, name: str) -> None:
        """Tries the machine and its jump hosts anew when next asked for, whatever happened before."""
        for key in (name, *way(self._environment, name)):
            with self._lock_of(key):
                self._failures.forget(key)

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

    # Locks: whoever opens a session holds its machine's, and besides it that of one log-in at a
    # time, never two. So nobody can wait in a circle, whatever the jump hosts look like.

    def _lock_of(self, key: Hashable) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())

    def _get(self, name: str, asked: float) -> Session:
        machine = self._environment.machine(name)
        with self._lock_of(name):
            session = self._sessions.get(name)
            if session is not None and session.alive:
                return session
            if session is not None:
                session.close()
            *jumps, last = way(self._environment, name)
            hurried = self._failures.hurry(name, asked)
            via = self._through(name, jumps, asked)
            with self._lock_of(last):
                connection = self._log_in(last, via, asked)
            ssh = short(machine.ssh) if hurried else machine.ssh
            try:
                session = Session(name, connection, timeout=ssh.connect_timeout, become=machine.become)
            except (TransportError, AgentError) as error:
                self._failures.remember(name, error, hurried=hurried)
                raise
            self._failures.forget(name)
            with self._lock:
                if not self._closed:
                    self._sessions[name] = session
                    return session
            session.close()
            raise _closed()

    def _through(self, name: str, jumps: Iterable[Hop], asked: float) -> SshConnection | None:
        """The connection to the last of the jump hosts; one error in the name of who is behind them."""
        via: SshConnection | None = None
        for hop in jumps:
            try:
                via = self._jump(hop, via, asked)
            except TransportError as error:
                raise type(error)(name, f"jump host {error.message}", hint=error.hint) from error
        return via

    def _jump(self, hop: Hop, via: SshConnection | None, asked: float) -> SshConnection:
        """The connection to a jump host, shared by every machine behind it."""
        with self._lock_of(hop):
            known = self._jumps.get(hop)
            if known is not None and known.alive:
                return known
            if known is not None:
                known.close()
            connection = self._log_in(hop, via, asked)
            with self._lock:
                if not self._closed:
                    self._jumps[hop] = connection
                    return connection
            connection.close()
            raise _closed()

    def _log_in(self, hop: Hop, via: SshConnection | None, asked: float) -> SshConnection:
        """One log-in, for a machine's own session or as a jump host: a failure is remembered for both."""
        hurried = self._failures.hurry(hop, asked)
        try:
            connection = connect(hop.name, short(hop.ssh) if hurried else hop.ssh, via=via)
        except TransportError as error:
            self._failures.remember(hop, error, hurried=hurried)
            raise
        self._failures.forget(hop)
        return connection


def _closed() -> InputError:
    return InputError("the sessions of this environment are closed")
