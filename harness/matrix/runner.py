"""Asks a matrix: some sources at a time, each at its pace, several portions under way.

One thread per source that is being asked; results come out through one queue, so whoever reads
them needs no locks. A source that cannot be reached, or whose agent dies twice in a row, is given
up with the reason; the others go on. Not for journals, progress or judgement.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from harness.agent.contract import RequestError
from harness.errors import AgentError, AzreachError
from harness.matrix.asking import Addresses, Answers, Portion
from harness.matrix.pace import Pace, chunk_size
from harness.matrix.question import chunks
from harness.model import Flow
from harness.transport.session import Session, Sessions

RATE = 1000.0
PARALLEL = 32
TIMEOUT = 2.0

MAX_FLIGHT = 2000
"""Flows of one source under way at most: every VM has descriptors for so many, or queues them itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``rate``: flows a second of each source; ``parallel``: sources at a time; ``timeout``: seconds."""

    rate: float = RATE
    parallel: int = PARALLEL
    timeout: float = TIMEOUT


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A source that cannot be asked, or not any more: why, and the flows without an answer."""

    source: str
    reason: str
    flows: tuple[Flow, ...]


@dataclass(frozen=True, slots=True)
class _Finished:
    """A source is through. ``error``: what should not have happened."""

    source: str
    error: BaseException | None = None


Event = Answers | Unreachable


class Runner:
    """One run over ``rows`` (source -> its flows)."""

    def __init__(
        self,
        sessions: Sessions,
        rows: Mapping[str, Sequence[Flow]],
        addresses: Addresses,
        limits: Limits,
    ) -> None:
        self._sessions = sessions
        self._rows = {source: flows for source, flows in rows.items() if flows}
        self._addresses = addresses
        self._limits = limits
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event | _Finished] = queue.SimpleQueue()
        self._stop = threading.Event()

    def run(self) -> Generator[Event, None, None]:
        """What comes, as it comes. Closing the iterator (or an exception in it) stops the run."""
        count = min(self._limits.parallel, len(self._rows))
        for source in self._rows:
            self._waiting.put(source)
        # Daemons: a log-in that is under way when the run is given up must not hold the process.
        threads = [
            threading.Thread(target=self._work, name=f"matrix {number}", daemon=True)
            for number in range(count)
        ]
        for thread in threads:
            self._waiting.put(None)
            thread.start()
        left = len(self._rows)
        try:
            while left:
                event = self._events.get()
                if not isinstance(event, _Finished):
                    yield event
                    continue
                if event.error is not None:
                    raise event.error
                left -= 1
        finally:
            # Threads that still wait for answers end when their sessions are closed, which is the caller's.
            self._stop.set()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        while not self._stop.is_set() and (source := self._waiting.get()) is not None:
            try:
                self._ask(source)
            except Exception as error:  # noqa: BLE001 - a bug of ours must not look like a slow network
                self._events.put(_Finished(source, error))
            else:
                self._events.put(_Finished(source))

    def _ask(self, source: str) -> None:
        """All flows of one source; ends its session, so that as many are open as are asked."""
        left = deque(chunks(self._rows[source], chunk_size(self._limits.rate)))
        pace = Pace(self._limits.rate)
        failed_at: int | None = None
        while left and not self._stop.is_set():
            try:
                session = self._sessions.get(source)
                try:
                    self._over(_Source(session, left, pace))
                finally:
                    session.close()
            except AzreachError as error:
                # An agent that died is started anew; one that dies at the same place again is given up.
                again = isinstance(error, AgentError) and not isinstance(error, RequestError)
                if again and failed_at != len(left) and not self._stop.is_set():
                    failed_at = len(left)
                    continue
                if not self._stop.is_set():
                    flows = tuple(flow for portion in left for flow in portion)
                    reason = error.message.removeprefix(f"{source}: ")
                    self._events.put(Unreachable(source, reason, flows))
                return

    def _over(self, source: _Source) -> None:
        """Sends portions at the source's pace and hands on their answers; the others stay in ``left``."""
        try:
            while source.left or source.flight:
                if source.left and source.under_way + len(source.left[0]) <= MAX_FLIGHT:
                    if self._stop.wait(source.pace.delay(len(source.left[0]))):
                        return
                    source.send(self._addresses, self._limits.timeout)
                    while source.flight and source.flight[0].done:
                        self._events.put(source.receive())
                    continue
                self._events.put(source.receive())
        finally:
            source.give_back()


class _Source:
    """A source's session with the portions that wait and those that are under way, in order."""

    def __init__(self, session: Session, left: deque[tuple[Flow, ...]], pace: Pace) -> None:
        self._session = session
        self.left = left
        self.pace = pace
        self.flight: deque[Portion] = deque()

    @property
    def under_way(self) -> int:
        return sum(len(portion.flows) for portion in self.flight)

    def send(self, addresses: Addresses, timeout: float) -> None:
        portion = Portion(self._session, self.left[0], addresses, timeout=timeout)
        self.flight.append(portion)
        self.left.popleft()

    def receive(self) -> Answers:
        answers = self.flight[0].answers()
        self.flight.popleft()
        return answers

    def give_back(self) -> None:
        while self.flight:
            self.left.appendleft(tuple(self.flight.pop().flows))
