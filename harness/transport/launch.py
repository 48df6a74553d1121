"""The start of one agent: from the command to its ready line, through a log-in's noise and sudo.

Noise (banners, motd, profiles) is skipped up to the ready line. Where sudo may ask for a
password, it is sent when sudo asks and only then, and the agent's source when the loader says
that it runs. Not for requests (:mod:`harness.transport.resident`).
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future

from harness.agent import bootstrap
from harness.agent.bootstrap import AgentStart
from harness.environment import Become
from harness.errors import AgentError, InputError
from harness.transport.base import Connection, Process
from harness.transport.become import PrivilegeError, unanswered, understand, wrong_password

MAX_NOISE = 16 << 20
"""Bytes of banners, motd and profile output that are skipped before the agent reports ready."""

MAX_ASKING = 1 << 16
"""Bytes of standard error in which sudo's prompt is looked for."""


class Launch:
    """One attempt. A reader thread feeds it what the process writes, until :meth:`feed` is True."""

    def __init__(
        self, machine: str, connection: Connection, *, python: str, become: Become | None, timeout: float
    ) -> None:
        self._machine = machine
        self._become = become
        self._timeout = timeout
        self._password = _password(machine, become)
        self._start: AgentStart = bootstrap.start(
            python,
            become=become.user if become is not None else None,
            password=self._password is not None,
        )
        self._ready: Future[None] = Future()
        self._lock = threading.Lock()
        self._asked = b""
        self._answered = False
        self._preamble_sent = self._start.loader is None
        self.process: Process = connection.start(self._start.command)

    def begin(self) -> None:
        """Sends what the command wants first; to be called when somebody feeds."""
        if self._start.prompt is not None:
            self.process.watch_stderr(self._hear)
        if self._start.loader is None:
            self._send(self._start.preamble)

    def wait(self) -> None:
        """Returns when the agent is ready; raises AgentError or PrivilegeError where it does not get so."""
        try:
            self._ready.result(self._timeout)
        except TimeoutError:
            tail = self.process.stderr_tail()
            if self._become is not None and (refused := unanswered(self._machine, tail)) is not None:
                raise refused from None
            raise AgentError(
                self._machine,
                f"the agent did not start within {self._timeout:g} s" + (f": {tail}" if tail else ""),
                hint="does the log-in shell wait for input, or is the machine overloaded?",
            ) from None

    # the reader's side

    def feed(self, buffer: bytearray) -> bool:
        """Whether the agent is ready; what was written before its ready line is dropped from ``buffer``."""
        if not self._preamble_sent and self._start.loader is not None:
            if not self._skip_to(buffer, self._start.loader):
                return False
            self._preamble_sent = True
            # Not by this thread: it must go on reading while the source is sent.
            threading.Thread(
                target=self._send, args=(self._start.preamble,), name=f"start {self._machine}", daemon=True
            ).start()
        if not self._skip_to(buffer, self._start.ready):
            return False
        self._settle(None)
        return True

    def ended(self) -> None:
        """The process's output is over."""
        if not self._ready.done():
            self._settle(self._why_not())

    def _skip_to(self, buffer: bytearray, line: str) -> bool:
        marker = line.encode("ascii") + b"\n"
        at = buffer.find(marker)
        if at < 0:
            # a pseudo-terminal of sudo's ends lines in its own way
            marker = line.encode("ascii") + b"\r\n"
            at = buffer.find(marker)
        if at >= 0:
            del buffer[: at + len(marker)]
            return True
        if len(buffer) > MAX_NOISE and not self._ready.done():
            text = f"the log-in wrote more than {MAX_NOISE >> 20} MB before the agent started"
            self._settle(AgentError(self._machine, text))
        if len(buffer) > 2 * MAX_NOISE:
            del buffer[: -len(marker)]
        return False

    def _hear(self, data: bytes) -> None:
        """Standard error: sudo asks. A second time means that the first answer was wrong."""
        assert self._start.prompt is not None
        with self._lock:
            if self._preamble_sent or self._ready.done():
                return
            self._asked = (self._asked + data)[-MAX_ASKING:]
            prompt = self._start.prompt.encode("ascii")
            if prompt not in self._asked:
                return
            self._asked = self._asked.partition(prompt)[2]
            again, self._answered = self._answered, True
        if again:
            self._settle(wrong_password(self._machine))
        else:
            self._send(f"{self._password}\n".encode())

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # the reader finds out why
            self.process.send(data, self._timeout)

    def _settle(self, error: Exception | None) -> None:
        with self._lock:
            if self._ready.done():
                return
            if error is None:
                self._ready.set_result(None)
            else:
                self._ready.set_exception(error)

    def _why_not(self) -> AgentError | PrivilegeError:
        status = self.process.exit_status(2.0)
        tail = self.process.stderr_tail()
        if status in (1, 127) and "python3" in tail and "not found" in tail:
            return AgentError(
                self._machine,
                "there is no python3 on the machine (or not in its PATH)",
                hint="install it (apt-get install python3, dnf install python3); any from 3.6 on will do",
            )
        if (
            self._become is not None
            and (refused := understand(self._machine, self._become, tail)) is not None
        ):
            return refused
        ended = f"ended with status {status}" if status is not None else "ended"
        return AgentError(
            self._machine, f"the agent {ended} before it was ready" + (f": {tail}" if tail else "")
        )


def _password(machine: str, become: Become | None) -> str | None:
    if become is None or become.password is None:
        return None
    password = become.password.resolve()
    if not password or "\n" in password or "\0" in password:
        raise InputError(f"{machine}: the password of 'become.password' is empty or has more than one line")
    return password
