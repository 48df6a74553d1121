"""The table that closes a run: one row per scenario or declared flow.

Reads the properties that tests recorded, since those also come back from xdist's workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.text import plain

_OUTCOMES = {"passed": "ok", "failed": "FAILED", "error": "ERROR", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """``seconds`` is the test's own duration."""

    scenario: str
    fault: str
    expected: str
    found: str
    seconds: float
    result: str


def scenario_rows(stats: Mapping[str, Sequence[Any]]) -> list[ScenarioRow]:
    """Rows from a terminal reporter's ``stats``; tests that are no scenario have none."""
    rows = []
    for outcome, shown in _OUTCOMES.items():
        for report in stats.get(outcome, ()):
            known = dict(getattr(report, "user_properties", ()))
            if "azreach.scenario" in known:
                rows.append(
                    ScenarioRow(
                        scenario=str(known["azreach.scenario"]),
                        fault=str(known.get("azreach.fault", "-")),
                        expected=str(known.get("azreach.expected", "-")),
                        found=str(known.get("azreach.found", "-")),
                        seconds=report.duration,
                        result=shown,
                    )
                )
    return sorted(rows, key=lambda row: row.scenario)


def scenario_table(rows: Sequence[ScenarioRow]) -> list[str]:
    """The rows as aligned plain lines, with a heading."""
    heading = ("scenario", "fault", "expected", "found", "time", "")
    cells = [
        heading,
        *(
            (
                plain(r.scenario),
                plain(r.fault),
                plain(r.expected),
                plain(r.found),
                f"{r.seconds:.2f} s",
                r.result,
            )
            for r in rows
        ),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
