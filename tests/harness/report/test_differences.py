"""The text of a difference: what is cut for people, and that the JSON is not."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from harness.model import Protocol
from harness.policy.difference import Difference, FlowChange
from harness.policy.portset import PortSet
from harness.report.differences import print_json, print_text
from tests.harness.network.builders import machine, network, nsg, public_ip, rule, vnet


def difference(rules: int, machines: int = 1) -> Difference:
    """Each rule opens a port of its own to the internet, on every machine."""
    opened = [
        rule(f"r{n:02}", 100 + n, "Allow", protocol="Tcp", ports=str(1000 + 2 * n)) for n in range(rules)
    ]
    before, after = (
        network(
            vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, nsgs={"s": "n"}),
            nsg("n", *listed),
            *(public_ip(f"p{n}", f"203.0.113.{n}") for n in range(machines)),
            *(machine(f"m{n}", "v/s", f"10.0.0.{n + 4}", public_ip=f"p{n}") for n in range(machines)),
        )
        for listed in ([], opened)
    )
    return Difference(before, after)


def text(changes: Sequence[FlowChange], found: Difference, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_text(changes, found.objects, found.unknown)
    return capsys.readouterr().out.splitlines()


def test_many_ends_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    found = difference(1, machines=9)
    lines = text(found.changes(), found, capsys)
    assert lines[0] == "OPENED  tcp/1000  internet -> m0, m1, m2, m3, m4, m5 and 3 more  (9 pairs)"


def test_many_reasons_are_counted_and_json_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    found = difference(25)
    changes = found.changes()
    lines = text(changes, found, capsys)
    assert sum(line.startswith("OPENED") for line in lines) == 20
    assert lines[-2:] == [
        "and 5 more changes by 5 other reasons (--json has all)",
        "25 pairs open, 0 pairs close; 25 objects changed",
    ]
    print_json(changes, found.objects)
    document = json.loads(capsys.readouterr().out)
    assert len(document["flows"]) == len(document["objects"]) == 25


def test_many_sets_of_ports_by_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """One rule that denies what others allow, each from elsewhere."""
    allowed = [
        rule(f"r{n}", 200 + n, "Allow", protocol="Tcp", ports=str(1000 + 2 * n), source=f"10.0.1.{n + 4}")
        for n in range(8)
    ]
    before, after = (
        network(
            vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24", "t": "10.0.1.0/24"}, nsgs={"s": "n"}),
            nsg("n", *listed, rule("rest", 4000, "Deny")),
            machine("m", "v/s", "10.0.0.4"),
            *(machine(f"c{n}", "v/t", f"10.0.1.{n + 4}") for n in range(8)),
        )
        for listed in (allowed, [rule("no", 100, "Deny"), *allowed])
    )
    found = Difference(before, after)
    lines = text(found.changes(), found, capsys)
    assert sum(line.startswith("CLOSED") for line in lines) == 5
    assert "        and 3 more sets of ports, 3 pairs, by the same objects (--json has all)" in lines
    assert sum("because  added securityRules n/no" in line for line in lines) == 1


def test_more_objects_than_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    found = difference(25)
    lines = text([], found, capsys)
    assert lines[-2:] == ["and 5 more objects (--json has all)", "no flow changes; 25 objects changed"]


def test_what_nobody_explained_has_an_example_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.policy.difference._EXPLAINED", 0)
    found = difference(1)
    lines = text(found.changes(), found, capsys)
    assert len(lines) == 3
    assert lines[1].startswith("  example  ")
    print_json(found.changes(), found.objects)
    flow = json.loads(capsys.readouterr().out)["flows"][0]
    assert (flow["before"]["verdict"], flow["after"]["verdict"]) == ("deny", "allow")
    assert "azreach explain" in flow["after"]["why"]


def test_the_ports_of_a_change_are_exact() -> None:
    (change,) = difference(1).changes()
    assert change.ports == PortSet.of(Protocol.TCP, ((1000, 1000),))
