"""A diagnosis as plain lines: the command line's answer and the failure message of an assertion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.model import Diagnosis, Evidence, Finding, Severity, Verdict
from harness.text import plain


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """What happened, the cause, the evidence from both ends, the fix. Safe to print anywhere."""
    return [plain(line) for line in _lines(diagnosis)]


def headline(diagnosis: Diagnosis) -> str:
    """One line: the flow and its verdict."""
    flow = plain(str(diagnosis.flow))
    tries = f" ({diagnosis.successes} of {diagnosis.attempts})" if diagnosis.attempts > 1 else ""
    if diagnosis.verdict is Verdict.HEALTHY:
        time = f" in {diagnosis.rtt_ms:.2f} ms" if diagnosis.rtt_ms is not None else ""
        return f"{flow}: healthy, {diagnosis.outcome}{tries}{time}"
    outcome = f", {diagnosis.outcome}{tries}" if diagnosis.outcome is not None else ""
    if diagnosis.verdict is Verdict.FAULT:
        return f"{flow}: {diagnosis.cause}{outcome}"
    return f"{flow}: inconclusive{outcome}"


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield headline(diagnosis)
    if diagnosis.verdict is Verdict.INCONCLUSIVE:
        yield "  what is missing"
        yield from (f"    - {reason}" for reason in diagnosis.missing)
    for finding in diagnosis.findings:
        yield from _finding(finding, diagnosis)
    if diagnosis.verdict is not Verdict.HEALTHY:
        if diagnosis.evidence:
            yield "  seen"
            yield from _evidence(diagnosis.evidence)
        if told := _oracles(diagnosis):
            yield f"  oracles: {told}"


def _finding(finding: Finding, diagnosis: Diagnosis) -> Iterator[str]:
    first = finding is next((f for f in diagnosis.findings if f.severity is Severity.BLOCKING), None)
    head = "cause" if first else "also" if finding.severity is Severity.BLOCKING else "warning"
    yield f"  {head}: {finding.cause}"
    yield f"    {finding.summary}"
    # the probe and the packets belong to all findings and are shown once, after them
    yield from _evidence(item for item in finding.evidence if item not in diagnosis.evidence)
    yield "  fix"
    yield from (f"    {line}" for line in finding.fix)


def _oracles(diagnosis: Diagnosis) -> str:
    oracles = diagnosis.oracles
    named = (
        ("predicted", oracles.predicted),
        ("Network Watcher", oracles.network_watcher),
        ("observed", oracles.observed),
    )
    return ", ".join(f"{name} {value}" for name, value in named if value is not None)


def _evidence(items: Iterable[Evidence]) -> Iterator[str]:
    for item in items:
        yield f"    [{item.where}] {item.summary}"
        if item.command:
            yield f"      $ {item.command}"
        for line in (item.output or "").splitlines()[:20]:
            yield f"        {line}"
