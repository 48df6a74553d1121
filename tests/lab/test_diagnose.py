"""The command line and the plugin against a lab, reached like any environment: real SSH, real packets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.report.documents import DiagnosisDocument, ProbeDocument
from harness.target import parse_flow
from lab import journal
from lab.client import Lab

pytestmark = pytest.mark.lab
pytest_plugins = ["pytester"]


def azreach(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def broken(three_tier: Lab) -> Iterator[Lab]:
    """web-01 -> db-01:1433/tcp is dropped by db-01's nftables."""
    journal.make(three_tier, "inbound-drop-nftables", parse_flow("web-01", "db-01:1433/tcp"))
    yield three_tier
    journal.mend(three_tier)


def test_diagnose_healthy(three_tier: Lab) -> None:
    done = azreach("diagnose", "web-01", "db-01:1433/tcp", "--lab", three_tier.name, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = DiagnosisDocument.model_validate_json(done.stdout)
    assert (document.reachable, document.outcome, document.cause) == (True, "connected", None)
    assert (document.attempts, document.successes, document.findings) == (1, 1, [])
    assert (document.oracles.predicted, document.oracles.network_watcher, document.oracles.observed) == (
        "allow",
        None,
        "connected",
    )


def test_diagnose_names_the_rule_with_evidence_from_both_ends_and_the_fix(broken: Lab) -> None:
    done = azreach("diagnose", "web-01", "db-01:1433/tcp", "--env", str(broken.environment_path), "--json")
    assert done.returncode == 1
    document = DiagnosisDocument.model_validate_json(done.stdout)
    assert (document.reachable, document.cause) == (False, "guest-firewall/inbound-drop")
    finding = document.findings[0]
    assert {item.where for item in finding.evidence} >= {"web-01", "db-01"}
    assert "tcp dport 1433 counter" in finding.evidence[0].summary
    assert any(line.startswith("nft insert rule inet") for line in finding.fix)
    plain = azreach("diagnose", "web-01", "db-01:1433/tcp", "--lab", broken.name)
    assert plain.returncode == 1
    assert "cause: guest-firewall/inbound-drop" in plain.stdout
    assert "\x1b" not in plain.stdout


def test_probe(broken: Lab) -> None:
    good = azreach("probe", "web-01", "db-01:53/udp", "--lab", broken.name, "--json", "--count", "3")
    assert good.returncode == 0
    document = ProbeDocument.model_validate_json(good.stdout)
    assert (document.outcome, document.attempts, document.successes) == ("delivered", 3, 3)
    assert azreach("probe", "web-01", "db-01/icmp", "--lab", broken.name).returncode == 0
    silent = azreach("probe", "web-01", "db-01:1433/tcp", "--lab", broken.name, "--timeout", "0.3")
    assert (silent.returncode, "timeout" in silent.stdout) == (1, True)


def test_what_comes_and_goes(three_tier: Lab) -> None:
    """Every third SYN is dropped: k of n, and when; nobody guesses why."""
    table = "add table inet odd; add chain inet odd in { type filter hook input priority 0; }"
    rule = "add rule inet odd in tcp dport 1433 tcp flags & (syn|ack) == syn numgen inc mod 3 == 2 drop"
    three_tier.run("db-01", ["nft", f"{table}; {rule}"])
    try:
        words = [
            "diagnose",
            "web-01",
            "db-01:1433/tcp",
            "--lab",
            three_tier.name,
            "--timeout",
            "0.2",
            "--count",
            "6",
        ]
        done = azreach(*words, "--json")
        assert done.returncode == 3
        document = DiagnosisDocument.model_validate_json(done.stdout)
        assert (document.outcome, document.attempts, document.successes) == ("intermittent", 6, 4)
        assert document.reachable is None
        assert "4 of 6 succeeded; failed at 20" in document.missing[0]
    finally:
        three_tier.run("db-01", ["nft", "delete table inet odd"])
    assert azreach(*words[:-4], "--count", "3").returncode == 0


WRONG_USE = {
    "unknown source": (["diagnose", "web-99", "db-01:1433"], "no machine 'web-99'"),
    "unknown target": (["diagnose", "web-01", "db-99:1433"], "no machine 'db-99'"),
    "no port": (["diagnose", "web-01", "db-01/tcp"], "tcp needs a port"),
    "unknown protocol": (["probe", "web-01", "db-01:1/sctp"], "no protocol"),
    "no IPv6": (["diagnose", "web-01", "db-01:1433", "--ipv6"], "no IPv6 address"),
    "unknown lab": (["diagnose", "web-01", "db-01:1", "--lab", "no-such"], "no lab 'no-such' is running"),
    "missing file": (["diagnose", "web-01", "db-01:1", "--env", "/nonexistent.yaml"], "No such file"),
    "both": (["diagnose", "web-01", "db-01:1", "--env", "x", "--lab", "y"], "exclude each other"),
    "bad option": (["diagnose", "web-01", "db-01:1", "--frobnicate"], "No such option"),
}


@pytest.mark.parametrize(("words", "says"), WRONG_USE.values(), ids=WRONG_USE.keys())
def test_wrong_use_is_status_2_and_one_message(three_tier: Lab, words: list[str], says: str) -> None:
    given = words if {"--lab", "--env"} & set(words) else [*words, "--lab", three_tier.name]
    done = azreach(*given)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def edited(lab: Lab, folder: Path, old: str, new: str) -> str:
    """The lab's environment file with one thing wrong in it."""
    text = lab.environment_path.read_text().replace("network.json", str(lab.directory / "network.json"))
    for name in ("id_ed25519", "known_hosts"):
        text = text.replace(f'"{name}"', f'"{lab.directory / name}"').replace(
            f" {name}\n", f" {lab.directory / name}\n"
        )
    assert old in text, text
    path = folder / "env.yaml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_a_changed_host_key_is_refused_loudly(three_tier: Lab, tmp_path: Path) -> None:
    lines = (three_tier.directory / "known_hosts").read_text().splitlines()
    keys = {line.split()[0]: line.split(None, 1)[1] for line in lines}
    names = list(keys)
    (tmp_path / "known_hosts").write_text(
        "".join(f"{a} {keys[b]}\n" for a, b in zip(names, names[1:] + names[:1], strict=True))
    )
    environment = edited(
        three_tier, tmp_path, str(three_tier.directory / "known_hosts"), str(tmp_path / "known_hosts")
    )
    done = azreach("diagnose", "web-01", "db-01:1433", "--env", environment)
    assert done.returncode == 2
    assert "host key" in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_a_wrong_key_names_user_and_machine(three_tier: Lab, tmp_path: Path) -> None:
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    environment = edited(three_tier, tmp_path, str(three_tier.directory / "id_ed25519"), str(key))
    done = azreach("diagnose", "web-01", "db-01:1433", "--env", environment)
    assert done.returncode == 2
    assert "web-01" in done.stderr
    assert "root" in done.stderr


TEAM_TEST = """\
def test_reach(reach):
    assert reach("web-01", "db-01", tcp=1433)

def test_dns(reach):
    assert reach("web-01", "db-01", udp=53)

def test_blocked(blocked):
    assert blocked("web-01", "db-01", tcp=22, by="nsg-udr")

def test_not_blocked(blocked):
    assert not blocked("web-01", "db-01", icmp=True, by="nsg-udr")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_teams_own_tests(pytester: pytest.Pytester, three_tier: Lab, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(TEAM_TEST)
    result = pytester.runpytest_subprocess("--env", str(three_tier.environment_path), *workers)
    result.assert_outcomes(passed=4)


def test_a_teams_failing_test_says_the_diagnosis(pytester: pytest.Pytester, broken: Lab) -> None:
    pytester.makepyfile(TEAM_TEST)
    result = pytester.runpytest_subprocess("--lab", broken.name, "--junitxml", "junit.xml")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["*cause: guest-firewall/inbound-drop*", "*[[]db-01]*tcp dport 1433*drop*", "*nft insert rule*"]
    )
    junit = (pytester.path / "junit.xml").read_text()
    assert 'name="azreach.cause" value="guest-firewall/inbound-drop"' in junit


def test_scenarios_against_machines_that_exist(three_tier: Lab) -> None:
    """The same scenario files, told nothing of a lab: each declared flow is checked, by two workers."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "scenarios", "-q", "-p", "no:cacheprovider", "-n", "2"]
    done = subprocess.run(
        [*command, "--env", str(three_tier.environment_path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "step2-nsg-udr[web-01->db-01:22/tcp]" in done.stdout
    assert "step4-listener[web-01->db-01:1433/tcp]" in done.stdout


def test_the_documents_have_the_keys_that_scripts_rely_on(three_tier: Lab) -> None:
    done = azreach("diagnose", "web-01", "db-01:22/tcp", "--lab", three_tier.name, "--json")
    document = json.loads(done.stdout)
    assert set(document) >= {"reachable", "outcome", "attempts", "successes", "cause", "findings", "oracles"}
    assert set(document["findings"][0]) >= {"step", "cause", "severity", "evidence", "fix"}
    assert set(document["oracles"]) == {"predicted", "network_watcher", "observed"}
