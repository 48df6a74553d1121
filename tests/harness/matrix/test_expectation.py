"""What the environment file expects, next to what came."""

from __future__ import annotations

import pytest

from harness.environment import Expectation, ExpectedFlow
from harness.errors import InputError
from harness.matrix.expectation import Agreement, Comparison, compare, expectations, judge
from harness.matrix.question import build_question
from harness.matrix.result import MatrixResult
from harness.matrix.summary import exit_status, summary_lines
from harness.model import Flow, Outcome, Protocol
from tests.harness.matrix.samples import environment, matrix, result, tcp

AGREES, CONTRADICTS, UNDECIDED = Agreement
FLOW = Flow("web-01", "db-01", Protocol.TCP, 1433)


@pytest.mark.parametrize(
    ("expect", "because", "outcome", "agreement"),
    [
        ("allow", None, Outcome.CONNECTED, AGREES),
        ("allow", None, Outcome.DELIVERED, AGREES),
        ("allow", None, Outcome.TIMEOUT, CONTRADICTS),
        ("allow", None, Outcome.REFUSED, CONTRADICTS),
        ("allow", None, Outcome.UNCONFIRMED, UNDECIDED),
        ("deny", None, Outcome.CONNECTED, CONTRADICTS),
        ("deny", "nsg-udr", Outcome.DELIVERED, CONTRADICTS),
        ("deny", None, Outcome.TIMEOUT, AGREES),
        ("deny", "nsg-udr", Outcome.TIMEOUT, AGREES),
        ("deny", None, Outcome.PROHIBITED, AGREES),
        ("deny", None, Outcome.UNCONFIRMED, UNDECIDED),
        ("deny", None, Outcome.NO_ROUTE, UNDECIDED),
        # a missing listener is no denial, and Azure's fabric never refuses: it is silent
        ("deny", None, Outcome.REFUSED, UNDECIDED),
        ("deny", "nsg-udr", Outcome.REFUSED, CONTRADICTS),
        ("deny", "nsg-udr/route-to-none", Outcome.REFUSED, CONTRADICTS),
        ("deny", "guest-firewall", Outcome.REFUSED, AGREES),
        ("deny", "listener/no-process", Outcome.REFUSED, AGREES),
    ],
)
def test_judge(expect: str, because: str | None, outcome: Outcome, agreement: Agreement) -> None:
    expected = ExpectedFlow(flow=FLOW, expect=Expectation(expect), because=because)
    found, why = judge(expected, result(FLOW, outcome))
    assert found is agreement
    assert bool(why) is (agreement is not AGREES)


DECLARED = [
    {"from": "web-*", "to": "db-01", "port": 1433},
    {"from": "web-01", "to": "db-01", "port": 22, "expect": "deny", "because": "nsg-udr"},
    {"from": "web-01", "to": "web-02", "port": 443, "family": 4},
]


def compared(outcomes: dict[tuple[str, str, int], Outcome]) -> tuple[MatrixResult, Comparison]:
    """A matrix where every other flow got through, next to DECLARED."""
    given = environment(flows=DECLARED)
    question = build_question(given, ports=tcp(22, 443, 1433))
    found = matrix(
        question,
        {
            flow: outcomes.get((flow.source, flow.target, flow.port or 0), Outcome.CONNECTED)
            for flow in question.flows()
        },
    )
    return found, compare(expectations(given.expected_flows(), question.flows()), found)


def test_all_as_declared() -> None:
    found, comparison = compared({("web-01", "db-01", 22): Outcome.TIMEOUT})
    assert {item.agreement for item in comparison.judged} == {AGREES}
    assert len(comparison.judged) == 4
    assert comparison.undeclared == 18 - 4
    assert exit_status(found, comparison) == 0
    assert exit_status(found, None) == 1


def test_contradictions_are_listed() -> None:
    found, comparison = compared({("web-02", "db-01", 1433): Outcome.REFUSED})
    assert exit_status(found, comparison) == 1
    lines = summary_lines(found, comparison, 1.0)
    assert lines[0] == "18 flows in 1.0 s: 17 connected, 1 refused"
    assert lines[1].startswith("declared flows: 2 as expected, 2 contradicted, 0 undecided")
    assert "contradicted  web-02 -> db-01:1433/tcp: expect allow, refused: it does not get through" in lines
    assert (
        "contradicted  web-01 -> db-01:22/tcp: expect deny because nsg-udr, connected: it gets through"
        in lines
    )


def test_only_undecided_is_neither() -> None:
    found, comparison = compared(
        {
            ("web-01", "db-01", 22): Outcome.TIMEOUT,
            ("web-01", "db-01", 1433): Outcome.UNCONFIRMED,
        }
    )
    assert exit_status(found, comparison) == 3


def test_a_comparison_with_nothing_would_always_be_content() -> None:
    given = environment(flows=DECLARED)
    question = build_question(given, ports=tcp(9999))
    with pytest.raises(InputError, match="declares none of the flows"):
        expectations(given.expected_flows(), question.flows())


def test_exit_status_without_expectations() -> None:
    question = build_question(environment(), ports=tcp(22))
    flows = list(question.flows())
    well = dict.fromkeys(flows, Outcome.CONNECTED)
    assert exit_status(matrix(question, well), None) == 0
    assert exit_status(matrix(question, well | {flows[0]: Outcome.TIMEOUT}), None) == 1
    assert exit_status(matrix(question, well | {flows[0]: Outcome.UNCONFIRMED}), None) == 3
    assert exit_status(matrix(question, dict.fromkeys(flows[1:], Outcome.TIMEOUT)), None) == 3
