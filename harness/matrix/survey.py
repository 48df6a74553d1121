"""A whole matrix from question to result: what is known already, addresses, the run, the journal.

Not for options and output (:mod:`harness.commands.matrix`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

from harness.environment import Environment
from harness.matrix.addresses import find_addresses
from harness.matrix.asking import Answers
from harness.matrix.journal import Journal
from harness.matrix.question import Question
from harness.matrix.result import FlowResult, MatrixResult
from harness.matrix.runner import Limits, Runner
from harness.model import Flow
from harness.transport.session import Sessions

Advance = Callable[[int], None]
"""Called with how many more flows are settled."""


def survey(
    environment: Environment,
    question: Question,
    journal: Journal,
    limits: Limits,
    advance: Advance = lambda flows: None,  # noqa: ARG005
) -> MatrixResult:
    """Asks every flow that the journal does not have yet, and writes each result into it.

    A result counts only as long as the target has the address that it was taken from. Raises
    JournalError where the journal cannot be written; single sources and targets that fail are
    part of the result.
    """
    wanted = ((flow.target, flow.family) for flow in question.flows())
    with Sessions(environment) as sessions:
        addresses, nowhere = find_addresses(environment, sessions, wanted)
        results = _known(question, journal, addresses)
        unasked = {
            flow: nowhere[flow.target, flow.family]
            for flow in question.flows()
            if (flow.target, flow.family) in nowhere
        }
        unreachable: dict[str, str] = {}
        rows = {
            source: [flow for flow in row if flow not in results and flow not in unasked]
            for source, row in question.rows.items()
        }
        advance(len(results) + len(unasked))
        with closing(Runner(sessions, rows, addresses, limits).run()) as events:
            for event in events:
                if isinstance(event, Answers):
                    journal.append(event.results)
                    results.update((result.flow, result) for result in event.results)
                    unasked.update(event.unasked)
                    advance(len(event.results) + len(event.unasked))
                else:
                    unreachable[event.source] = event.reason
                    unasked.update(dict.fromkeys(event.flows, f"unreachable: {event.reason}"))
                    advance(len(event.flows))
    order = {source: unreachable[source] for source in question.sources if source in unreachable}
    return MatrixResult(question, results, unasked, order)


def _known(
    question: Question, journal: Journal, addresses: Mapping[tuple[str, int | None], str]
) -> dict[Flow, FlowResult]:
    return {
        flow: found
        for flow in question.flows()
        if (found := journal.done.get(flow)) is not None
        and found.address == addresses.get((flow.target, flow.family))
    }
