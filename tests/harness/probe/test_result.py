"""Several attempts taken together."""

from __future__ import annotations

import pytest

from harness.model import Outcome
from harness.probe.result import Attempt, attempts_of, summarize

GOOD = Attempt(Outcome.CONNECTED, 0.0, 0.5)
FAST = Attempt(Outcome.CONNECTED, 1.0, 0.2)
BAD = Attempt(Outcome.TIMEOUT, 2.0, detail="no answer")


@pytest.mark.parametrize(
    ("tries", "outcome", "successes", "rtt"),
    [
        ([GOOD], Outcome.CONNECTED, 1, 0.5),
        ([GOOD, FAST], Outcome.CONNECTED, 2, 0.2),
        ([BAD, BAD], Outcome.TIMEOUT, 0, None),
        ([BAD, GOOD], Outcome.INTERMITTENT, 1, 0.5),
    ],
)
def test_summarize(tries: list[Attempt], outcome: Outcome, successes: int, rtt: float | None) -> None:
    result = summarize(tries)
    assert (result.outcome, result.attempts, result.successes) == (outcome, len(tries), successes)
    assert result.rtt_ms == rtt


@pytest.mark.parametrize(
    ("answers", "count", "retries", "made"),
    [
        ([BAD, GOOD, BAD], 1, 0, 1),
        ([BAD, GOOD, BAD], 1, 2, 2),
        ([BAD, BAD, BAD], 1, 2, 3),
        ([GOOD, BAD, GOOD], 2, 1, 3),
    ],
)
def test_attempts_of(answers: list[Attempt], count: int, retries: int, made: int) -> None:
    left = iter(answers)
    assert len(attempts_of(lambda: next(left), count=count, retries=retries)) == made
