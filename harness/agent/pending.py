"""What carries requests to an agent, and a request under way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Generic, Protocol, TypeVar

from harness.errors import AgentError

Result = TypeVar("Result")

MARGIN = 8.0
"""Seconds an answer may take beyond the operation's own time, before the agent counts as dead."""


class Requester(Protocol):
    """What carries requests to one machine's agent (:class:`harness.transport.session.Session`)."""

    @property
    def machine(self) -> str: ...

    def request(self, op: str, *, timeout: float = ..., **params: Any) -> dict[str, Any]: ...

    def submit(self, op: str, **params: Any) -> Future[dict[str, Any]]: ...


class Pending(Generic[Result]):
    """A request under way, whose answer can be asked for later."""

    def __init__(
        self,
        machine: str,
        future: Future[dict[str, Any]],
        takes: float,
        finish: Callable[[dict[str, Any]], Result],
    ) -> None:
        self._machine = machine
        self._future = future
        self._takes = takes
        self._finish = finish

    @property
    def done(self) -> bool:
        return self._future.done()

    def wait(self, seconds: float) -> bool:
        """Whether the answer came within ``seconds``."""
        return bool(wait([self._future], seconds).done)

    def result(self) -> Result:
        try:
            return self._finish(self._future.result(self._takes))
        except TimeoutError:
            raise AgentError(self._machine, f"the agent did not answer within {self._takes:.0f} s") from None
