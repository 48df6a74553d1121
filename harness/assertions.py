"""What a test asserts: ``reach(...)`` and ``blocked(...)``, and the message when it does not hold.

The objects are truth values with a diagnosis behind them. One that cannot tell raises when
it is used as a truth value, so neither ``assert`` nor ``assert not`` passes on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.errors import InconclusiveError, InputError
from harness.model import Cause, Diagnosis, Flow, Protocol, Step, Verdict
from harness.report.message import diagnosis_lines, headline


def flow_between(
    source: str,
    target: str,
    *,
    tcp: int | None = None,
    udp: int | None = None,
    icmp: bool = False,
    family: int | None = None,
) -> Flow:
    """The flow of ``reach("web-01", "db-01", tcp=1433)``; exactly one of the three, else InputError."""
    chosen = [
        name for name, given in (("tcp", tcp is not None), ("udp", udp is not None), ("icmp", icmp)) if given
    ]
    if len(chosen) != 1:
        raise InputError(
            f"{source} -> {target}: give exactly one of tcp=PORT, udp=PORT, icmp=True"
            + (f", not {' and '.join(chosen)}" if chosen else "")
        )
    port: object = tcp if tcp is not None else udp
    if port is None:
        return Flow(source, target, Protocol(chosen[0]), None, family)
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise InputError(f"{source} -> {target}: a port is a number between 1 and 65535, not {port!r}")
    return Flow(source, target, Protocol(chosen[0]), port, family)


def flow_of(source: str | Flow, target: str | None = None, **what: Any) -> Flow:
    """The flow of ``reach(flow)`` or ``reach("web-01", "db-01", tcp=1433)``; raises InputError."""
    if isinstance(source, Flow):
        if target is not None or what:
            raise InputError(f"{source}: a flow is given whole; leave out target, tcp, udp and icmp")
        return source
    if target is None:
        raise InputError(f"{source}: to which target?", hint='write reach("web-01", "db-01", tcp=1433)')
    return flow_between(source, target, **what)


@dataclass(frozen=True)
class Judgement:
    """Whether what was asserted holds, and the diagnosis that says so."""

    claim: str
    diagnosis: Diagnosis
    holds: bool
    on_false: Callable[[Judgement], None] = field(repr=False, compare=False)

    def __bool__(self) -> bool:
        if self.diagnosis.verdict is Verdict.INCONCLUSIVE:
            raise InconclusiveError(self.message)
        if not self.holds:
            self.on_false(self)
        return self.holds

    @property
    def message(self) -> str:
        """The claim and the whole diagnosis."""
        return "\n".join([f"{self.claim} does not hold", *diagnosis_lines(self.diagnosis)])

    def __repr__(self) -> str:
        # short: pytest shows it inside its own explanation of an assertion
        return f"<{self.claim}: {headline(self.diagnosis)}>"[:200]


def is_blocked_by(diagnosis: Diagnosis, by: str | None) -> bool:
    """Whether the flow is blocked, by the step or cause ``by`` if given.

    Without ``by`` a missing listener does not count: it is an absence, not a block.
    """
    if diagnosis.verdict is not Verdict.FAULT or diagnosis.cause is None:
        return False
    if by is None:
        return diagnosis.cause.step is not Step.LISTENER
    return by in (diagnosis.cause.value, diagnosis.cause.step.value)


def check_step_or_cause(by: str | None) -> None:
    """Raises InputError if ``by`` is neither a step nor a cause: a misspelt one would never hold."""
    known = {step.value for step in Step} | {cause.value for cause in Cause}
    if by is not None and by not in known:
        raise InputError(f"by={by!r} is no step and no cause", hint="`azreach causes` lists them")
