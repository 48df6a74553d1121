"""A listener of ours on a machine, for the length of a probe: it tells network from application.

A change to the machine, so a lease: it must be permitted, it is closed when the ``with`` block
ends whatever happens in it, the agent closes it when its time is over, and it ends with the
agent. Not for what listens on the machine already (:mod:`harness.guest`).
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from harness.agent.client import Agent
from harness.agent.contract import Arrival, ErrorKind, ListenerReport, RequestError
from harness.errors import AgentError, DisruptiveError
from harness.model import Protocol

LEASE = 30.0


class Lease:
    """``with Lease(agent, Protocol.TCP, 1433, allow_disruptive=True) as lease: ...``

    Raises DisruptiveError where it is not permitted, and RequestError of kind ``in-use`` where
    the port is taken. ``address`` None: every address of the machine.
    """

    def __init__(
        self,
        agent: Agent,
        protocol: Protocol,
        port: int = 0,
        *,
        allow_disruptive: bool,
        address: str | None = None,
        lease: float = LEASE,
    ) -> None:
        where = f"{protocol} port {port}" if port else f"a free {protocol} port"
        if not allow_disruptive:
            raise DisruptiveError(
                f"{agent.machine}: a temporary listener on {where} for at most {lease:g} s is not permitted",
                hint="pass --allow-disruptive, or set 'allow_disruptive: true' in the environment file",
            )
        self._agent = agent
        self._protocol = protocol
        self._address = address
        self._wanted_port = port
        self._lease = lease
        self._handle: int | None = None
        self.port = port

    def __enter__(self) -> Self:
        opened = self._agent.listen(
            self._protocol, address=self._address, port=self._wanted_port, lease=self._lease
        )
        self._handle, self.port = opened.handle, opened.port
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An agent that is gone took its listener along; a lease that is over did too.
        with contextlib.suppress(AgentError):
            self.close()

    def arrivals(self, *, wait: float = 0.0, nonce: str | None = None) -> tuple[Arrival, ...]:
        """Who came so far; waits at most ``wait`` seconds for the nonce (without one: for anybody)."""
        if self._handle is None:
            return ()
        return self._agent.listener_report(self._handle, wait=wait, nonce=nonce).records

    def saw(self, nonce: str, *, wait: float = 0.0) -> bool:
        """Whether the nonce was read by the listener."""
        return any(nonce in arrival.nonce for arrival in self.arrivals(wait=wait, nonce=nonce))

    def close(self) -> ListenerReport | None:
        """Closes the listener; its last report, or None where it was closed or its time was over."""
        if self._handle is None:
            return None
        handle, self._handle = self._handle, None
        try:
            return self._agent.close(handle)
        except RequestError as error:
            if error.kind is ErrorKind.NOT_FOUND:
                return None
            raise
