"""What the environment file expects of the flows that a matrix asked, and where it is contradicted. Pure.

A matrix sees one end of a flow, so it never proves *why* something is blocked: a denial agrees as
long as nothing speaks against it. Causes are the diagnosis' business (:mod:`harness.diagnosis`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.environment import Expectation, ExpectedFlow
from harness.errors import InputError
from harness.matrix.result import FlowResult, MatrixResult
from harness.model import Cause, Flow, Outcome, Step


class Agreement(StrEnum):
    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Judged:
    """A declared flow that was asked, and what its result says of the declaration."""

    expected: ExpectedFlow
    result: FlowResult
    agreement: Agreement
    why: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """``undeclared``: flows with a result of which the file says nothing; ``unasked``: declared ones
    of this matrix that could not be asked."""

    judged: tuple[Judged, ...]
    undeclared: int
    unasked: int

    def with_agreement(self, agreement: Agreement) -> tuple[Judged, ...]:
        return tuple(item for item in self.judged if item.agreement is agreement)


def expectations(declared: Iterable[ExpectedFlow], asked: Iterable[Flow]) -> dict[Flow, list[ExpectedFlow]]:
    """Which declarations each asked flow has; flows without one are not in it.

    Raises InputError where none has: such a comparison would always be content.
    """
    by_flow: dict[Flow, list[ExpectedFlow]] = {}
    for item in declared:
        by_flow.setdefault(item.flow, []).append(item)
    found: dict[Flow, list[ExpectedFlow]] = {}
    for flow in asked:
        # "no family" and IPv4 are the same first choice, and a declaration without one is for both
        families = {None: (None, 4), 4: (4, None), 6: (6, None)}[flow.family]
        items = [
            item
            for family in families
            for item in by_flow.get(Flow(flow.source, flow.target, flow.protocol, flow.port, family), ())
        ]
        if items:
            found[flow] = items
    if not found:
        raise InputError(
            "--expect: the environment file declares none of the flows that are asked",
            hint="leave --ports out to ask for what is declared, or declare them under 'flows'",
        )
    return found


def compare(expected: Mapping[Flow, list[ExpectedFlow]], matrix: MatrixResult) -> Comparison:
    """Every declaration of an asked flow with its judgement."""
    judged = [
        Judged(item, result, *judge(item, result))
        for flow, items in expected.items()
        if (result := matrix.results.get(flow)) is not None
        for item in items
    ]
    return Comparison(
        tuple(judged),
        undeclared=sum(flow not in expected for flow in matrix.results),
        unasked=sum(flow not in matrix.results for flow in expected),
    )


def judge(expected: ExpectedFlow, result: FlowResult) -> tuple[Agreement, str]:
    """The agreement of one result with its declaration, and why in a few words."""
    outcome = result.outcome
    if expected.expect is Expectation.ALLOW:
        if outcome.success:
            return Agreement.AGREES, ""
        if outcome is Outcome.UNCONFIRMED:
            return Agreement.UNDECIDED, "no answer; nobody could say whether it arrived"
        return Agreement.CONTRADICTS, "it does not get through"
    if outcome.success:
        return Agreement.CONTRADICTS, "it gets through"
    if outcome is Outcome.UNCONFIRMED:
        return Agreement.UNDECIDED, "no answer; nobody could say whether it arrived"
    if outcome in (Outcome.REFUSED, Outcome.RESET):
        return _refusal(expected.because)
    if outcome in (Outcome.TIMEOUT, Outcome.UNREACHABLE, Outcome.PROHIBITED):
        return Agreement.AGREES, ""
    return Agreement.UNDECIDED, "the source itself did not send it"


_CAN_REFUSE = {Step.GUEST_FIREWALL, Step.LISTENER, Step.SHARE}


def _refusal(because: str | None) -> tuple[Agreement, str]:
    """A reset comes from the target's guest: from its firewall, or because nothing listens."""
    if because is None:
        return (
            Agreement.UNDECIDED,
            "the target answered with a refusal: its firewall, or only that nothing listens",
        )
    step = Step(because) if "/" not in because else Cause(because).step
    if step in _CAN_REFUSE:
        return Agreement.AGREES, ""
    return Agreement.CONTRADICTS, f"the target's guest answered, so {because} did not block it"
