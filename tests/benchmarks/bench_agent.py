"""How fast the resident agent answers over SSH: round trip, connection, and many probes at once.

Against an sshd of its own on loopback. Not a test: nothing here asserts a time.
"""

from __future__ import annotations

import socket
import statistics
import tempfile
import time
from pathlib import Path

from harness.agent.contract import TcpTarget
from harness.transport.session import Session
from harness.transport.ssh import connect
from tests.harness.transport.sshd import Sshd, why_not

ROUND_TRIPS = 1000
CONNECTS = 7
TARGETS = 10_000


def run() -> dict[str, float]:
    """Milliseconds by name; connections a second for the last."""
    reason = why_not()
    if reason is not None:
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory(prefix="azreach-bench-") as directory:
        Path(directory).chmod(0o755)
        return _measure(Sshd.make(Path(directory)))


def _measure(sshd: Sshd) -> dict[str, float]:
    ssh = sshd.ssh()
    connect("box", ssh).close()  # paramiko's import is not the connection's time
    logins, starts = [], []
    for _ in range(CONNECTS):
        begun = time.perf_counter()
        connection = connect("box", ssh)
        logged_in = time.perf_counter()
        with Session("box", connection):
            starts.append((time.perf_counter() - logged_in) * 1000)
        logins.append((logged_in - begun) * 1000)
    trips = []
    with Session("box", connect("box", ssh)) as session:
        for _ in range(ROUND_TRIPS):
            begun = time.perf_counter()
            session.agent.route("127.0.0.1")
            trips.append((time.perf_counter() - begun) * 1000)
        rate = _connects(session)
    return {
        "agent round trip over SSH, median (ms)": round(statistics.median(trips), 3),
        "agent round trip over SSH, 99th percentile (ms)": round(sorted(trips)[int(len(trips) * 0.99)], 3),
        "SSH log-in by proxy command, median (ms)": round(statistics.median(logins), 1),
        "agent start on a log-in, median (ms)": round(statistics.median(starts), 1),
        "refused connects through one request (1/s)": round(rate),
    }


def _connects(session: Session) -> float:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    targets = [TcpTarget("127.0.0.1", port)] * TARGETS
    begun = time.perf_counter()
    session.agent.tcp(targets)
    return TARGETS / (time.perf_counter() - begun)


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name}: {value}")
