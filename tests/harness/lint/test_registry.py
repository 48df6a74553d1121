"""The list of checks as a whole: ids, choice, and runs over any network."""

from __future__ import annotations

import re
import shlex

import pytest

from harness.errors import UnknownNameError
from harness.lint.finding import Severity
from harness.lint.registry import CHECKS, chosen, lint
from harness.network.model import Network
from tests.harness.network.builders import machine, network, nsg, peering, route, rule, table, vnet

# Users write these into their pipelines: an id may be added, never changed or removed.
IDS = [
    "nsg/shadowed-rule",
    "nsg/contradicted-rule",
    "nsg/behind-deny-all",
    "nsg/crossing-rules",
    "nsg/empty-asg",
    "nsg/foreign-addresses",
    "nsg/unused-group",
    "exposure/management-port",
    "exposure/unfiltered-public-ip",
    "route/appliance-missing",
    "route/appliance-not-forwarding",
    "route/appliance-loop",
    "route/drops-own-space",
    "route/gateway-missing",
    "route/vnet-local-outside",
    "route/never-wins",
    "route/unused-table",
    "peering/one-sided",
    "peering/not-connected",
    "peering/not-synchronised",
    "peering/no-remote-gateway",
    "peering/access-one-sided",
    "peering/forwarded-traffic-refused",
    "path/asymmetric",
    "outbound/no-method",
    "outbound/unknown-default",
    "space/overlapping-peers",
    "space/overlapping-vnets",
    "space/overlapping-subnets",
    "space/overlapping-on-premises",
]


def names(*select: str, ignore: tuple[str, ...] = ()) -> list[str]:
    return [item.id for item in chosen(select, ignore)]


def test_ids_never_change() -> None:
    assert [item.id for item in CHECKS] == IDS


def test_every_check_is_documented() -> None:
    for item in CHECKS:
        assert re.fullmatch(r"[A-Z].{10,99}\.", item.title), item.id
        assert not item.description or item.description.endswith("."), item.id


def test_choice() -> None:
    assert names() == IDS
    assert names("nsg/empty-asg") == ["nsg/empty-asg"]
    assert names("path", "nsg/empty-asg") == ["nsg/empty-asg", "path/asymmetric"]
    assert names("path", "outbound", ignore=("outbound/unknown-default",)) == [
        "path/asymmetric",
        "outbound/no-method",
    ]
    assert names("path", ignore=("path",)) == []


@pytest.mark.parametrize(
    ("wrong", "hint"), [("nsg/empty-agz", "nsg/empty-asg"), ("pth", "path"), ("zzz", "--list")]
)
def test_unknown_names(wrong: str, hint: str) -> None:
    for arguments in (((wrong,), ()), ((), (wrong,))):
        with pytest.raises(UnknownNameError, match=f"no check '{wrong}'") as raised:
            chosen(*arguments)
        assert hint in raised.value.hint


def test_an_empty_network_is_clean() -> None:
    assert lint(Network()) == ()


def faulty() -> Network:
    subnets: dict[str, str | list[str]] = {"a b": "10.0.1.0/24"}
    there = peering("v", "w", "10.1.0.0/16")
    return network(
        vnet("v", "10.0.0.0/16", subnets, [there], nsgs={"a b": "n"}, tables={"a b": "t"}),
        vnet("w", "10.1.0.0/16", {}),
        nsg("n", rule("x; rm -rf .", 100, "Allow"), rule("y$(id)", 200, "Deny")),
        table(
            "t",
            route("r r", "0.0.0.0/0", "VirtualAppliance", "10.0.9.9"),
            route("s", "10.0.1.0/24", "None"),
        ),
        machine("m", "v/a b", "10.0.1.4"),
    )


def test_findings_are_ordered_by_object_and_severity_each_once() -> None:
    found = lint(faulty())
    assert len(found) > 4
    assert len(set(found)) == len(found)
    order = [(item.object_id.lower(), list(Severity).index(item.severity)) for item in found]
    assert order == sorted(order)


def test_fixes_are_one_command_each_with_names_quoted() -> None:
    """What a shell makes of a fix has the names as words of their own, whatever they hold."""
    found = {item.check: item for item in lint(faulty())}
    words = [shlex.split(command) for item in found.values() for command in item.fix]
    assert all(command[0] == "az" for command in words)
    contradicted = shlex.split(found["nsg/contradicted-rule"].fix[-1])
    assert contradicted[contradicted.index("--name") + 1] == "y$(id)"
    missing = shlex.split(found["route/appliance-missing"].fix[0])
    assert missing[missing.index("--name") + 1] == "r r"
