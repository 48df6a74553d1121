"""Findings for people: grouped by resource, the most severe first, a count at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from harness.lint.document import counts
from harness.lint.finding import Check, LintFinding, Severity
from harness.lint.wording import count
from harness.network.armids import parent, resource_type
from harness.text import plain

if TYPE_CHECKING:
    from rich.console import Console

Part = tuple[str, str]
"""Text and its style."""

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_CHILD = 2
"""Slashes in the type of a resource that has a parent: provider/kind/kind."""


def print_findings(console: Console, findings: Sequence[LintFinding]) -> None:
    """Lines, not a table: a name or a command is never cut, whatever the width."""
    for parts in lines(findings):
        _line(console, parts)


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    width = max(len(item.id) for item in checks)
    for item in checks:
        severity = (f"{item.severity:<9}", _STYLES[item.severity])
        _line(console, [(f"{item.id:<{width}}  ", "bold"), severity, (item.title, "")])


def lines(findings: Sequence[LintFinding]) -> Iterator[list[Part]]:
    for owner, group in groupby(findings, key=lambda item: _resource(item.object_id)):
        yield [(owner, "bold")]
        for item in group:
            style = _STYLES[item.severity]
            yield [(f"  {item.severity:<9}", style), (f"{item.reason}  ", ""), (f"[{item.check}]", "dim")]
            for command in item.fix:
                yield [("           fix  ", "dim"), (command, "")]
        yield [("", "")]
    numbers = counts(findings)
    if not findings:
        yield [("nothing found", "green")]
        return
    worst = next(severity for severity in Severity if numbers[severity])
    summary = ", ".join(count(number, severity.value) for severity, number in numbers.items() if number)
    objects = len({item.object_id.lower() for item in findings})
    yield [(summary, _STYLES[worst]), (f" at {count(objects, 'object')}", "")]


def _line(console: Console, parts: Sequence[Part]) -> None:
    from rich.text import Text

    console.print(Text.assemble(*((plain(text), style) for text, style in parts)))


def _resource(arm_id: str) -> str:
    """The id of the resource that an object is part of: an NSG for its rules."""
    while (resource_type(arm_id) or "").count("/") >= _CHILD:
        arm_id = parent(arm_id)
    return arm_id
