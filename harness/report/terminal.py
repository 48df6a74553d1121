"""A diagnosis on the terminal: colours where there is one, the same plain lines where there is none."""

from __future__ import annotations

from harness.model import Diagnosis, Verdict
from harness.report.message import diagnosis_lines

_STYLES = {Verdict.HEALTHY: "bold green", Verdict.FAULT: "bold red", Verdict.INCONCLUSIVE: "bold yellow"}


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Prints to standard output; lines are never cut."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for number, line in enumerate(diagnosis_lines(diagnosis)):
        style = (
            _STYLES[diagnosis.verdict]
            if number == 0
            else "bold"
            if line.startswith(("  cause:", "  also:", "  fix", "  seen", "  what is missing"))
            else ""
        )
        console.print(Text(line, style=style))
