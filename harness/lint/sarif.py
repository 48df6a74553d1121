"""Findings as SARIF 2.1.0, for code scanning.

OASIS sarif-v2.1.0-os. Every result names the object twice: as a logical location by its ARM id, and
as a physical one by the snapshot's file and the object's line. Fingerprints are made of check,
object and property, so that a finding stays the same while lines and wording change.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness import __version__
from harness.lint.finding import Check, LintFinding, Severity
from harness.lint.locate import Lines
from harness.network.model import key, short_name
from harness.text import plain

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "azreachFinding/v1"

_SECURITY = {Severity.ERROR: "8.0", Severity.WARNING: "5.0", Severity.NOTE: "2.0"}
"""GitHub's security-severity (a CVSS score) of checks that are about what an attacker can reach."""


def to_sarif(
    findings: Sequence[LintFinding], checks: Sequence[Check], files: Mapping[Path, str]
) -> dict[str, Any]:
    """One run; ``files`` are what the network was read from, one at least, with their contents."""
    places = {item.id: number for number, item in enumerate(checks)}
    lines = {_uri(path): Lines(text) for path, text in files.items()}
    prints = fingerprints(findings)

    def location(arm_id: str) -> dict[str, Any]:
        found = ((uri, line) for uri, item in lines.items() if (line := item.of(arm_id)) is not None)
        uri, line = next(found, (next(iter(lines)), None))
        physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
        if line is not None:
            physical["region"] = {"startLine": line}
        logical = {"name": short_name(arm_id), "fullyQualifiedName": arm_id, "kind": "resource"}
        return {"physicalLocation": physical, "logicalLocations": [logical]}

    results = [
        {
            "ruleId": item.check,
            "ruleIndex": places[item.check],
            "level": item.severity.value,
            "message": {"text": _message(item)},
            "locations": [location(item.object_id)],
            "relatedLocations": [
                {"id": number, **location(related), "message": {"text": short_name(related)}}
                for number, related in enumerate(item.related, 1)
            ],
            "partialFingerprints": {FINGERPRINT: fingerprint},
            "properties": {"property": item.property, "fix": list(item.fix)},
        }
        for item, fingerprint in zip(findings, prints, strict=True)
    ]
    driver = {
        "name": "azreach",
        "version": __version__,
        "rules": [_rule(item) for item in checks],
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def fingerprints(findings: Sequence[LintFinding]) -> list[str]:
    """For each finding the same as in another run: of several alike the second and third are numbered."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for item in findings:
        identity = (item.check, key(item.object_id), item.property)
        text = "\n".join((*identity, str(seen[identity])))
        found.append(hashlib.sha256(text.encode()).hexdigest())
        seen[identity] += 1
    return found


def _message(finding: LintFinding) -> str:
    if not finding.fix:
        return plain(finding.reason)
    return "\n".join((plain(finding.reason), "", "To fix it:", *map(plain, finding.fix)))


def _rule(item: Check) -> dict[str, Any]:
    properties: dict[str, Any] = {"tags": ["azure", item.id.partition("/")[0]]}
    if item.id.startswith("exposure/"):
        properties |= {"security-severity": _SECURITY[item.severity]}
        properties["tags"].append("security")
    return {
        "id": item.id,
        "name": "".join(part.capitalize() for part in item.id.replace("/", "-").split("-")),
        "shortDescription": {"text": item.title},
        "fullDescription": {"text": item.description or item.title},
        "help": {"text": item.description or item.title},
        "defaultConfiguration": {"level": item.severity.value},
        "properties": properties,
    }


def _uri(path: Path) -> str:
    """Relative to where azreach runs (a repository's root, for code scanning), if the file is below."""
    full, here = path.resolve(), Path.cwd().resolve()
    if full.is_relative_to(here):
        return quote(full.relative_to(here).as_posix())
    return full.as_uri()
