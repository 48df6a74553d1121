"""The doctor's report for people: a table, the problems with their cures, and what steps cannot tell.

On a terminal the table is drawn and coloured; elsewhere the same words stand in aligned lines.
Commands are never cut, so that they can be copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from harness.doctor.model import Check, Cure, MachineReport, Report, Status
from harness.text import plain

if TYPE_CHECKING:
    from rich.console import Console

HEADINGS = {
    Check.REACHABLE: "reach",
    Check.HOST_KEY: "host key",
    Check.LOG_IN: "log-in",
    Check.PYTHON: "python3",
    Check.PRIVILEGE: "root",
    Check.TOOLS: "tools",
    Check.CLOCK: "clock",
    Check.CAPTURES: "capture",
    Check.AZURE: "Azure",
}
_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.UNKNOWN: "dim"}
_WORDS = {Status.WARNING: "warning", Status.FAILED: "FAILED"}
MANY = 6


def print_report(report: Report) -> None:
    """Prints to standard output."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        _draw(console, report)
    else:
        for line in table_lines(report):
            console.print(Text(line))
    for line, style in detail_lines(report):
        console.print(Text(line, style=style))


def _draw(console: Console, report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("machine", *HEADINGS.values()):
        table.add_column(heading, overflow="fold")
    for machine in report.machines:
        cells = [Text(plain(result.short), style=_STYLES[result.status]) for result in machine.checks]
        table.add_row(Text(plain(machine.name), style="bold"), *cells)
    console.print(table, soft_wrap=False)


def table_lines(report: Report) -> list[str]:
    """One line per machine under a heading, in aligned columns."""
    rows = [("machine", *HEADINGS.values())]
    rows += [
        (plain(machine.name), *(plain(result.short) for result in machine.checks))
        for machine in report.machines
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def detail_lines(report: Report) -> Iterator[tuple[str, str]]:
    """Everything below the table, as (line, style)."""
    for problem in report.problems:
        yield "", ""
        yield f"{_WORDS.get(problem.status, '')}: {plain(problem.summary)}", _STYLES[problem.status]
        yield from _cures(problem.cures)
    for machine in report.machines:
        yield from _machine(machine)
    yield from _limits(report)
    yield "", ""
    yield _closing(report), "bold"


def _machine(machine: MachineReport) -> Iterator[tuple[str, str]]:
    if not machine.problems:
        return
    yield "", ""
    yield f"{plain(machine.name)}  {plain(machine.login)}", "bold"
    told: set[tuple[Cure, ...]] = set()
    for result in machine.problems:
        line = f"  {result.check}: {_WORDS[result.status]}: {plain(result.summary)}"
        yield line, _STYLES[result.status]
        if result.cures and result.cures in told:
            yield "    cured by the same as above", ""
        else:
            yield from _cures(result.cures)
        told.add(result.cures)


def _cures(cures: Iterable[Cure]) -> Iterator[tuple[str, str]]:
    for cure in cures:
        yield f"    {plain(cure.where)}: {plain(cure.command)}", ""


def _limits(report: Report) -> Iterator[tuple[str, str]]:
    """The same limit of many machines is one line."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for machine in report.machines:
        for limit in machine.limits:
            step = limit.step.value if limit.step is not None else "every step"
            found.setdefault((step, limit.cannot, limit.why), []).append(machine.name)
    if not found:
        return
    yield "", ""
    yield "what the steps will not be able to tell", "bold"
    for (step, cannot, why), names in sorted(found.items()):
        shown = ", ".join(plain(name) for name in names[:MANY])
        more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
        yield f"  {step}: cannot {plain(cannot)} ({plain(why)}): {shown}{more}", ""


def _closing(report: Report) -> str:
    unusable = sum(not machine.usable for machine in report.machines)
    fine = sum(not machine.problems for machine in report.machines)
    count = len(report.machines)
    machines = f"{count} machine{'s' if count != 1 else ''}"
    return f"{machines}: {fine} fine, {count - fine - unusable} with something missing, {unusable} unusable"
