"""A matrix as data: the JSON document (the models are its schema) and the CSV file.

Not for reading either of them back: a run goes on from its journal.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.matrix.expectation import Agreement, Comparison, Judged
from harness.matrix.result import FlowResult, MatrixResult
from harness.model import Flow
from harness.outfile import writing
from harness.text import plain

NOT_ASKED = "not-asked"
COLUMNS = ("from", "to", "protocol", "port", "outcome", "rtt_ms", "detail", "started")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _FlowKey(_Document):
    source: str = Field(alias="from")
    target: str = Field(alias="to")
    protocol: Literal["tcp", "udp", "icmp"]
    port: int | None
    family: Literal[4, 6] | None


class MatrixFlowDocument(_FlowKey):
    """One flow. ``outcome`` is ``not-asked`` where ``detail`` says why; ``started`` is the source's
    clock in seconds since the epoch."""

    address: str | None
    outcome: str
    reachable: bool | None
    rtt_ms: float | None
    detail: str
    started: float | None


class UnreachableDocument(_Document):
    """A source that could not be asked, and how many of its flows have no result for that."""

    source: str = Field(alias="from")
    reason: str
    flows: int


class JudgedDocument(_FlowKey):
    expect: Literal["allow", "deny"]
    because: str | None
    outcome: str
    why: str


class ExpectationDocument(_Document):
    """``--expect``: how many declarations agree, and which do not."""

    agree: int
    contradictions: list[JudgedDocument]
    undecided: list[JudgedDocument]
    undeclared: int
    unasked: int


class MatrixDocument(_Document):
    """``azreach matrix --json``."""

    sources: list[str]
    targets: list[str]
    totals: dict[str, int]
    not_asked: int
    unreachable: list[UnreachableDocument]
    expectation: ExpectationDocument | None
    flows: list[MatrixFlowDocument]


def matrix_document(matrix: MatrixResult, comparison: Comparison | None = None) -> MatrixDocument:
    """Everything that the run found, flows by source in the order in which they were asked."""
    rows = matrix.question.rows
    return MatrixDocument(
        sources=list(matrix.question.sources),
        targets=list(matrix.question.targets),
        totals={outcome.value: count for outcome, count in matrix.totals().items()},
        not_asked=len(matrix.unasked),
        unreachable=[
            UnreachableDocument.model_validate(
                {
                    "from": source,
                    "reason": reason,
                    "flows": sum(flow in matrix.unasked for flow in rows[source]),
                }
            )
            for source, reason in matrix.unreachable.items()
        ],
        flows=[_flow(flow, matrix) for flow in matrix.question.flows()],
        expectation=_expectation(comparison) if comparison is not None else None,
    )


def to_json(document: MatrixDocument) -> str:
    """The document as text, a line for each flow.

    ASCII only: whatever a name holds, terminals and the reader's encoding are safe from it.
    """
    data = document.model_dump(by_alias=True)
    # json's fast encoder knows no indentation, and there may be a hundred thousand flows
    flows = ",\n  ".join(map(json.dumps, data.pop("flows")))
    head = json.dumps(data, indent=1).removesuffix("\n}")
    return f'{head},\n "flows": [\n  {flows}\n ]\n}}'


def write_csv(path: Path, matrix: MatrixResult) -> None:
    """One line per flow; a file that was there before stays until the new one is whole. Raises InputError."""
    with writing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for flow in matrix.question.flows():
            writer.writerow(_csv_row(flow, matrix.results.get(flow), matrix.unasked))


def _csv_row(flow: Flow, result: FlowResult | None, unasked: Mapping[Flow, str]) -> tuple[object, ...]:
    # control characters would reach whatever terminal shows the file
    key = (plain(flow.source), plain(flow.target), flow.protocol.value, flow.port)
    if result is None:
        return (*key, NOT_ASKED, None, plain(unasked.get(flow, "")), None)
    return (*key, result.outcome.value, result.rtt_ms, plain(result.detail), _moment(result.started))


def _moment(seconds: float) -> str:
    """In RFC 3339's form; as it is where a source's clock is beyond all calendars."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _flow(flow: Flow, matrix: MatrixResult) -> MatrixFlowDocument:
    result = matrix.results.get(flow)
    outcome = result.outcome if result is not None else None
    return MatrixFlowDocument.model_construct(
        source=flow.source,
        target=flow.target,
        protocol=flow.protocol.value,
        port=flow.port,
        family=flow.family,
        address=result.address if result is not None else None,
        outcome=outcome.value if outcome is not None else NOT_ASKED,
        reachable=None if outcome is None or outcome.value == "unconfirmed" else outcome.success,
        rtt_ms=result.rtt_ms if result is not None else None,
        detail=result.detail if result is not None else matrix.unasked.get(flow, ""),
        started=result.started if result is not None else None,
    )


def _expectation(comparison: Comparison) -> ExpectationDocument:
    return ExpectationDocument(
        agree=len(comparison.with_agreement(Agreement.AGREES)),
        contradictions=[_judged(item) for item in comparison.with_agreement(Agreement.CONTRADICTS)],
        undecided=[_judged(item) for item in comparison.with_agreement(Agreement.UNDECIDED)],
        undeclared=comparison.undeclared,
        unasked=comparison.unasked,
    )


def _judged(item: Judged) -> JudgedDocument:
    flow = item.expected.flow
    return JudgedDocument.model_validate(
        {
            "source": flow.source,
            "target": flow.target,
            "protocol": flow.protocol.value,
            "port": flow.port,
            "family": flow.family,
            "expect": item.expected.expect.value,
            "because": item.expected.because,
            "outcome": item.result.outcome.value,
            "why": item.why,
        }
    )
