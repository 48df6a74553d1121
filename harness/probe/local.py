"""The documented telnet test: a connect on the VM itself, to loopback and to its own addresses.

It is the required evidence of the listener step: what answers here but not from outside is
kept back by something in between; what answers on loopback only is bound to loopback only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.agent.client import Agent
from harness.agent.contract import TcpTarget
from harness.model import Outcome
from harness.probe.result import attempt_of_tcp

TIMEOUT = 1.0
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class LocalConnect:
    """One connect on the VM itself."""

    address: str
    outcome: Outcome
    detail: str = ""
    rtt_ms: float | None = None

    @property
    def loopback(self) -> bool:
        return self.address in LOOPBACK


def connect_locally(
    agent: Agent, port: int, own_addresses: Iterable[str], *, timeout: float = TIMEOUT
) -> tuple[LocalConnect, ...]:
    """Connects on the machine to ``port`` of loopback (of each family used) and of its own addresses."""
    own = list(dict.fromkeys(own_addresses))
    families = {":" in address for address in own} or {False}
    addresses = [address for address in LOOPBACK if (":" in address) in families] + own
    results = agent.tcp([TcpTarget(address, port) for address in addresses], timeout=timeout)
    found = []
    for address, result in zip(addresses, results, strict=True):
        attempt = attempt_of_tcp(result)
        found.append(LocalConnect(address, attempt.outcome, attempt.detail, attempt.rtt_ms))
    return tuple(found)
