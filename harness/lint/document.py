"""Findings as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.lint.finding import LintFinding, Severity


def counts(findings: Sequence[LintFinding]) -> Mapping[Severity, int]:
    """How many there are of each severity."""
    return {severity: sum(item.severity is severity for item in findings) for severity in Severity}


def to_json(findings: Sequence[LintFinding]) -> dict[str, Any]:
    return {
        "counts": {severity.value: number for severity, number in counts(findings).items()},
        "findings": [
            {
                "id": item.check,
                "severity": item.severity.value,
                "object": item.object_id,
                "property": item.property or None,
                "reason": item.reason,
                "related": list(item.related),
                "fix": list(item.fix),
            }
            for item in findings
        ],
    }
