"""What a probe found: one attempt, and several of them taken together. Pure.

Not for what captures saw (:mod:`harness.probe.observe`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from harness.agent.contract import IcmpError, TcpResult
from harness.model import Outcome


class Proof(StrEnum):
    """How a UDP datagram's delivery is proven, the strongest first."""

    ANSWER = "answer"
    """The service answered."""
    LISTENER = "listener"
    """A listener of ours on the target read the nonce."""
    CAPTURE = "capture"
    """The nonce was seen arriving at the target's interface: the network delivered it. The
    target's own firewall comes after that point, so this says nothing about it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. ``started`` is the source's clock; ``local`` the address and port it used."""

    outcome: Outcome
    started: float
    rtt_ms: float | None = None
    detail: str = ""
    local: tuple[str, int] | None = None
    icmp: IcmpError | None = None
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """All attempts of one probe. ``rtt_ms`` is the best round trip; detail and ICMP are the last failure's.

    Attempts that do not agree on success are ``intermittent``, also when a retry passed.
    """

    outcome: Outcome
    attempts: int
    successes: int
    rtt_ms: float | None
    detail: str
    tries: tuple[Attempt, ...]
    icmp: IcmpError | None = None
    proof: Proof | None = None
    method: str = ""

    @property
    def local(self) -> tuple[str, int] | None:
        """Address and port that the last attempt used at the source."""
        return self.tries[-1].local if self.tries else None


def summarize(tries: Sequence[Attempt], *, method: str = "") -> ProbeResult:
    """One or more attempts as one result."""
    successes = [attempt for attempt in tries if attempt.outcome.success]
    failures = [attempt for attempt in tries if not attempt.outcome.success]
    telling = failures[-1] if failures else tries[-1]
    mixed = bool(successes) and bool(failures)
    times = [attempt.rtt_ms for attempt in tries if attempt.rtt_ms is not None]
    detail = telling.detail
    if mixed:
        detail = f"{len(successes)} of {len(tries)} succeeded; failures: {telling.outcome}"
    return ProbeResult(
        outcome=Outcome.INTERMITTENT if mixed else telling.outcome,
        attempts=len(tries),
        successes=len(successes),
        rtt_ms=min(times, default=None),
        detail=detail,
        tries=tuple(tries),
        icmp=telling.icmp,
        proof=next((attempt.proof for attempt in successes if attempt.proof), None),
        method=method,
    )


@dataclass(frozen=True, slots=True)
class Outage:
    """Failed attempts without a success between them. ``first`` and ``last`` are when they were started."""

    first: float
    last: float
    count: int
    outcomes: tuple[Outcome, ...]


def outages(tries: Sequence[Attempt]) -> tuple[Outage, ...]:
    """When it failed: every run of failed attempts, in their order."""
    found: list[Outage] = []
    for success, run in groupby(tries, key=lambda attempt: attempt.outcome.success):
        if not success:
            row = list(run)
            kinds = tuple(dict.fromkeys(attempt.outcome for attempt in row))
            found.append(Outage(row[0].started, row[-1].started, len(row), kinds))
    return tuple(found)


def attempts_of(once: Callable[[], Attempt], *, count: int, retries: int) -> list[Attempt]:
    """``count`` attempts in any case; while none succeeded, up to ``retries`` more."""
    tries = [once() for _ in range(max(1, count))]
    while retries > 0 and not tries[-1].outcome.success:
        tries.append(once())
        retries -= 1
    return tries


def new_nonce() -> str:
    """A text that no other traffic holds; it stamps one probe."""
    return f"azreach-{secrets.token_hex(8)}"


def describe(
    outcome: str, *, errno: str | None, icmp: IcmpError | None, detail: str | None, retransmits: int = 0
) -> str:
    """The particulars of one attempt in a few words, for people; empty where there are none."""
    parts = []
    if icmp is not None:
        parts.append(f"{icmp}, made by the source itself" if icmp.local else str(icmp))
    elif detail == "local":
        parts.append(f"refused by the source itself ({errno})")
    else:
        parts += [part for part in (errno, detail) if part]
    if retransmits:
        parts.append(f"SYN sent {retransmits + 1} times")
    if not parts and outcome == Outcome.TIMEOUT:
        parts.append("no answer")
    return ", ".join(parts)


def attempt_of_tcp(result: TcpResult) -> Attempt:
    """An agent's TCP result as an attempt."""
    detail = describe(
        result.outcome,
        errno=result.errno,
        icmp=result.icmp,
        detail=result.detail,
        retransmits=result.retransmits,
    )
    return Attempt(result.outcome, result.started, result.rtt_ms, detail, result.local, result.icmp)
