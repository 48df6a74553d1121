"""``azreach probe`` and ``azreach traceroute`` as they are typed, through a hub with an appliance."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.report.documents import ProbeDocument
from harness.report.paths import PathMtuDocument, TraceDocument
from lab.client import Lab, raise_lab
from tests.lab.conftest import Command

pytestmark = pytest.mark.lab(rootless=True)

Azreach = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def hub_spoke(state_root: Path) -> Lab:
    return raise_lab("hub-spoke")


@pytest.fixture(scope="module")
def azreach(hub_spoke: Lab) -> Azreach:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness.cli", *words, "--lab", hub_spoke.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, input="")
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def rules(hub_spoke: Lab, lab_command: Command) -> Callable[[str, str], None]:
    """One nft rule in a VM's input chain; gone when the lab is."""

    def add(vm: str, rule: str) -> None:
        table = f"table inet t {{\nchain i {{\ntype filter hook input priority 0;\n{rule}\n}}\n}}\n"
        done = lab_command("exec", hub_spoke.name, vm, "--", "nft", "-f", "-", input=table)
        assert done.returncode == 0, done.stderr

    return add


def test_count_and_interval(azreach: Azreach) -> None:
    done = azreach("probe", "app-01", "db-01:1433/tcp", "--count", "3", "--interval", "0.01", "--json")
    assert done.returncode == 0
    found = ProbeDocument.model_validate_json(done.stdout)
    assert (found.outcome, found.attempts, found.successes) == ("connected", 3, 3)
    assert found.tries[0].started < found.tries[1].started < found.tries[2].started


def test_duration(azreach: Azreach) -> None:
    done = azreach("probe", "app-01", "db-01/icmp", "--duration", "0.2", "--interval", "0.05")
    assert done.returncode == 0
    assert " of " in done.stdout
    assert "failed" not in done.stdout


def test_intermittent_says_when(azreach: Azreach, rules: Callable[[str, str], None]) -> None:
    rules("app-02", "tcp dport 8080 tcp flags syn / syn,ack numgen inc mod 4 < 2 drop")
    words = ("probe", "app-01", "app-02:8080/tcp", "--count", "8", "--timeout", "0.1")
    done = azreach(*words)
    assert done.returncode == 1
    first, *rest = done.stdout.splitlines()
    assert "intermittent, 4 of 8" in first
    assert len(rest) == 2
    assert all(line.startswith("  failed from 20") and "2 in a row: timeout" in line for line in rest)
    found = json.loads(azreach(*words, "--json").stdout)
    assert [one["outcome"] for one in found["tries"]].count("timeout") == 4


def test_path_mtu(azreach: Azreach, hub_spoke: Lab, lab_command: Command) -> None:
    done = azreach("probe", "app-01", "db-01:1433/tcp", "--path-mtu")
    assert done.returncode == 0
    assert "path MTU 1500 bytes" in done.stdout
    # the appliance takes less on its way out, and says so
    link = ("exec", hub_spoke.name, "nva-01", "--", "ip", "route")
    lab_command(*link, "add", "10.12.0.0/16", "via", "10.10.0.1", "mtu", "1400")
    try:
        done = azreach("probe", "app-01", "db-01:1433/tcp", "--path-mtu", "--json")
    finally:
        lab_command(*link, "del", "10.12.0.0/16")
    found = PathMtuDocument.model_validate_json(done.stdout)
    assert (done.returncode, found.verdict, found.mtu) == (0, "narrowed", 1400)
    assert [(one.address, one.mtu) for one in found.said] == [("10.10.0.4", 1400)]


def test_traceroute_names_the_appliance(azreach: Azreach) -> None:
    done = azreach("traceroute", "app-01", "db-01:1433/tcp")
    assert done.returncode == 0
    headline, appliance, target = done.stdout.splitlines()
    assert headline.endswith("(10.11.1.4 -> 10.12.1.4): connected")
    assert appliance.split()[:3] == ["1", "nva-01", "(10.10.0.4)"]
    assert target.split()[:3] == ["2", "db-01", "(10.12.1.4)"]
    found = TraceDocument.model_validate_json(
        azreach("traceroute", "app-01", "db-01:1433/tcp", "--json").stdout
    )
    assert [(hop.machine, hop.outcome) for hop in found.hops] == [("nva-01", None), ("db-01", "connected")]


def test_traceroute_to_what_is_blocked(azreach: Azreach) -> None:
    done = azreach("traceroute", "app-01", "db-01:22/tcp", "--timeout", "0.1")
    assert done.returncode == 1
    assert "nva-01" in done.stdout
    assert "nobody answered from here on" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("probe", "app-01", "db-01:1433/tcp", "--count", "0"),
        ("probe", "app-01", "db-01:1433/tcp", "--interval", "-1"),
        ("probe", "app-01", "db-01:1433/tcp", "--path-mtu", "--count", "2"),
        ("traceroute", "app-01", "nobody:1/tcp"),
        ("traceroute", "app-01", "db-01:1433/tcp", "--max-hops", "0"),
    ],
)
def test_wrong_use(azreach: Azreach, words: tuple[str, ...]) -> None:
    done = azreach(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
