"""The lines under the heat table: totals, what could not be asked, what contradicts the environment file.

Also the exit status, since it says the same in one number. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from harness.matrix.expectation import Agreement, Comparison, Judged
from harness.matrix.result import MatrixResult
from harness.model import Outcome
from harness.text import plain

ALL_WELL, NOT_ALL, CANNOT_TELL = 0, 1, 3

MAX_LISTED = 40
"""Lines of one kind at most; the CSV and the JSON document have all."""


def exit_status(matrix: MatrixResult, comparison: Comparison | None) -> int:
    """0: every flow got through, or is as declared. 3: some could not be asked, or nothing worse
    than unconfirmed came of them. 1: anything else."""
    if matrix.unasked:
        return CANNOT_TELL
    if comparison is not None:
        if comparison.with_agreement(Agreement.CONTRADICTS):
            return NOT_ALL
        return CANNOT_TELL if comparison.with_agreement(Agreement.UNDECIDED) else ALL_WELL
    failed = {outcome for outcome in matrix.totals() if not outcome.success}
    if not failed:
        return ALL_WELL
    return CANNOT_TELL if failed == {Outcome.UNCONFIRMED} else NOT_ALL


def summary_lines(matrix: MatrixResult, comparison: Comparison | None, seconds: float) -> list[str]:
    """What a reader wants to know after the table. Safe to print anywhere."""
    return [plain(line) for line in _lines(matrix, comparison, seconds)]


def _lines(matrix: MatrixResult, comparison: Comparison | None, seconds: float) -> Iterator[str]:
    totals = [f"{count:,} {outcome}" for outcome, count in matrix.totals().items()]
    if matrix.unasked:
        totals.append(f"{len(matrix.unasked):,} not asked")
    yield f"{matrix.question.count:,} flows in {seconds:.1f} s: {', '.join(totals)}"
    yield from _unasked(matrix)
    if comparison is not None:
        yield from _comparison(comparison)


def _unasked(matrix: MatrixResult) -> Iterator[str]:
    """Reasons that the table does not show: those of single flows."""
    reasons = Counter(
        reason
        for flow, reason in matrix.unasked.items()
        if flow.source not in matrix.unreachable or not reason.startswith("unreachable: ")
    )
    yield from _listed([f"not asked ({count:,}): {reason}" for reason, count in reasons.items()])


def _comparison(comparison: Comparison) -> Iterator[str]:
    agree = len(comparison.with_agreement(Agreement.AGREES))
    contradictions = comparison.with_agreement(Agreement.CONTRADICTS)
    undecided = comparison.with_agreement(Agreement.UNDECIDED)
    rest = f", {comparison.unasked:,} not asked" if comparison.unasked else ""
    yield (
        f"declared flows: {agree:,} as expected, {len(contradictions):,} contradicted, "
        f"{len(undecided):,} undecided{rest}; {comparison.undeclared:,} asked flows are not declared"
    )
    yield from _listed([f"contradicted  {_told(item)}" for item in contradictions])
    yield from _listed([f"undecided     {_told(item)}" for item in undecided])


def _told(item: Judged) -> str:
    because = f" because {item.expected.because}" if item.expected.because else ""
    return f"{item.expected.flow}: expect {item.expected.expect}{because}, {item.result.outcome}: {item.why}"


def _listed(lines: list[str]) -> Iterator[str]:
    yield from lines[:MAX_LISTED]
    if len(lines) > MAX_LISTED:
        yield f"... and {len(lines) - MAX_LISTED:,} more; --csv or --json has them all"
