"""``azreach lint`` as a user types it: findings, exit statuses, JSON, SARIF, names that try to misbehave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.commands.lint import lint
from harness.errors import InputError, SnapshotError, UnknownNameError
from harness.lint.registry import CHECKS
from tests.harness.network.builders import machine, nsg, rule, vnet
from tests.harness.network.terraform_documents import named, plan

ALLOW = rule("allow-sql", 100, "Allow", protocol="Tcp", source="10.0.0.0/8", ports="1433")
SQL = rule("deny-sql", 200, "Deny", protocol="Tcp", source="10.0.1.0/24", ports="1433")


def snapshot(folder: Path, *rules: Any, extra: Any = ()) -> Path:
    resources: list[Any] = [
        vnet("v", "10.0.0.0/16", {"db": "10.0.2.0/24"}, nsgs={"db": "n"}),
        nsg("n", *rules),
        *machine("db-01", "v/db", "10.0.2.4"),
        *extra,
    ]
    path = folder / "snapshot.json"
    path.write_text(json.dumps({"resources": resources}, indent=1), encoding="utf-8")
    return path


def run(path: Path | None, *arguments: str) -> Result:
    return CliRunner().invoke(lint, [*([str(path)] if path else []), *arguments])


def test_findings(tmp_path: Path) -> None:
    found = run(snapshot(tmp_path, ALLOW, SQL))
    assert found.exit_code == 1
    lines = found.stdout.splitlines()
    assert lines[0].endswith("/networkSecurityGroups/n")
    assert lines[1].startswith("  error    rule 'deny-sql' (Inbound, priority 200, Deny) never takes effect")
    assert lines[1].endswith("[nsg/contradicted-rule]")
    assert lines[2].strip() == (
        "fix  az network nsg rule delete --resource-group rg --nsg-name n --name deny-sql"
    )
    assert lines[-1] == "1 error, 1 note at 2 objects"


def test_only_notes_are_no_failure(tmp_path: Path) -> None:
    path = snapshot(tmp_path, ALLOW)
    assert run(path).exit_code == 0
    assert run(path).stdout.splitlines()[-1] == "1 note at 1 object"
    assert run(path, "--fail-on", "note").exit_code == 1


def test_nothing_found(tmp_path: Path) -> None:
    found = run(snapshot(tmp_path, ALLOW), "--ignore", "outbound", "--fail-on", "note")
    assert (found.exit_code, found.stdout) == (0, "nothing found\n")


@pytest.mark.parametrize(("level", "status"), [("error", 0), ("warning", 1), ("note", 1), ("never", 0)])
def test_fail_on(level: str, status: int, tmp_path: Path) -> None:
    path = snapshot(
        tmp_path, ALLOW, rule("again", 300, "Allow", protocol="Tcp", source="10.0.0.0/8", ports="1433")
    )
    assert run(path, "--fail-on", level).exit_code == status


def test_select_and_ignore(tmp_path: Path) -> None:
    path = snapshot(tmp_path, ALLOW, SQL)

    def ids(*arguments: str) -> list[str]:
        return [item["id"] for item in json.loads(run(path, "--json", *arguments).stdout)["findings"]]

    assert ids() == ["nsg/contradicted-rule", "outbound/unknown-default"]
    assert ids("--select", "outbound") == ["outbound/unknown-default"]
    assert ids("--ignore", "outbound/unknown-default") == ["nsg/contradicted-rule"]
    assert ids("--select", "nsg", "--ignore", "nsg/contradicted-rule") == []


def test_json(tmp_path: Path) -> None:
    found = run(snapshot(tmp_path, ALLOW, SQL), "--select", "nsg", "--json")
    document = json.loads(found.stdout)
    assert found.exit_code == 1
    assert document["counts"] == {"error": 1, "warning": 0, "note": 0}
    (finding,) = document["findings"]
    assert finding["object"].endswith("/securityRules/deny-sql")
    assert finding["property"] == "properties.priority"
    assert [item.rpartition("/")[2] for item in finding["related"]] == ["allow-sql"]


def test_list() -> None:
    found = run(None, "--list")
    assert (found.exit_code, len(found.stdout.splitlines())) == (0, len(CHECKS))
    assert [row["id"] for row in json.loads(run(None, "--list", "--json", "--select", "path").stdout)] == [
        "path/asymmetric"
    ]


def test_sarif(tmp_path: Path) -> None:
    path, target = snapshot(tmp_path, ALLOW, SQL), tmp_path / "lint.sarif"
    printed = run(path, "--sarif", "-")
    assert printed.exit_code == 1
    written = run(path, "--sarif", str(target))
    assert written.stdout.splitlines()[-1] == "1 error, 1 note at 2 objects"
    document = json.loads(target.read_text(encoding="utf-8"))
    assert document == json.loads(printed.stdout)
    (run_,) = document["runs"]
    assert [item["ruleId"] for item in run_["results"]] == [
        "nsg/contradicted-rule",
        "outbound/unknown-default",
    ]

    # what is checked before anything is judged
    assert "it is a directory" in str(run(path, "--sarif", str(tmp_path)).exception)
    assert target.read_text(encoding="utf-8") == f"{json.dumps(document, indent=2)}\n"


def test_a_directory_of_lists(tmp_path: Path) -> None:
    everything = json.loads(snapshot(tmp_path, ALLOW, SQL).read_text(encoding="utf-8"))["resources"]
    folder = tmp_path / "exported"
    folder.mkdir()
    for number, item in enumerate(everything):
        (folder / f"{number}.json").write_text(json.dumps([item]), encoding="utf-8")
    found = run(folder, "--select", "nsg", "--sarif", "-")
    (result,) = json.loads(found.stdout)["runs"][0]["results"]
    location = result["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"].endswith("/exported/1.json")
    assert location["region"] == {"startLine": 1}


def test_service_tags(tmp_path: Path) -> None:
    """A tag that no file defines is opaque; with its addresses it covers a prefix of them."""
    path = snapshot(
        tmp_path,
        rule("tag", 100, "Allow", source="Storage"),
        rule("prefix", 200, "Allow", source="20.60.0.0/24"),
    )
    tags = tmp_path / "tags.json"
    values = [{"name": "Storage", "id": "Storage", "properties": {"addressPrefixes": ["20.60.0.0/16"]}}]
    tags.write_text(json.dumps({"changeNumber": 1, "cloud": "Public", "values": values}), encoding="utf-8")
    assert "prefix" not in run(path, "--select", "nsg").stdout
    assert "'prefix'" in run(path, "--select", "nsg", "--service-tags", str(tags)).stdout


def test_assumptions(tmp_path: Path) -> None:
    path = snapshot(tmp_path, ALLOW)
    assert "[outbound/unknown-default]" in run(path).stdout
    assert "[outbound/no-method]" in run(path, "--assume", "default-outbound=denied").stdout
    assert run(path, "--assume", "x=y").exit_code == 2


def test_what_a_plan_leaves_open_goes_to_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    document = plan(named("azurerm_virtual_network", "v", address_space=["10.0.0.0/16"]))
    path.write_text(json.dumps(document | {"complete": False}), encoding="utf-8")
    found = run(path, "--json")
    assert json.loads(found.stdout)["findings"] == []
    assert f"note: {path}: the plan covers a part of the configuration only" in found.stderr


@pytest.mark.parametrize(
    "arguments", [("--json", "--sarif", "-"), ("--fail-on", "sometimes"), ("--frobnicate",)]
)
def test_wrong_use(arguments: tuple[str, ...], tmp_path: Path) -> None:
    found = run(snapshot(tmp_path, ALLOW), *arguments)
    assert (found.exit_code, found.stdout) == (2, "")


def test_errors_are_ours(tmp_path: Path) -> None:
    """The command group prints them; here they only must be of the right kind."""
    assert run(None).exit_code == 2
    assert isinstance(run(tmp_path / "nowhere.json").exception, SnapshotError)
    assert isinstance(run(snapshot(tmp_path), "--select", "nsg/nothing").exception, UnknownNameError)
    assert isinstance(run(snapshot(tmp_path), "--sarif", str(tmp_path / "no" / "x")).exception, InputError)


def test_names_stay_text(tmp_path: Path) -> None:
    name = "[bold]x[red]\x1b[31m\u202egnp\n:smile:"
    path = snapshot(tmp_path, ALLOW, SQL | {"name": name})
    found = run(path)
    assert r"rule '[bold]x[red]\x1b[31m\u202egnp\x0a:smile:' (Inbound" in found.stdout
    for output in (found.stdout, run(path, "--json").stdout, run(path, "--sarif", "-").stdout):
        assert "\x1b" not in output
        assert "\u202e" not in output


def test_long_names_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "deny-" + "everything-" * 20
    found = run(snapshot(tmp_path, ALLOW, SQL | {"name": name}))
    assert any(line.endswith(f"--name {name}") for line in found.stdout.splitlines())
