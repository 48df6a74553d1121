"""``azreach explain`` as a user types it: verdicts, exit statuses, JSON, names that try to misbehave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.commands.explain import explain
from harness.errors import SnapshotError, UnknownNameError
from tests.harness.network.builders import machine, nsg, route, rule, table, vnet

LONG = "deny-everything-that-comes-from-the-web-tier-because-of-change-4711-and-nobody-knows-why-any-more"


def snapshot(folder: Path, name: str = "deny-sql") -> Path:
    resources: list[Any] = [
        vnet(
            "v",
            "10.0.0.0/16",
            {"web": "10.0.1.0/24", "db": "10.0.2.0/24"},
            nsgs={"db": "n"},
            tables={"web": "t"},
        ),
        nsg("n", rule(name, 200, "Deny", protocol="Tcp", ports="1433")),
        table("t", route("hole", "10.0.2.5/32", "None")),
        *machine("web-01", "v/web", "10.0.1.4"),
        *machine("db-01", "v/db", "10.0.2.4"),
        *machine("db-02", "v/db", "10.0.2.5"),
    ]
    path = folder / "snapshot.json"
    path.write_text(json.dumps({"resources": resources}), encoding="utf-8")
    return path


def run(path: Path, *arguments: str) -> Result:
    ends = [] if "--from" in arguments else ["--from", "web-01", "--to", "db-01"]
    return CliRunner().invoke(explain, [str(path), *ends, *arguments])


def test_deny(tmp_path: Path) -> None:
    found = run(snapshot(tmp_path), "--protocol", "tcp", "--port", "1433")
    assert found.exit_code == 1
    lines = found.stdout.splitlines()
    assert lines[0].startswith("DENY  web-01 -> db-01:1433/tcp")
    assert "rule      n/deny-sql" in lines
    assert any("nsg-udr/subnet-nsg-inbound" in line for line in lines)
    assert any(line.strip().startswith("az network nsg rule create") for line in lines)


def test_allow(tmp_path: Path) -> None:
    found = run(snapshot(tmp_path), "--protocol", "TCP", "--port", "80")
    assert (found.exit_code, found.stdout.split()[0]) == (0, "ALLOW")


def test_json(tmp_path: Path) -> None:
    found = run(snapshot(tmp_path), "--protocol", "tcp", "--port", "1433", "--json")
    document = json.loads(found.stdout)
    assert found.exit_code == 1
    assert found.stderr == ""
    assert document["verdict"] == "deny"
    assert document["cause"] == "nsg-udr/subnet-nsg-inbound"
    assert document["rule"] == "n/deny-sql"
    assert document["route"] == {
        "prefix": "10.0.0.0/16",
        "nextHopType": "VnetLocal",
        "nextHopIpAddress": None,
        "source": "Default",
    }
    assert document["decisions"][-1]["access"] == "Deny"
    assert {d["direction"] for d in document["decisions"]} == {"forward"}


def test_json_of_an_allow_has_null_cause(tmp_path: Path) -> None:
    document = json.loads(run(snapshot(tmp_path), "--protocol", "icmp", "--json").stdout)
    assert (document["verdict"], document["cause"], document["port"]) == ("allow", None, None)
    assert document["rule"] == "n/AllowVnetInBound"
    assert document["decisions"][-1]["direction"] == "return"


def test_json_of_a_route(tmp_path: Path) -> None:
    ends = ("--from", "web-01", "--to", "10.0.2.5", "--protocol", "udp", "--port", "53")
    document = json.loads(run(snapshot(tmp_path), *ends, "--json").stdout)
    assert (document["cause"], document["rule"]) == ("nsg-udr/route-to-none", None)
    assert document["route"] == {
        "prefix": "10.0.2.5/32",
        "nextHopType": "None",
        "nextHopIpAddress": None,
        "source": "User",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--protocol", "tcp"),
        ("--protocol", "icmp", "--port", "80"),
        ("--protocol", "tcp", "--port", "0"),
        ("--protocol", "sctp", "--port", "1"),
        ("--protocol", "tcp", "--port", "http"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], tmp_path: Path) -> None:
    found = run(snapshot(tmp_path), *arguments)
    assert (found.exit_code, found.stdout) == (2, "")


def test_errors_are_ours(tmp_path: Path) -> None:
    """The command group prints them; here they only must be of the right kind."""
    missing = run(tmp_path / "nowhere.json", "--protocol", "tcp", "--port", "80")
    assert isinstance(missing.exception, SnapshotError)
    unknown = run(snapshot(tmp_path), "--from", "web-1", "--to", "db-01", "--protocol", "tcp", "--port", "80")
    assert isinstance(unknown.exception, UnknownNameError)


def test_long_names_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    found = run(snapshot(tmp_path, LONG), "--protocol", "tcp", "--port", "1433")
    assert f"rule      n/{LONG}" in found.stdout.splitlines()


def test_names_stay_text(tmp_path: Path) -> None:
    name = "[bold]x[red]\x1b[31m\u202egnp\n:smile:"
    found = run(snapshot(tmp_path, name), "--protocol", "tcp", "--port", "1433")
    assert r"n/[bold]x[red]\x1b[31m\u202egnp\x0a:smile:" in found.stdout
    assert "\x1b" not in found.stdout
    assert "\u202e" not in found.stdout
    raw = run(snapshot(tmp_path, name), "--protocol", "tcp", "--port", "1433", "--json").stdout
    assert raw.isascii()
    assert json.loads(raw)["rule"] == f"n/{name}"


# -- many flows --------------------------------------------------------------------------------------

FLOWS = "from,to,protocol,port\nweb-01,db-01,tcp,1433\nweb-01,db-01,icmp,\n"


def test_flows_as_a_table(tmp_path: Path) -> None:
    (tmp_path / "flows.csv").write_text(FLOWS, encoding="utf-8")
    found = CliRunner().invoke(explain, [str(snapshot(tmp_path)), "--flows", str(tmp_path / "flows.csv")])
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        "DENY  web-01 -> db-01:1433/tcp  nsg-udr/subnet-nsg-inbound n/deny-sql",
        "ALLOW web-01 -> db-01/icmp  n/AllowVnetInBound",
        "1 allow, 1 deny",
    ]


def test_flows_of_standard_input_as_json_lines(tmp_path: Path) -> None:
    arguments = [str(snapshot(tmp_path)), "--flows", "-", "--jsonl"]
    found = CliRunner().invoke(explain, arguments, input=FLOWS + "web-01,db-09,tcp,1\n")
    assert found.exit_code == 2
    verdicts = [json.loads(line)["verdict"] for line in found.stdout.splitlines()]
    assert verdicts == ["deny", "allow", "error"]


def test_every_rule_that_was_asked(tmp_path: Path) -> None:
    found = run(snapshot(tmp_path), "--protocol", "udp", "--port", "53", "--rules")
    assert "'deny-sql' (priority 200) is for another protocol, destination port" in found.stdout
    assert "'AllowVnetInBound' (priority 65000) matches" in found.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--flows", "x", "--from", "a"),
        ("--flows", "x", "--json"),
        ("--flows", "x", "--rules"),
        ("--from", "a", "--to", "b", "--port", "1", "--jsonl"),
        ("--from", "a", "--to", "b", "--port", "1", "--json", "--rules"),
        ("--from", "a"),
        ("--from", "a", "--to", "b", "--port", "1", "--assume", "peering-access=maybe"),
    ],
)
def test_options_that_do_not_go_together(arguments: tuple[str, ...], tmp_path: Path) -> None:
    found = CliRunner().invoke(explain, [str(snapshot(tmp_path)), *arguments])
    assert (found.exit_code, found.stdout) == (2, "")


def test_assumptions_are_listed_without_a_network() -> None:
    found = CliRunner().invoke(explain, ["--assume", "help"])
    assert found.exit_code == 0
    assert "peering-access=explicit-allow|no-traffic" in found.stdout.splitlines()


def test_an_assumption_changes_the_verdict(tmp_path: Path) -> None:
    ends = ("--from", "web-01", "--to", "198.51.100.9", "--protocol", "tcp", "--port", "443")
    assert run(snapshot(tmp_path), *ends).exit_code == 0
    assert run(snapshot(tmp_path), *ends, "--assume", "default-outbound=denied").exit_code == 1
