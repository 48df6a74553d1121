"""What a matrix found: one result per flow, what could not be asked and why, and the cells that sum it up.

Pure. Not for showing it (:mod:`harness.matrix.table`, :mod:`harness.matrix.document`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.matrix.question import Question
from harness.model import Flow, Outcome


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One flow as its source saw it. ``started`` is the source's clock, seconds since the epoch."""

    flow: Flow
    address: str
    outcome: Outcome
    started: float
    rtt_ms: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MatrixResult:
    """Everything that is known at the end.

    ``unreachable``: sources that could not be asked (for all, or for the rest of their flows), and
    why. ``unasked``: the reason of every single flow without a result.
    """

    question: Question
    results: Mapping[Flow, FlowResult]
    unasked: Mapping[Flow, str] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)

    def totals(self) -> dict[Outcome, int]:
        """How many flows came to which outcome, in the order of the outcomes' definition."""
        counted = Counter(result.outcome for result in self.results.values())
        return {outcome: counted[outcome] for outcome in Outcome if counted[outcome]}

    def cells(self) -> dict[tuple[str, str], Mark]:
        """(source, target) -> what the pair's flows have in common; pairs without a flow are not in it."""
        outcomes: dict[tuple[str, str], list[Outcome | None]] = {}
        for flow in self.question.flows():
            found = self.results.get(flow)
            pair = outcomes.setdefault((flow.source, flow.target), [])
            pair.append(found.outcome if found is not None else None)
        return {pair: mark(of_pair) for pair, of_pair in outcomes.items()}


class Mark(StrEnum):
    """What a cell says of all flows of a pair."""

    OPEN = "all open"
    SOME = "some open"
    REFUSED = "refused"
    """None open, and at least one was answered with a reset or a port unreachable."""
    SILENT = "silent"
    UNCONFIRMED = "unconfirmed"
    """Datagrams only: sent, and nobody could say whether they arrived."""
    ERROR = "error"
    """An ICMP error, no route, or an error of the source itself."""
    UNASKED = "not asked"


_REFUSED = {Outcome.REFUSED, Outcome.RESET}
_SILENT = {Outcome.TIMEOUT, Outcome.UNCONFIRMED}


def mark(outcomes: Iterable[Outcome | None]) -> Mark:
    """The cell of these outcomes; None is a flow that could not be asked, and counts only where all are."""
    known = [outcome for outcome in outcomes if outcome is not None]
    if not known:
        return Mark.UNASKED
    if all(outcome.success for outcome in known):
        return Mark.OPEN
    if any(outcome.success for outcome in known):
        return Mark.SOME
    if _REFUSED & set(known):
        return Mark.REFUSED
    if set(known) == {Outcome.UNCONFIRMED}:
        return Mark.UNCONFIRMED
    return Mark.SILENT if set(known) <= _SILENT else Mark.ERROR
