"""TCP connect probes, seen from the source alone.

``connected`` means that the handshake completed, not that the application behind it works.
Not for evidence from both ends (:mod:`harness.probe.observe`).
"""

from __future__ import annotations

from harness.agent.client import Agent
from harness.agent.contract import TcpTarget
from harness.probe.result import Attempt, ProbeResult, attempt_of_tcp, attempts_of, summarize

TIMEOUT = 2.0


def probe_tcp(
    source: Agent,
    address: str,
    port: int,
    *,
    source_address: str | None = None,
    timeout: float = TIMEOUT,
    count: int = 1,
    retries: int = 0,
    hold: float = 0.0,
    nonce: str | None = None,
) -> ProbeResult:
    """Connects from ``source`` to ``address``:``port``; times in seconds.

    ``hold`` keeps the connection open so long, to see a late reset; ``nonce`` is sent after the
    handshake, for a listener of ours to see.
    """
    target = TcpTarget(address, port, source=source_address, nonce=nonce)

    def once() -> Attempt:
        return attempt_of_tcp(source.tcp([target], timeout=timeout, hold=hold)[0])

    return summarize(attempts_of(once, count=count, retries=retries))
