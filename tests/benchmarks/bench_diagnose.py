"""How long ``azreach diagnose`` takes for one flow on a running lab, and ``azreach --help``.

Whole commands: start of Python, two SSH log-ins, captures with their controls, the probe, and
for a flow that fails the evidence from both ends. Answers are checked before times are told.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from harness.target import parse_flow
from lab import journal
from lab.client import raise_lab, take_down
from tests.benchmarks.measurement import Measurement, at_most

RUNS = 5
NAME = "bench-diagnose"


def run() -> dict[str, Measurement]:
    """Median seconds of an answered and of a silently dropped flow, and of the help."""
    with tempfile.TemporaryDirectory(prefix="azreach-bench-") as directory:
        before = os.environ.get("AZREACH_STATE")
        os.environ["AZREACH_STATE"] = f"{directory}/state"
        try:
            lab = raise_lab("three-tier", NAME)
            words = ("diagnose", "web-01", "db-01:1433/tcp", "--lab", NAME)
            answered = _median(words, 0, "healthy")
            journal.make(lab, "inbound-drop-nftables", parse_flow("web-01", "db-01:1433/tcp"))
            dropped = _median(words, 1, "guest-firewall/inbound-drop")
            take_down(NAME)
        finally:
            os.environ.pop("AZREACH_STATE")
            if before is not None:
                os.environ["AZREACH_STATE"] = before
    helped = _median(("--help",), 0, "Usage")
    return {
        "answered": at_most("answered", answered, 2.0, "s"),
        "dropped": at_most("dropped", dropped, 5.0, "s"),
        "help": at_most("help", helped, 0.3, "s"),
    }


def _median(words: tuple[str, ...], status: int, says: str) -> float:
    seconds = []
    for _ in range(RUNS):
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words], capture_output=True, text=True, check=False
        )
        seconds.append(time.monotonic() - start)
        if done.returncode != status or says not in done.stdout:
            raise RuntimeError(f"{' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}")
    return statistics.median(seconds)
