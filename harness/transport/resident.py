"""One machine, one connection, one resident agent: a session.

A session multiplexes requests by id, from any number of threads, over the agent's two
streams. An agent that dies, talks garbage or does not answer ends its session with one
AgentError that carries what the machine wrote to standard error; the pool
(:mod:`harness.transport.session`) opens a new one when it is asked again.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from types import TracebackType
from typing import Any, Self

from harness.agent.client import Agent
from harness.agent.contract import refusal
from harness.environment import Become
from harness.errors import AgentError
from harness.transport.base import Connection, Process, reason
from harness.transport.become import PrivilegeError, Refusal
from harness.transport.launch import Launch

MAX_ANSWER = 256 << 20
SEND_TIMEOUT = 15.0
SIGN_OF_LIFE = 4.0
"""Seconds without an answer after which the agent is asked whether it lives, and again to say so."""

KEEP_ALIVE = 240.0
"""Seconds without a request after which the agent is asked something that costs it nothing: one that hears
nothing takes its controller for gone and ends itself (``SILENCE`` in :mod:`harness.agent.linux.agent`),
and an SSH keep-alive ends at sshd."""


class Session:
    """A resident agent on ``machine``. Takes over ``connection`` and closes it."""

    def __init__(
        self,
        machine: str,
        connection: Connection,
        *,
        timeout: float = 10.0,
        python: str = "python3",
        become: Become | None = None,
    ) -> None:
        self._machine = machine
        self._connection = connection
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._pending: dict[int, tuple[str, Future[dict[str, Any]]]] = {}
        self._last_id = 0
        self._said = time.monotonic()
        self._failure: tuple[str, str] | None = None
        self._closed = False
        self._process: Process
        self._reader: threading.Thread | None = None
        self.become_problem: PrivilegeError | None = None
        """Why the agent runs as the log-in user although ``become`` was asked for (``required: false``)."""
        try:
            try:
                self._launch(python, become, timeout)
            except PrivilegeError as error:
                # A wrong password is never passed over: it counts towards the account's lock.
                if become is None or become.required or error.refusal is Refusal.WRONG_PASSWORD:
                    raise
                self.become_problem = error
                self._launch(python, None, timeout)
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
        """The answer to one request.

        An agent that does not answer within ``timeout`` seconds is given up for dead, and so is
        one that gives no sign of life while it is waited for: a connection that a rule has cut
        says nothing, and an operation may rightly take minutes.
        """
        future = self.submit(op, **params)
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if (answer := _within(future, min(SIGN_OF_LIFE, left))) is not None:
                return answer
            if left <= SIGN_OF_LIFE:
                self._fail(f"the agent did not answer '{op}' within {timeout:g} s", _LOST)
                raise self._dead()
            if not self._gives_sign(future):
                self._fail(f"the agent gave no sign of life for {2 * SIGN_OF_LIFE:g} s", _LOST)
                raise self._dead()

    def _gives_sign(self, awaited: Future[dict[str, Any]]) -> bool:
        """Whether the agent answers anything now: what is awaited, or a question that costs it nothing."""
        sign = self.submit("hello", tools=[])
        wait((sign, awaited), SIGN_OF_LIFE, return_when=FIRST_COMPLETED)
        return sign.done() or awaited.done()

    def submit(self, op: str, **params: Any) -> Future[dict[str, Any]]:
        """Sends one request; the future holds its answer, RequestError, or AgentError."""
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            if not self.alive:
                raise self._dead()
            self._last_id += 1
            self._said = time.monotonic()
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
        if self._reader is not None:
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

    def _launch(self, python: str, become: Become | None, timeout: float) -> None:
        launch = Launch(self._machine, self._connection, python=python, become=become, timeout=timeout)
        self._process = launch.process
        self._reader = reader = threading.Thread(
            target=self._read, args=(launch,), name=f"agent {self._machine}", daemon=True
        )
        reader.start()
        try:
            launch.begin()
            launch.wait()
        except BaseException:
            launch.process.close()
            reader.join(5.0)
            raise

    # reading

    def _read(self, launch: Launch) -> None:
        buffer = bytearray()
        started = False
        while True:
            try:
                data = launch.process.receive(KEEP_ALIVE)
            except Exception as error:  # noqa: BLE001 - whatever the transport raises, the session is over
                broken = f"the connection broke: {reason(error)}"
                break
            if started:
                self._keep_alive()
            if data is None:
                continue
            if not data:
                broken = ""
                break
            buffer += data
            if not started:
                started = launch.feed(buffer)
                if not started:
                    continue
            if not self._take_lines(buffer):
                return
        if not started:
            launch.ended()
        elif broken:
            self._fail(broken, _LOST)
        else:
            self._fail_with_status("the agent died")

    def _keep_alive(self) -> None:
        if time.monotonic() - self._said >= KEEP_ALIVE:
            with contextlib.suppress(AgentError):
                self.submit("hello", tools=[])

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


def _within(future: Future[dict[str, Any]], seconds: float) -> dict[str, Any] | None:
    try:
        return future.result(max(0.0, seconds))
    except TimeoutError:
        return None


_LOST = "has the machine stopped or rebooted, or does a rule now block the management connection?"
_GARBAGE = "something else on the machine writes to the agent's output"
