"""Healthy flows of random topologies: whatever a network looks like, what works has no finding.

The networks are random but the same in every run: VNets, peerings, NSGs, ASGs, services and
addresses are drawn from a seed. Which flows must work, the policy engine says; that they do,
the packets.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.diagnosis.diagnoser import Diagnoser
from harness.environment import load_environment
from harness.model import Flow, Protocol, Verdict
from harness.network.snapshot import load_snapshot
from harness.policy.explain import explain
from harness.report.message import diagnosis_lines
from lab.client import raise_lab, take_down

pytestmark = pytest.mark.lab

FLOWS = 20
SERVICES = ("80/tcp", "443/tcp", "1433/tcp", "8080/tcp", "53/udp", "514/udp")


def random_lab(draw: random.Random) -> dict[str, Any]:
    """A lab file: one to three VNets in a full mesh of peerings, some NSGs, some ASGs, four to eight VMs."""
    vnets: dict[str, Any] = {}
    names = [f"vnet{number}" for number in range(draw.randint(1, 3))]
    nsgs = {f"nsg{number}": random_rules(draw) for number in range(draw.randint(1, 3))}
    maybe_nsg = [*nsgs, None]
    for number, name in enumerate(names):
        subnets = {}
        for index in range(draw.randint(1, 3)):
            subnet: dict[str, Any] = {"prefix": f"10.{number + 1}.{index}.0/{draw.choice((24, 25, 27))}"}
            if (nsg := draw.choice(maybe_nsg)) is not None:
                subnet["nsg"] = nsg
            subnets[f"s{number}{index}"] = subnet
        peerings = {f"to-{other}": {"remote": other} for other in names if other != name}
        vnets[name] = {"address_space": f"10.{number + 1}.0.0/16", "subnets": subnets, "peerings": peerings}
    every_subnet = [subnet for vnet in vnets.values() for subnet in vnet["subnets"]]
    vms = {}
    for number in range(draw.randint(4, 8)):
        vm: dict[str, Any] = {
            "subnet": draw.choice(every_subnet),
            "services": draw.sample(SERVICES, draw.randint(1, 4)),
        }
        if draw.random() < 0.3:
            vm["nsg"] = draw.choice(list(nsgs))
        vms[f"vm-{number}"] = vm
    return {"vnets": vnets, "nsgs": nsgs, "vms": vms}


def random_rules(draw: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "name": f"r{number}",
            "priority": 100 + number,
            "direction": draw.choice(("Inbound", "Outbound")),
            "access": draw.choice(("Allow", "Allow", "Deny")),
            "protocol": draw.choice(("Tcp", "Udp", "Icmp", "*")),
            "source": draw.choice(("*", "VirtualNetwork", "10.1.0.0/16", "10.2.0.0/15")),
            "ports": draw.choice(("*", "1433", "80-443", "53", ["22", "8080"])),
        }
        for number in range(draw.randint(1, 5))
    ]


def flows_of(lab: dict[str, Any], draw: random.Random) -> list[Flow]:
    """Every flow to a service, and every ping, in random order."""
    found = []
    for source in lab["vms"]:
        for target, vm in lab["vms"].items():
            if source == target:
                continue
            found.append(Flow(source, target, Protocol.ICMP))
            for service in vm["services"]:
                port, _, protocol = service.partition("/")
                found.append(Flow(source, target, Protocol(protocol), int(port)))
    draw.shuffle(found)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_what_works_has_no_finding(state_root: Path, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    lab_file = random_lab(draw)
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump(lab_file))
    lab = raise_lab(path, f"random-{seed}")
    try:
        network = load_snapshot(lab.directory / "network.json")
        allowed = [flow for flow in flows_of(lab_file, draw) if explain(network, flow).allowed][:FLOWS]
        assert len(allowed) == FLOWS
        with Diagnoser(load_environment(lab.environment_path)) as diagnoser:
            for flow in allowed:
                diagnosis = diagnoser.diagnose(flow)
                assert diagnosis.verdict is Verdict.HEALTHY, "\n".join(diagnosis_lines(diagnosis))
                assert not diagnosis.findings
    finally:
        take_down(lab.name)
