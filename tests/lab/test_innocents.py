"""What looks guilty and is not: rules that count and have counted nothing, routes, bridges, published ports.

Each was once blamed wrongly. A cause that is not known is said to be unknown.
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
from lab.client import Lab

pytestmark = pytest.mark.lab

LIMIT = "iptables -w -A INPUT -p tcp -m connlimit --connlimit-above 1000 -j DROP"
NO_LIMIT = LIMIT.replace(" -A ", " -D ")
BRIDGE = "ip link add br0 type bridge; ip link set br0 up; ip address add 10.0.1.1/24 dev br0"
NO_BRIDGE = "ip link delete br0"


@pytest.fixture
def sh(three_tier: Lab) -> Iterator[object]:
    """``sh(vm, do, undo)``: a change to a guest that is taken back when the test ends."""
    undone: list[tuple[str, str]] = []

    def run(vm: str, do: str, undo: str) -> None:
        undone.append((vm, undo))
        three_tier.run(vm, ["sh", "-c", do])

    yield run
    for vm, undo in reversed(undone):
        three_tier.run(vm, ["sh", "-c", undo])


def diagnosis_of(lab: Lab, target: str = "db-01:1433/tcp", source: str = "web-01") -> Diagnosis:
    with Diagnoser(load_environment(lab.environment_path), timeout=0.5) as diagnoser:
        return diagnoser.diagnose(parse_flow(source, target))


def causes(diagnosis: Diagnosis) -> list[Cause]:
    return [finding.cause for finding in diagnosis.findings]


def shown(diagnosis: Diagnosis) -> str:
    return "\n".join(diagnosis_lines(diagnosis))


def test_a_bridge_that_overlaps_the_source_is_no_firewall(three_tier: Lab, sh) -> None:  # type: ignore[no-untyped-def]
    sh("db-01", f"{BRIDGE}; {LIMIT}", f"{NO_BRIDGE}; {NO_LIMIT}")
    diagnosis = diagnosis_of(three_tier)
    assert (diagnosis.verdict, causes(diagnosis)) == (Verdict.INCONCLUSIVE, []), shown(diagnosis)
    assert "positive control failed" in " ".join(diagnosis.missing)


def test_a_limit_that_counted_nothing_is_not_the_rule_that_dropped(three_tier: Lab, sh) -> None:  # type: ignore[no-untyped-def]
    matches = ("tcp dport 1433 ct count over 1000", "ip ttl 64 tcp dport 1433")
    rules = "; ".join(f"add rule inet odd in {match} counter drop" for match in matches)
    chain = "add table inet odd; add chain inet odd in { type filter hook input priority 0; }"
    sh("db-01", f"nft '{chain}; {rules}'", "nft delete table inet odd")
    diagnosis = diagnosis_of(three_tier)
    assert causes(diagnosis) == [Cause.INBOUND_DROP], shown(diagnosis)
    assert "ip ttl 64" in (diagnosis.findings[0].evidence[0].output or "")
    assert "ct count" not in (diagnosis.findings[0].evidence[0].output or "")


def test_a_prohibiting_route_of_the_source_is_no_firewall(three_tier: Lab, sh) -> None:  # type: ignore[no-untyped-def]
    limit = "iptables -w -A OUTPUT -p tcp -m connlimit --connlimit-above 500 -j REJECT"
    sh(
        "web-01",
        f"ip route add prohibit 10.0.3.4; {limit}",
        f"ip route delete prohibit 10.0.3.4; {limit.replace(' -A ', ' -D ')}",
    )
    diagnosis = diagnosis_of(three_tier)
    assert (diagnosis.verdict, causes(diagnosis)) == (Verdict.INCONCLUSIVE, []), shown(diagnosis)
    assert "no route" in " ".join(diagnosis.missing)


def test_a_published_container_port_is_not_a_missing_process(three_tier: Lab, sh) -> None:  # type: ignore[no-untyped-def]
    publish = "iptables -w -t nat -A PREROUTING -p tcp --dport 1433 -j DNAT --to-destination 172.17.0.2:1433"
    sh(
        "db-01",
        f"{publish}; iptables -w -P FORWARD DROP",
        f"{publish.replace(' -A ', ' -D ')}; iptables -w -P FORWARD ACCEPT",
    )
    diagnosis = diagnosis_of(three_tier)
    assert (diagnosis.verdict, causes(diagnosis)) == (Verdict.INCONCLUSIVE, []), shown(diagnosis)
    assert "translates this port" in " ".join(diagnosis.missing)


def test_answers_that_the_source_drops_are_the_sources_doing(three_tier: Lab, sh) -> None:  # type: ignore[no-untyped-def]
    rule = "iptables -w -A INPUT -p tcp --sport 1433 -j DROP"
    sh("web-01", rule, rule.replace(" -A ", " -D "))
    diagnosis = diagnosis_of(three_tier)
    assert causes(diagnosis) == [Cause.ANSWERS_DROPPED], shown(diagnosis)
    assert "web-01's own firewall" in diagnosis.findings[0].summary
    assert "(on web-01)" in diagnosis.findings[0].fix[0]


@pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="no iptables-legacy on this machine")
def test_the_kernels_older_tables_are_read_too(three_tier: Lab, sh) -> None:  # type: ignore[no-untyped-def]
    rule = "iptables-legacy -w -A INPUT -p tcp --dport 1433 -j DROP"
    if three_tier.run("db-01", ["iptables-legacy", "-w", "-S"], check=False).returncode:
        pytest.skip("this kernel has no legacy tables")
    sh("db-01", rule, rule.replace(" -A ", " -D "))
    diagnosis = diagnosis_of(three_tier)
    assert causes(diagnosis) == [Cause.INBOUND_DROP], shown(diagnosis)
    assert "--dport 1433 -j DROP" in diagnosis.findings[0].evidence[0].summary


def test_a_slow_server_is_healthy(three_tier: Lab) -> None:
    """Single-threaded, busy for a moment: connections wait, and it is not stopped."""
    server = (
        "import os, socket, time; s = socket.create_server(('', 5432)); os.write(1, b'up'); os.close(1);"
        " [(time.sleep(3), s.accept()[0].close()) for _ in range(3)]"
    )
    three_tier.spawn("web-02", ["python3", "-c", server])
    arm_id = (
        next(r["id"] for r in three_tier.resources() if r["name"] == "nsg-web") + "/securityRules/AllowSlow"
    )
    allow = {"priority": 150, "direction": "Inbound", "access": "Allow", "protocol": "Tcp"}
    anywhere = {"sourceAddressPrefix": "*", "sourcePortRange": "*", "destinationAddressPrefix": "*"}
    properties = {**allow, **anywhere, "destinationPortRange": "5432"}
    three_tier.put_resource(arm_id, {"id": arm_id, "name": "AllowSlow", "properties": properties})
    listening = ["sh", "-c", "until ss -Hltn 'sport = :5432' | grep -q .; do :; done"]
    three_tier.run("web-02", listening, timeout=30)
    diagnosis = diagnosis_of(three_tier, "web-02:5432/tcp")
    assert diagnosis.verdict is Verdict.HEALTHY, shown(diagnosis)
    assert diagnosis.cause is None
