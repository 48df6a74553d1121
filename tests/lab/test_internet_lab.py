"""Labs with an internet: machines outside, public IPs, and flows between the two that are diagnosed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.diagnosis.diagnoser import Diagnoser
from harness.environment import load_environment
from harness.errors import InputError
from harness.model import Cause, Flow, Protocol, Verdict
from harness.network.snapshot import load_snapshot
from harness.policy.explain import explain
from harness.report.message import diagnosis_lines
from lab.client import Lab, raise_lab
from lab.labfile import load_lab_file

LAB = """
vnets:
  vnet-main:
    address_space: 10.0.0.0/16
    subnets:
      web: {prefix: 10.0.1.0/24, nsg: nsg-web}
      app: {prefix: 10.0.2.0/24, nat_gateway: nat-app}
      private: {prefix: 10.0.3.0/24, default_outbound_access: false}

nsgs:
  nsg-web:
    - {name: AllowHttpInBound, priority: 100, access: Allow, protocol: Tcp, source: Internet, ports: 80}

public_ips:
  pip-web: 203.0.113.100
  pip-nat: {address: 203.0.113.50, sku: Standard}

nat_gateways:
  nat-app: {public_ip: pip-nat}

internet:
  hosts:
    client-1: 203.0.113.9
    partner: {addresses: 198.51.100.7, services: [443/tcp]}

vms:
  web-01: {subnet: web, public_ip: pip-web, services: [80/tcp, 81/tcp]}
  app-01: {subnet: app}
  alone-01: {subnet: private}

flows:
  - {from: client-1, to: 203.0.113.100, port: 80}
  - {from: app-01, to: partner, port: 443}
  - {from: alone-01, to: partner, port: 443, expect: deny, because: snat/no-outbound-method}
"""


@pytest.fixture(scope="module")
def lab(state_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    path = tmp_path_factory.mktemp("files") / "internet.yaml"
    path.write_text(LAB)
    return raise_lab(path)


@pytest.fixture(scope="module")
def diagnoser(lab: Lab) -> Iterator[Diagnoser]:
    with Diagnoser(load_environment(lab.environment_path)) as made:
        yield made


@pytest.mark.lab(rootless=True)
@pytest.mark.parametrize(
    "flow",
    [
        Flow("client-1", "203.0.113.100", Protocol.TCP, 80),
        Flow("web-01", "partner", Protocol.TCP, 443),
        Flow("app-01", "partner", Protocol.TCP, 443),
        Flow("client-1", "partner", Protocol.TCP, 443),
    ],
    ids=str,
)
def test_what_the_internet_lets_pass_is_healthy(diagnoser: Diagnoser, flow: Flow) -> None:
    diagnosis = diagnoser.diagnose(flow)
    assert diagnosis.verdict is Verdict.HEALTHY, "\n".join(diagnosis_lines(diagnosis))


@pytest.mark.lab(rootless=True)
@pytest.mark.parametrize(
    ("flow", "cause"),
    [
        (Flow("client-1", "203.0.113.100", Protocol.TCP, 81), Cause.DEFAULT_DENY),
        (Flow("alone-01", "partner", Protocol.TCP, 443), Cause.NO_OUTBOUND),
    ],
    ids=str,
)
def test_what_it_does_not_is_predicted_and_seen(diagnoser: Diagnoser, flow: Flow, cause: Cause) -> None:
    oracles = diagnoser.diagnose(flow).oracles
    assert oracles.predicted == f"deny ({cause})"
    assert oracles.observed == "timeout"


@pytest.mark.lab(rootless=True)
def test_the_snapshot_of_the_lab_has_its_public_side(lab: Lab) -> None:
    network = load_snapshot(lab.directory / "network.json")
    assert explain(network, Flow("203.0.113.9", "web-01", Protocol.TCP, 80)).allowed
    assert explain(network, Flow("203.0.113.9", "web-01", Protocol.TCP, 81)).cause is Cause.DEFAULT_DENY
    assert explain(network, Flow("app-01", "198.51.100.7", Protocol.TCP, 443)).allowed


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("client-1: 203.0.113.9", "client-1: 203.0.113.100", "is public IP 'pip-web''s already"),
        ("client-1: 203.0.113.9", "web-01: 203.0.113.9", "a VM is named 'web-01', too"),
        ("public_ip: pip-web,", "public_ip: pip-none,", "no public IP 'pip-none' in this file"),
        ("public_ip: pip-web,", "public_ip: pip-nat,", "public IP 'pip-nat' is NAT gateway"),
        ("pip-web: 203.0.113.100", "pip-web: 2001:db8::1", "is an IPv6 address, and the NIC has none"),
        ("nat_gateway: nat-app}", "nat_gateway: nat-none}", "no NAT gateway 'nat-none' in this file"),
        ("client-1: 203.0.113.9", "client-1: nowhere", "'nowhere' does not appear to be an IPv4 or IPv6"),
        ("client-1: 203.0.113.9", "client-1: []", "internet.hosts.client-1"),
        ("from: client-1", "from: client-2", "'client-2' matches no machine"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "lab.yaml"
    assert old in LAB
    path.write_text(LAB.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_lab_file(path)
    assert words in caught.value.message
