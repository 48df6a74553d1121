"""Environments and results that the matrix' tests share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from harness.environment import Environment
from harness.matrix.question import Ask, Question
from harness.matrix.result import FlowResult, MatrixResult
from harness.model import Flow, Outcome, Protocol

NAMES = ("web-01", "web-02", "db-01")


def environment(
    names: Iterable[str] = NAMES,
    flows: Sequence[dict[str, Any]] = (),
    services: dict[str, list[dict[str, Any]]] | None = None,
) -> Environment:
    machines = {
        name: {"ssh": {"host": "h", "user": "u"}, "services": (services or {}).get(name, [])}
        for name in names
    }
    return Environment.model_validate({"machines": machines, "flows": list(flows)})


def tcp(*ports: int) -> tuple[Ask, ...]:
    return tuple(Ask(Protocol.TCP, port) for port in ports)


def result(flow: Flow, outcome: Outcome = Outcome.CONNECTED, detail: str = "") -> FlowResult:
    rtt = 0.25 if outcome.success else None
    return FlowResult(flow, "10.0.0.4", outcome, 1_700_000_000.5, rtt, detail)


def matrix(question: Question, outcomes: dict[Flow, Outcome]) -> MatrixResult:
    """Flows that are not in ``outcomes`` could not be asked."""
    results = {flow: result(flow, outcome) for flow, outcome in outcomes.items()}
    unasked = {flow: "no way" for flow in question.flows() if flow not in results}
    return MatrixResult(question, results, unasked)


def _flow(source: str, target: str, ask: tuple[Protocol, int | None], family: int | None) -> Flow:
    return Flow(source, target, *ask, family)


# surrogates cannot come out of a UTF-8 file
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PORTS = st.tuples(st.sampled_from((Protocol.TCP, Protocol.UDP)), st.integers(1, 65535))
FLOWS = st.builds(
    _flow,
    TEXTS.filter(bool),
    TEXTS.filter(bool),
    st.one_of(PORTS, st.just((Protocol.ICMP, None))),
    st.sampled_from((None, 4, 6)),
)
FINITE = st.floats(0, 4e9, allow_nan=False)
RESULTS = st.builds(
    FlowResult,
    FLOWS,
    st.sampled_from(("10.0.0.4", "fd00::4")),
    st.sampled_from(Outcome),
    FINITE,
    st.one_of(st.none(), FINITE),
    TEXTS,
)
