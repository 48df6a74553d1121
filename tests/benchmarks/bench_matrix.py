"""How long a matrix of 100 VMs x 100 VMs x 5 ports takes, every verdict checked.

The whole command is timed: start of Python, 100 SSH log-ins, 49,500 flows, one JSON document. The
verdicts are known from the lab file: two ports open, one of them on half of the VMs only, one closed,
one dropped everywhere, one dropped by the NSG of one subnet and closed in the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.client import raise_lab, take_down
from tests.benchmarks.measurement import Measurement, at_most

HALF = 50
PORTS = "80,443,8080,1433,5985"
NAME = "bench-matrix"
LIMIT_S = 30.0

_LAB = f"""\
vnets:
  vnet:
    address_space: 10.0.0.0/16
    subnets:
      plain: {{prefix: 10.0.1.0/24, nsg: nsg-plain}}
      tight: {{prefix: 10.0.2.0/24, nsg: nsg-tight}}
nsgs:
  nsg-plain:
    - {{name: DenySql, priority: 100, access: Deny, protocol: Tcp, ports: 1433}}
  nsg-tight:
    - {{name: DenySqlAndWinRm, priority: 100, access: Deny, protocol: Tcp, ports: [1433, 5985]}}
vms:
  "plain-{{n:02}}": {{count: {HALF}, subnet: plain, services: [80/tcp]}}
  "tight-{{n:02}}": {{count: {HALF}, subnet: tight, services: [80/tcp, 443/tcp]}}
"""


def run() -> dict[str, Measurement]:
    """Seconds for the whole matrix, flows a second, and how many verdicts are wrong."""
    with _lab() as environment:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "harness", "matrix", "--env", environment, "--ports", PORTS, "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - start
    if done.returncode != 1:
        raise RuntimeError(f"azreach matrix ended with status {done.returncode}: {done.stderr.strip()}")
    flows = json.loads(done.stdout)["flows"]
    wrong = Counter(
        (flow["port"], flow["outcome"])
        for flow in flows
        if flow["outcome"] != _right(flow["to"], flow["port"])
    )
    if wrong:
        print(f"wrong verdicts: {dict(wrong)}", file=sys.stderr)
    machines = 2 * HALF
    if len(flows) != machines * (machines - 1) * 5:
        raise RuntimeError(f"{len(flows)} flows were asked")
    name = f"vms_{machines}_x_{machines}_x_5_ports"
    return {
        name: at_most(name, seconds, LIMIT_S, "s"),
        f"{name}_rate": Measurement(f"{name}_rate", len(flows) / seconds, "1/s"),
        f"{name}_wrong": at_most(f"{name}_wrong", sum(wrong.values()), 0, "flows"),
    }


def _right(target: str, port: int) -> str:
    tight = target.startswith("tight")
    return {
        80: "connected",
        443: "connected" if tight else "refused",
        8080: "refused",
        1433: "timeout",
        5985: "timeout" if tight else "refused",
    }[port]


@contextmanager
def _lab() -> Iterator[str]:
    """The environment file of a lab that stands, in a state root of its own."""
    before = os.environ.get("AZREACH_STATE")
    with tempfile.TemporaryDirectory(prefix="azreach-bench-") as directory:
        os.environ["AZREACH_STATE"] = f"{directory}/state"
        try:
            file = Path(directory) / "lab.yaml"
            file.write_text(_LAB, encoding="utf-8")
            lab = raise_lab(file, NAME)
            try:
                yield str(lab.environment_path)
            finally:
                take_down(NAME)
        finally:
            os.environ.pop("AZREACH_STATE")
            if before is not None:
                os.environ["AZREACH_STATE"] = before


if __name__ == "__main__":
    for measurement in run().values():
        print(measurement)
