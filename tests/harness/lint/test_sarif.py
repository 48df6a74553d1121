"""SARIF as code scanning reads it (the whole of it was also validated against OASIS' schema)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.lint.finding import LintFinding, Severity
from harness.lint.registry import CHECKS, lint
from harness.lint.sarif import FINGERPRINT, fingerprints, to_sarif
from tests.harness.network.builders import machine, network, nsg, rule, vnet

RESOURCES: list[Any] = [
    vnet("v", "10.0.0.0/16", {"s": "10.0.1.0/24"}, nsgs={"s": "n"}),
    nsg("n", rule("allow", 100, "Allow"), rule("deny", 200, "Deny", ports="1433")),
    *machine("m", "v/s", "10.0.1.4"),
]
TEXT = json.dumps({"resources": RESOURCES}, indent=2)


@pytest.fixture
def run() -> dict[str, Any]:
    document = to_sarif(lint(network(*RESOURCES)), CHECKS, {Path("deploy/my network.json"): TEXT})
    assert document["version"] == "2.1.0"
    (only,) = document["runs"]
    assert isinstance(only, dict)
    return only


def test_rules_are_the_checks(run: dict[str, Any]) -> None:
    rules = run["tool"]["driver"]["rules"]
    assert [item["id"] for item in rules] == [check.id for check in CHECKS]
    for item in rules:
        assert item["shortDescription"]["text"]
        assert item["defaultConfiguration"]["level"] in ("error", "warning", "note")
        scored = "security-severity" in item["properties"]
        assert scored == item["id"].startswith("exposure/")


def test_a_result_points_at_the_object(run: dict[str, Any]) -> None:
    (result,) = (item for item in run["results"] if item["ruleId"] == "nsg/contradicted-rule")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["level"] == "error"
    assert "az network nsg rule delete" in result["message"]["text"]
    (location,) = result["locations"]
    (logical,) = location["logicalLocations"]
    assert logical["fullyQualifiedName"].endswith("/networkSecurityGroups/n/securityRules/deny")
    physical = location["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "deploy/my%20network.json"
    line = TEXT.split("\n")[physical["region"]["startLine"] - 1]
    assert line.strip().startswith('"id": ')
    assert line.rstrip(",").endswith('/securityRules/deny"')
    (related,) = result["relatedLocations"]
    assert related["logicalLocations"][0]["name"] == "allow"


def test_a_file_elsewhere_has_an_absolute_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = lint(network(*RESOURCES))

    def uri(path: Path) -> str:
        result = to_sarif(found, CHECKS, {path: TEXT})["runs"][0]["results"][0]
        text = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert isinstance(text, str)
        return text

    assert uri(tmp_path / "here" / "x.json") == "x.json"
    assert uri(tmp_path / "x.json") == (tmp_path / "x.json").as_uri()


def test_each_object_is_in_its_own_file() -> None:
    """As `az network nsg list > nsgs.json` and so on make them."""
    files = {Path(f"{number}.json"): json.dumps([item], indent=1) for number, item in enumerate(RESOURCES)}
    (result,) = (
        item
        for item in to_sarif(lint(network(*RESOURCES)), CHECKS, files)["runs"][0]["results"]
        if item["ruleId"] == "nsg/contradicted-rule"
    )
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "1.json"


def test_an_object_without_a_line_has_no_region() -> None:
    document = to_sarif(lint(network(*RESOURCES)), CHECKS, {Path("plan.tf"): "not JSON"})
    physical = document["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert physical == {"artifactLocation": {"uri": "plan.tf"}}


def test_fingerprints_outlive_wording_and_order_of_objects() -> None:
    found = [*lint(network(*RESOURCES))]
    before = fingerprints(found)
    assert len(set(before)) == len(found) > 1
    reworded = [replace(item, reason="other words", related=()) for item in found]
    assert fingerprints(reworded) == before
    assert fingerprints(found[1:]) == before[1:]
    shouted = [replace(item, object_id=item.object_id.upper()) for item in found]
    assert fingerprints(shouted) == before
    assert fingerprints([replace(found[0], object_id="/other")]) != before[:1]


def test_two_findings_alike_are_told_apart() -> None:
    item = LintFinding("space/overlapping-subnets", Severity.ERROR, "/s", "p", "one", (), ())
    one, two = fingerprints([item, replace(item, reason="two")])
    assert one != two
    assert fingerprints([item]) == [one]


def test_names_stay_text() -> None:
    name = "a \x1b[31m\u202ename"
    item = LintFinding("nsg/unused-group", Severity.NOTE, "/n", "", name, (), ("az 'x\ny'",))
    result = to_sarif([item], CHECKS, {Path("x.json"): ""})["runs"][0]["results"][0]
    assert result["message"]["text"] == "a \\x1b[31m\\u202ename\n\nTo fix it:\naz 'x\\x0ay'"
    assert FINGERPRINT in result["partialFingerprints"]
