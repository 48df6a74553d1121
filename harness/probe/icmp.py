"""ICMP echo probes, seen from the source alone.

Many guests and firewalls drop echo requests, so silence says little about TCP or UDP. Not for
evidence from both ends (:mod:`harness.probe.observe`).
"""

from __future__ import annotations

from harness.agent.client import Agent
from harness.agent.contract import EchoResult
from harness.probe.result import Attempt, ProbeResult, describe, summarize

TIMEOUT = 2.0


def probe_icmp(
    source: Agent,
    address: str,
    *,
    source_address: str | None = None,
    timeout: float = TIMEOUT,
    count: int = 1,
    size: int = 56,
) -> ProbeResult:
    """Sends ``count`` echo requests, one after the other, each waited for at most ``timeout`` seconds."""
    return result_of_echo(
        source.icmp(address, count=count, timeout=timeout, size=size, source=source_address)
    )


def result_of_echo(echo: EchoResult) -> ProbeResult:
    """An agent's echo attempts as one result; ``method`` says how they were sent."""
    # The identifier stands where TCP and UDP have a port: it tells this probe's packets from others.
    local = (echo.local, echo.ident or 0) if echo.local else None
    tries = [
        Attempt(
            attempt.outcome,
            attempt.started,
            attempt.rtt_ms,
            describe(attempt.outcome, errno=attempt.errno, icmp=attempt.icmp, detail=attempt.detail),
            local,
            attempt.icmp,
        )
        for attempt in echo.attempts
    ]
    return summarize(tries, method=echo.method)
