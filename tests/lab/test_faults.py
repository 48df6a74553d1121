"""Faults as changes: what each one does to a running lab, and that mending leaves what was there before."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from harness.errors import InputError, UnknownNameError
from harness.target import parse_flow
from lab import journal
from lab.changes import GuestChange
from lab.client import Lab, raise_lab
from lab.errors import LabError
from lab.faults import FAULTS, Site, find_fault, site_of

pytestmark = pytest.mark.lab

FLOW = parse_flow("web-01", "db-01:1433/tcp")

# faults that need another flow or another network than web-01 -> db-01 in three-tier
IN_HUB_SPOKE = {
    "appliance-gone",
    "appliance-without-ip-forwarding",
    "appliance-guest-not-forwarding",
    "appliance-nsg",
    "forward-drop-nftables",
    "forward-drop-iptables",
}
ELSEWHERE = {
    "source-not-in-asg": ("three-tier", "web-01", "app-01:8080/tcp"),
    "asymmetric-return": ("hub-spoke", "jump-01", "app-01:8080/tcp"),
} | dict.fromkeys(IN_HUB_SPOKE, ("hub-spoke", "app-01", "db-01:1433/tcp"))

CONNECT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.4) as connection:
        print("connected" if connection.recv(1) else "closed")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def labs(three_tier: Lab) -> dict[str, Lab]:
    """Running labs by topology."""
    return {"three-tier": three_tier, "hub-spoke": raise_lab("hub-spoke")}


def connect(site: Site) -> str:
    """Whether the service greets: a process that is stopped does not, though its kernel accepts."""
    words = ["python3", "-c", CONNECT, str(site.target), str(site.flow.port)]
    return site.lab.run(site.flow.source, words).stdout.strip()


def state_of(lab: Lab) -> tuple[object, ...]:
    """What a fault may touch: ARM resources, the guests' rules and addresses, the services."""
    rules = [
        [
            item
            for item in json.loads(lab.run(vm, ["nft", "-j", "list", "ruleset"]).stdout)["nftables"]
            if "rule" in item
        ]
        for vm in lab.vms
    ]
    addresses = [lab.run(vm, ["ip", "-br", "address"]).stdout for vm in lab.vms]
    return lab.resources(), rules, addresses, [sorted(map(str, lab.services(vm))) for vm in lab.vms]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_breaks_the_flow_and_mending_restores_everything(labs: dict[str, Lab], name: str) -> None:
    topology, source, target = ELSEWHERE.get(name, ("three-tier", "web-01", "db-01:1433/tcp"))
    site = site_of(labs[topology], parse_flow(source, target))
    assert connect(site) == "connected"
    before = state_of(site.lab)
    entry = journal.make(site.lab, name, site.flow)
    try:
        assert connect(site) != "connected"
        assert journal.entries(site.lab) == [entry]
    finally:
        journal.mend(site.lab, name)
    assert connect(site) == "connected"
    assert journal.entries(site.lab) == []
    assert state_of(site.lab) == before


def test_several_faults_are_mended_in_reverse_order(three_tier: Lab) -> None:
    before = state_of(three_tier)
    for name in ("subnet-nsg-inbound", "route-to-none", "no-process"):
        journal.make(three_tier, name, FLOW)
    assert [entry.fault for entry in journal.mend(three_tier)] == [
        "no-process",
        "route-to-none",
        "subnet-nsg-inbound",
    ]
    assert state_of(three_tier) == before


def test_a_fault_is_mended_from_under_those_that_were_made_after_it(three_tier: Lab) -> None:
    """All three touch the NSG or the subnet of web-01, the last two after the first."""
    before = state_of(three_tier)
    for name in ("subnet-nsg-outbound", "route-to-none", "nic-nsg-outbound"):
        journal.make(three_tier, name, FLOW)
    assert [entry.fault for entry in journal.mend(three_tier, "subnet-nsg-outbound")] == [
        "subnet-nsg-outbound"
    ]
    assert [entry.fault for entry in journal.entries(three_tier)] == ["route-to-none", "nic-nsg-outbound"]
    assert connect(site_of(three_tier, FLOW)) == "TimeoutError"
    journal.mend(three_tier, "nic-nsg-outbound")
    journal.mend(three_tier, "route-to-none")
    assert state_of(three_tier) == before


def test_a_fault_stands_once_for_a_flow(three_tier: Lab) -> None:
    journal.make(three_tier, "no-process", FLOW)
    try:
        with pytest.raises(InputError, match="stands already"):
            journal.make(three_tier, "no-process", FLOW)
    finally:
        journal.mend(three_tier)


def test_an_undo_that_finds_nothing_is_told_and_struck_off(three_tier: Lab) -> None:
    journal.make(three_tier, "inbound-drop-nftables", FLOW)
    three_tier.run("db-01", ["nft", "flush", "ruleset"])
    with pytest.raises(LabError, match="found nothing to undo"):
        journal.mend(three_tier)
    assert journal.entries(three_tier) == []


def test_a_fault_that_fails_half_way_is_taken_back(three_tier: Lab) -> None:
    before = state_of(three_tier)
    good = find_fault("subnet-nsg-inbound").changes(site_of(three_tier, FLOW))
    bad = GuestChange("db-01", ("false",), ("true",))
    with pytest.raises(Exception, match="false"):
        journal.inject(three_tier, journal.Entry("half", FLOW, (*good, bad)), [])
    assert journal.entries(three_tier) == []
    assert state_of(three_tier) == before


def test_names_and_flows_that_do_not_fit(three_tier: Lab) -> None:
    with pytest.raises(UnknownNameError, match="no fault 'gremlins'"):
        find_fault("gremlins")
    with pytest.raises(UnknownNameError, match="has no fault 'no-process' to mend"):
        journal.mend(three_tier, "no-process")
    with pytest.raises(InputError, match="no service on 9/tcp"):
        find_fault("no-process").changes(site_of(three_tier, parse_flow("web-01", "db-01:9/tcp")))
    with pytest.raises(InputError, match="no VM 'db-99'"):
        site_of(three_tier, parse_flow("web-01", "db-99:9/tcp"))
    with pytest.raises(InputError, match="no IPv6 address"):
        site_of(three_tier, parse_flow("web-01", "db-01:9/tcp", family=6))


def test_the_commands(three_tier: Lab, lab_command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    name = three_tier.name
    listed = json.loads(lab_command("faults", "--json").stdout)
    assert {row["fault"] for row in listed} == set(FAULTS)
    broken = lab_command("break", name, "no-process", "--from", "web-01", "--to", "db-01:53/udp")
    assert (broken.returncode, broken.stdout) == (0, f"{name}: no-process for web-01 -> db-01:53/udp\n")
    assert "no-process" in lab_command("faults", name).stdout
    assert lab_command("mend", name, "other-port").returncode == 2
    assert lab_command("mend", name).stdout == f"{name}: mended no-process for web-01 -> db-01:53/udp\n"
    assert lab_command("mend", name).stdout == f"{name}: nothing to mend\n"
    assert lab_command("break", name, "gremlins").returncode == 2
    assert lab_command("break", "no-such-lab", "no-process").returncode == 2
