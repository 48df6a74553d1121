"""Guests with a firewall as their administrators really run it: ufw, whose rules return, jump and rate-limit.

What works has no finding, whatever such a firewall holds; what it blocks is named.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from harness.diagnosis.diagnoser import Diagnoser
from harness.environment import load_environment
from harness.model import Cause, Diagnosis, Verdict
from harness.report.message import diagnosis_lines
from harness.target import parse_flow
from lab import journal
from lab.client import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("ufw") is None, reason="no ufw on this machine (apt-get install ufw)"),
]

SILENT = (
    "import os, socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 514));"
    " pid = os.fork(); pid and (print(pid), os._exit(0)); os.setsid(); [os.close(fd) for fd in (0, 1, 2)];"
    " [s.recv(99) for _ in iter(int, 1)]"
)


@pytest.fixture(scope="module")
def guarded(three_tier: Lab) -> Iterator[Lab]:
    """db-01 with ufw: 1433/tcp, 53/udp, 514/udp allowed; a syslog that never answers has 514/udp."""
    for rule in ("1433/tcp", "53/udp", "514/udp"):
        three_tier.run("db-01", ["ufw", "allow", rule])
    three_tier.run("db-01", ["ufw", "--force", "enable"])
    # the NSGs of the topology know nothing of syslog
    arm_id = (
        next(r["id"] for r in three_tier.resources() if r["name"] == "nsg-db") + "/securityRules/AllowSyslog"
    )
    rule_body = {
        "id": arm_id,
        "name": "AllowSyslog",
        "properties": {
            "priority": 150,
            "direction": "Inbound",
            "access": "Allow",
            "protocol": "Udp",
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefix": "*",
            "destinationPortRange": "514",
        },
    }
    three_tier.put_resource(arm_id, rule_body)
    three_tier.run("db-01", ["python3", "-c", SILENT])
    yield three_tier
    three_tier.run("db-01", ["ufw", "disable"])


def diagnosis_of(lab: Lab, target: str) -> Diagnosis:
    with Diagnoser(load_environment(lab.environment_path), timeout=0.5) as diagnoser:
        return diagnoser.diagnose(parse_flow("web-01", target))


@pytest.mark.parametrize("target", ["db-01:1433/tcp", "db-01:53/udp", "db-01/icmp"])
def test_what_works_has_no_finding(guarded: Lab, target: str) -> None:
    diagnosis = diagnosis_of(guarded, target)
    assert (diagnosis.verdict, diagnosis.findings) == (Verdict.HEALTHY, ()), "\n".join(
        diagnosis_lines(diagnosis)
    )


def test_a_service_that_never_answers_is_not_called_blocked(guarded: Lab) -> None:
    diagnosis = diagnosis_of(guarded, "db-01:514/udp")
    assert (diagnosis.verdict, diagnosis.findings) == (Verdict.INCONCLUSIVE, ()), "\n".join(
        diagnosis_lines(diagnosis)
    )
    assert "its firewall lets it pass" in " ".join(diagnosis.missing)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("backlog-full", Cause.BACKLOG_FULL),
        ("loopback-only", Cause.LOOPBACK_ONLY),
        ("answers-dropped-nftables", Cause.ANSWERS_DROPPED),
        ("nic-nsg-inbound", Cause.NIC_NSG_INBOUND),
    ],
)
def test_another_fault_is_not_blamed_on_the_firewall(guarded: Lab, fault: str, cause: Cause) -> None:
    journal.make(guarded, fault, parse_flow("web-01", "db-01:1433/tcp"))
    try:
        diagnosis = diagnosis_of(guarded, "db-01:1433/tcp")
    finally:
        journal.mend(guarded)
    assert [finding.cause for finding in diagnosis.findings] == [cause], "\n".join(diagnosis_lines(diagnosis))


def test_what_ufw_denies_is_named(guarded: Lab) -> None:
    guarded.run("db-01", ["ufw", "delete", "allow", "1433/tcp"])
    try:
        diagnosis = diagnosis_of(guarded, "db-01:1433/tcp")
    finally:
        guarded.run("db-01", ["ufw", "allow", "1433/tcp"])
    assert diagnosis.cause is Cause.INBOUND_DROP, "\n".join(diagnosis_lines(diagnosis))
