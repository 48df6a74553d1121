"""The heat table: readable with few and with many machines, without colour, whatever the names hold."""

from __future__ import annotations

import pytest

from harness.matrix.question import build_question
from harness.matrix.result import Mark, MatrixResult, mark
from harness.matrix.table import ASCII, BLOCKS, Look, look_for, table_lines
from harness.model import Outcome
from tests.harness.matrix.samples import environment, matrix, tcp

OK, NO, DROP, UDP = Outcome.CONNECTED, Outcome.REFUSED, Outcome.TIMEOUT, Outcome.UNCONFIRMED


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([OK, OK, Outcome.DELIVERED], Mark.OPEN),
        ([OK, None], Mark.OPEN),
        ([OK, NO], Mark.SOME),
        ([OK, UDP], Mark.SOME),
        ([NO, NO], Mark.REFUSED),
        ([NO, DROP], Mark.REFUSED),
        ([Outcome.RESET], Mark.REFUSED),
        ([DROP, DROP], Mark.SILENT),
        ([DROP, UDP], Mark.SILENT),
        ([UDP, UDP], Mark.UNCONFIRMED),
        ([DROP, Outcome.PROHIBITED], Mark.ERROR),
        ([Outcome.NO_ROUTE], Mark.ERROR),
        ([None, None], Mark.UNASKED),
    ],
)
def test_cells(outcomes: list[Outcome | None], expected: Mark) -> None:
    assert mark(outcomes) is expected


WHOLE = Look(BLOCKS)


def text_of(found: MatrixResult, look: Look = WHOLE) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in table_lines(found, look)]


def three() -> MatrixResult:
    question = build_question(environment(), ports=tcp(22, 80))
    outcomes = {}
    for flow in question.flows():
        if flow.target == "db-01":
            outcomes[flow] = NO if flow.port == 22 else OK
        elif flow.source != "db-01":
            outcomes[flow] = OK
        elif flow.target == "web-01":
            outcomes[flow] = DROP
    return matrix(question, outcomes)


def test_few_machines() -> None:
    assert text_of(three()) == [
        "           1  2  3",
        "1 web-01     ██ ▄▄",
        "2 web-02  ██    ▄▄",
        "3 db-01   ·· --",
        "",
        "█ all open  ▄ some open  · silent  - not asked",
    ]


def test_without_block_characters() -> None:
    assert look_for("ascii", None).symbols == look_for(None, None).symbols == ASCII
    assert look_for("utf-8", None).symbols == BLOCKS
    assert len(set(ASCII.values())) == len(set(BLOCKS.values())) == len(Mark)
    lines = text_of(three(), look_for("latin-1", None))
    assert lines[1] == "1 web-01     ## ++"
    assert all(line.isascii() for line in lines)


def hundred() -> MatrixResult:
    question = build_question(environment(f"vm-{n:03}" for n in range(1, 101)), ports=tcp(22))
    return matrix(question, {flow: OK if flow.target < "vm-051" else DROP for flow in question.flows()})


def test_a_hundred_machines_in_one_piece() -> None:
    lines = text_of(hundred())
    assert len(lines) == 3 + 100 + 2
    assert lines[0] == " " * 11 + " " * 99 + "1"
    assert lines[2] == " " * 11 + "1234567890" * 10
    assert lines[3] == "  1 vm-001  " + "█" * 49 + "·" * 50
    assert lines[102] == "100 vm-100 " + "█" * 50 + "·" * 49


def test_a_hundred_machines_in_a_narrow_terminal() -> None:
    lines = text_of(hundred(), Look(BLOCKS, 80))
    assert max(map(len, lines)) < 80
    rows = [line for line in lines if line.startswith("  7 vm-007")]
    assert "".join(row[11:] for row in rows) == "█" * 6 + " " + "█" * 43 + "·" * 50


def test_targets_that_are_no_sources_are_named_below() -> None:
    question = build_question(environment(), sources=["web-*"], targets=["10.9.9.9", "db-01"], ports=tcp(22))
    assert text_of(matrix(question, dict.fromkeys(question.flows(), OK))) == [
        "           1  2",
        "  web-01  ██ ██",
        "  web-02  ██ ██",
        "",
        "1 10.9.9.9",
        "2 db-01",
        "",
        "█ all open",
    ]


def test_an_unreachable_source_says_why_in_its_row() -> None:
    question = build_question(environment(), ports=tcp(22))
    results = matrix(question, {flow: OK for flow in question.flows() if flow.source != "db-01"})
    found = MatrixResult(question, results.results, results.unasked, {"db-01": "no \x1b[31mroute"})
    assert text_of(found)[3] == r"3 db-01   -- --     unreachable: no \x1b[31mroute"


def test_names_stay_text() -> None:
    names = ("a\x1b[2Jb", "c\u202ed", "x" * 80, "[bold]e\r\n")
    question = build_question(environment(names), ports=tcp(22))
    lines = text_of(matrix(question, dict.fromkeys(question.flows(), OK)))
    shown = "\n".join(lines)
    assert all(line.isprintable() for line in lines)
    assert r"1 a\x1b[2Jb" in shown
    assert r"2 c\u202ed" in shown
    assert f"3 {'x' * 31}~" in shown
    assert r"4 [bold]e\x0d\x0a" in shown


def test_wide_characters_keep_the_columns_straight() -> None:
    question = build_question(environment(("数据库", "db")), ports=tcp(22))
    lines = text_of(matrix(question, dict.fromkeys(question.flows(), OK)))
    assert lines[:3] == ["           1  2", "1 数据库     ██", "2 db      ██"]
