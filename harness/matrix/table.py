"""The heat table: rows are sources, columns are targets, one character says what a pair's flows came to.

Block characters that need no colour; the columns are numbered, and each number is in front of the
name that it stands for. Plain lines with the style of each part; not for printing them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from harness.matrix.result import Mark, MatrixResult
from harness.text import plain

Part = tuple[str, str]
"""A text and its style."""

BLOCKS = {
    Mark.OPEN: "█",
    Mark.SOME: "▄",
    Mark.REFUSED: "░",
    Mark.SILENT: "·",
    Mark.UNCONFIRMED: "?",
    Mark.ERROR: "!",
    Mark.UNASKED: "-",
}
ASCII = {**BLOCKS, Mark.OPEN: "#", Mark.SOME: "+", Mark.REFUSED: "x", Mark.SILENT: "."}

STYLES = {
    Mark.OPEN: "green",
    Mark.SOME: "yellow",
    Mark.REFUSED: "magenta",
    Mark.SILENT: "red",
    Mark.UNCONFIRMED: "cyan",
    Mark.ERROR: "bold red",
    Mark.UNASKED: "dim",
}
MEANING = {
    Mark.REFUSED: "refused (none open, some answered)",
    Mark.UNCONFIRMED: "unconfirmed (udp)",
    Mark.ERROR: "error or ICMP error",
}

WIDE = 30
"""Up to so many targets a cell is three characters wide, with a gap."""

MAX_NAME = 32


@dataclass(frozen=True, slots=True)
class Look:
    """``width``: columns of the terminal, None for lines of any length."""

    symbols: Mapping[Mark, str]
    width: int | None = None


def look_for(encoding: str | None, width: int | None) -> Look:
    """Block characters where the output can show them."""
    try:
        "".join(BLOCKS.values()).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return Look(ASCII, width)
    return Look(BLOCKS, width)


def table_lines(matrix: MatrixResult, look: Look) -> list[list[Part]]:
    """The table with its legend; wider than the terminal, it goes on in further blocks of columns."""
    question = matrix.question
    numbers = {name: number for number, name in enumerate(question.targets, 1)}
    digits = len(str(len(numbers)))
    cell = 3 if len(numbers) <= WIDE else 1
    labels = {source: _label(source, numbers, digits) for source in question.sources}
    margin = max(map(cell_len, labels.values())) + 1
    room = len(numbers) if look.width is None else max(10, (look.width - margin - 1) // cell)
    cells = matrix.cells()
    lines: list[list[Part]] = []
    for start in range(0, len(question.targets), room):
        targets = question.targets[start : start + room]
        lines += [[(line, "dim")] for line in _heading(targets, numbers, digits, margin, cell)]
        for source in question.sources:
            lines.append(
                [
                    (set_cell_size(labels[source], margin), ""),
                    *_row(source, targets, cells, look, cell),
                    *_note(source, matrix),
                ]
            )
        lines.append([])
    others = [name for name in question.targets if name not in labels]
    if others:
        lines += [[(f"{numbers[name]:>{digits}} {_name(name)}", "")] for name in others] + [[]]
    lines.append(_legend(set(cells.values()), look))
    return lines


def _label(source: str, numbers: Mapping[str, int], digits: int) -> str:
    number = str(numbers.get(source, ""))
    return f"{number:>{digits}} {_name(source)}"


def _name(name: str) -> str:
    text = plain(name)
    return text if cell_len(text) <= MAX_NAME else set_cell_size(text, MAX_NAME - 1) + "~"


def _heading(
    targets: Sequence[str], numbers: Mapping[str, int], digits: int, margin: int, cell: int
) -> Iterator[str]:
    """The columns' numbers: across where there is room, else from top to bottom."""
    if cell > digits:
        yield " " * margin + "".join(f"{numbers[target]:>{cell}}" for target in targets)
        return
    for place in range(digits):
        row = "".join(f"{str(numbers[target]).rjust(digits)[place]:>{cell}}" for target in targets)
        yield (" " * margin + row).rstrip()


def _row(
    source: str, targets: Sequence[str], cells: Mapping[tuple[str, str], Mark], look: Look, cell: int
) -> Iterator[Part]:
    for target in targets:
        mark = cells.get((source, target))
        # a machine to itself, or a target of which nothing was asked
        symbol, style = (look.symbols[mark], STYLES[mark]) if mark is not None else (" ", "")
        yield (symbol * (cell - 1)).rjust(cell) if cell > 1 else symbol, style


def _note(source: str, matrix: MatrixResult) -> list[Part]:
    reason = matrix.unreachable.get(source)
    return [] if reason is None else [(f"  unreachable: {plain(reason)}", "bold red")]


def _legend(used: set[Mark], look: Look) -> list[Part]:
    parts: list[Part] = []
    for mark in Mark:
        if mark in used:
            parts += [
                ("  " if parts else "", ""),
                (look.symbols[mark], STYLES[mark]),
                (f" {MEANING.get(mark, mark.value)}", ""),
            ]
    return parts
