"""The JSON document and the CSV file."""

from __future__ import annotations

import csv
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.matrix.document import (
    COLUMNS,
    MatrixDocument,
    matrix_document,
    to_json,
    write_csv,
)
from harness.matrix.question import Question, build_question
from harness.matrix.result import FlowResult, MatrixResult
from harness.model import Outcome
from harness.outfile import check_writable
from tests.harness.matrix.samples import RESULTS, environment, matrix, tcp


def sample() -> MatrixResult:
    question = build_question(environment(), ports=tcp(22))
    outcomes = {flow: Outcome.CONNECTED for flow in question.flows() if flow.source != "db-01"}
    found = matrix(question, outcomes)
    return MatrixResult(question, found.results, found.unasked, {"db-01": "no way"})


def test_json() -> None:
    text = to_json(matrix_document(sample()))
    document = MatrixDocument.model_validate_json(text)
    assert document.totals == {"connected": 4}
    assert document.not_asked == 2
    assert [(row.source, row.reason, row.flows) for row in document.unreachable] == [("db-01", "no way", 2)]
    rows = json.loads(text)["flows"]
    assert rows[0] == {
        "from": "web-01",
        "to": "web-02",
        "protocol": "tcp",
        "port": 22,
        "family": None,
        "address": "10.0.0.4",
        "outcome": "connected",
        "reachable": True,
        "rtt_ms": 0.25,
        "detail": "",
        "started": 1_700_000_000.5,
    }
    assert {(row["outcome"], row["reachable"], row["detail"]) for row in rows if row["from"] == "db-01"} == {
        ("not-asked", None, "no way")
    }


@given(st.lists(RESULTS, max_size=5, unique_by=lambda found: found.flow))
def test_every_document_fits_its_schema_and_is_ascii(results: list[FlowResult]) -> None:
    rows = {
        name: tuple(r.flow for r in results if r.flow.source == name)
        for name in {r.flow.source for r in results}
    }
    found = MatrixResult(Question(tuple(rows), (), rows), {r.flow: r for r in results})
    text = to_json(matrix_document(found))
    assert text.isascii()
    assert len(MatrixDocument.model_validate_json(text).flows) == len(results)


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "flows.csv"
    write_csv(path, sample())
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[1] == [
        "web-01", "web-02", "tcp", "22", "connected", "0.25", "", "2023-11-14T22:13:20.500+00:00",
    ]  # fmt: skip
    assert ["db-01", "web-01", "tcp", "22", "not-asked", "", "no way", ""] in rows
    assert [file.name for file in tmp_path.iterdir()] == ["flows.csv"]


def test_csv_shows_control_characters(tmp_path: Path) -> None:
    question = build_question(environment(["a\x1b[2J", 'b"\n,']), ports=tcp(22))
    write_csv(tmp_path / "flows.csv", matrix(question, {}))
    with (tmp_path / "flows.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == [r"a\x1b[2J", r'b"\x0a,']


def test_csv_into_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_csv(pipe, sample())
    reader.join()
    assert got[0].startswith("from,to,")
    assert pipe.is_fifo()


def test_csv_to_a_standard_output_that_is_a_file(tmp_path: Path) -> None:
    """Others write to it as well: it is continued, not replaced."""
    with (tmp_path / "log").open("w+") as log:
        log.write("before\n")
        log.flush()
        write_csv(Path(f"/dev/fd/{log.fileno()}"), sample())
        log.seek(0)
        assert log.read().startswith("before\nfrom,to,")
    assert [file.name for file in tmp_path.iterdir()] == ["log"]


def test_places_where_no_csv_can_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a directory"):
        check_writable(tmp_path)
    with pytest.raises(InputError, match="there is no directory"):
        check_writable(tmp_path / "no" / "flows.csv")
    check_writable(tmp_path / "flows.csv")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/dev/full: No space left on device"):
        write_csv(Path("/dev/full"), sample())
