"""Whether a listening process takes its connections: the accept queue, watched for a moment.

The kernel completes handshakes for a process that is stopped or hung; only the queue of
connections that nobody accepts tells. A busy server's queue moves, a stalled one's does not.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from harness.agent.client import Agent
from harness.agent.contract import RequestError
from harness.guest.listeners import SS_COMMAND, Listener, read_listeners
from harness.model import Protocol
from harness.network.model import IPAddress

WATCH = 0.5
"""Seconds for which a queue must not shrink before its process counts as stalled."""

_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Stalled:
    """A socket whose connections wait. ``states`` are its processes' (``name (pid n): state T``)."""

    socket: Listener
    states: tuple[str, ...] = ()

    @property
    def stopped(self) -> bool:
        """Whether a process is stopped by a signal or a debugger; a busy one is only slow."""
        return any(state.endswith(("state T", "state t")) for state in self.states)


def stalled_listener(agent: Agent, address: IPAddress, port: int) -> Stalled | None:
    """The TCP socket that serves ``address`` and ``port`` while its process accepts nothing, else None.

    Returns at once where the queue is empty. Raises AgentError for a dead agent.
    """
    first = _waiting(agent, address, port)
    if first is None:
        return None
    least, until = first.queued, time.monotonic() + WATCH
    while time.monotonic() < until:
        time.sleep(_PAUSE)  # between two looks at a queue that ought to move
        now = _waiting(agent, address, port)
        if now is None or now.queued < least:
            return None
    return Stalled(first, tuple(_state(agent, process) for process in first.processes))


def _waiting(agent: Agent, address: IPAddress, port: int) -> Listener | None:
    result = agent.run(*SS_COMMAND, f"sport = :{port}")
    for socket in read_listeners(result.stdout):
        if (
            socket.protocol is Protocol.TCP
            and socket.port == port
            and socket.serves(address)
            and socket.queued
        ):
            return socket
    return None


def _state(agent: Agent, process: str) -> str:
    pid = re.search(r"pid (\d+)", process)
    try:
        stat = agent.read(f"/proc/{pid.group(1)}/stat").content if pid else ""
    except RequestError:
        stat = ""
    # the name stands in brackets and may itself hold brackets and blanks
    state = stat.rpartition(")")[2].split()[:1]
    return f"{process}: state {state[0]}" if state else process
