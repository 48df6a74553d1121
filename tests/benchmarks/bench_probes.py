"""How fast one VM probes 20,000 TCP targets, next to nmap and to a bare epoll loop in the same run.

20 addresses with 1,000 ports each, a third open, a third closed, a third silently dropped, in
two namespaces joined by a veth pair. Ours is driven over SSH and its verdicts are typed Python
objects in the end; the peers run in the source's namespace and are timed as whole commands.
The time-out of ours and of the loop is 1 s, so no figure can be below that; nmap chooses its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.agent.client import Agent
from harness.agent.contract import TcpTarget
from harness.agent.contract_sweep import SweepGroup
from harness.environment import Ssh
from harness.model import Outcome
from harness.transport.session import Session
from harness.transport.ssh import connect
from tests.benchmarks.machine import require
from tests.benchmarks.measurement import Measurement, against
from tests.harness.transport.sshd import Sshd, why_not

ADDRESSES = tuple(f"10.78.0.{number}" for number in range(101, 121))
PORTS = tuple(range(10001, 11001))
TIMEOUT = 1.0
ROUNDS = 3
FASTER_THAN_NMAP = 5
WANTED = (Outcome.CONNECTED, Outcome.REFUSED, Outcome.TIMEOUT)
"""The verdict of a port by its remainder modulo 3."""

_LISTEN = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
sockets = [socket.create_server(("0.0.0.0", int(port)), backlog=4096) for port in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()
"""

# what an engineer would write instead: no ICMP errors, no round trips, no limits, no retries
_LOOP = """
import errno, resource, select, socket, sys, time
timeout, first, last = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
targets = [(address, port) for address in sys.argv[4:] for port in range(first, last + 1)]
epoll = select.epoll()
active = {}
verdicts = {}
queue = iter(targets)
more = True
while more or active:
    while more and len(active) < hard - 100:
        target = next(queue, None)
        if target is None:
            more = False
            break
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.connect_ex(target)
        epoll.register(sock.fileno(), select.EPOLLOUT)
        active[sock.fileno()] = (sock, target, time.monotonic() + timeout)
        if len(active) % 256 == 0:
            break
    for fd, events in epoll.poll(0 if more else 0.05, 4096):
        sock, target, _ = active.pop(fd)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        verdicts[target] = "refused" if error == errno.ECONNREFUSED else "open" if not error else "error"
        sock.close()
    if not more:
        now = time.monotonic()
        for fd in [fd for fd, entry in active.items() if entry[2] <= now]:
            sock, target, _ = active.pop(fd)
            verdicts[target] = "silent"
            sock.close()
counts = {}
for verdict in verdicts.values():
    counts[verdict] = counts.get(verdict, 0) + 1
print(counts)
"""


def run() -> dict[str, Measurement | float]:
    """Seconds by name, with the ratios to the peers."""
    require("nmap")
    reason = why_not()
    if reason is not None:
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory(prefix="azreach-bench-") as directory, _hosts() as namespace:
        Path(directory).chmod(0o755)
        return _measure(Sshd.make(Path(directory)), namespace)


def _measure(sshd: Sshd, namespace: str) -> dict[str, Measurement | float]:
    inside = ("ip", "netns", "exec", namespace)
    ours, loop, insane = [], [], []
    with Session("source", connect("source", _login(sshd, inside))) as session:
        for _ in range(ROUNDS):
            ours.append(_ours(session.agent))
            loop.append(_timed([*inside, *_loop_command()], "silent"))
            insane.append(_timed([*inside, *_nmap("-T5", "--min-parallelism", "1000")], "open"))
        single = _single(session.agent)
    nmap = _timed([*inside, *_nmap("-T4")], "open")
    best = statistics.median(ours)

    def compared(peer: str, value: float, limit: float | None = None) -> Measurement:
        return against(peer, best, "s", peer=peer, peer_value=value, at_most=limit)

    return {
        "20,000 probes, against nmap -T4": compared("nmap -sT -T4", nmap, 1 / FASTER_THAN_NMAP),
        "20,000 probes, against nmap -T5": compared(
            "nmap -sT -T5 --min-parallelism 1000", statistics.median(insane)
        ),
        "20,000 probes, against a bare loop": compared("epoll loop", statistics.median(loop)),
        "faster than nmap -T4 (times)": nmap / best,
        "faster than nmap -T5 (times)": statistics.median(insane) / best,
        "faster than the bare loop (times)": statistics.median(loop) / best,
        "20,000 probes with all particulars (s)": single,
    }


def _ours(agent: Agent) -> float:
    begun = time.perf_counter()
    found = agent.sweep([SweepGroup(ADDRESSES, PORTS)], timeout=TIMEOUT)
    took = time.perf_counter() - begun
    wrong = sum(
        one is not WANTED[port % 3] for one, port in zip(found.outcomes, PORTS * len(ADDRESSES), strict=True)
    )
    if wrong:
        raise RuntimeError(f"{wrong} of {len(found.outcomes)} verdicts are wrong")
    return took


def _single(agent: Agent) -> float:
    """The same with the operation that a single probe uses."""
    targets = [TcpTarget(address, port) for address in ADDRESSES for port in PORTS]
    begun = time.perf_counter()
    found = agent.tcp(targets, timeout=TIMEOUT, abort=True)
    took = time.perf_counter() - begun
    wrong = sum(
        one.outcome is not WANTED[target.port % 3] for one, target in zip(found, targets, strict=True)
    )
    if wrong:
        raise RuntimeError(f"{wrong} of {len(targets)} verdicts are wrong")
    return took


def _timed(command: list[str], word: str) -> float:
    begun = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    took = time.perf_counter() - begun
    if word not in done.stdout:
        raise RuntimeError(f"{command[4]}: no '{word}' in what it found")
    return took


def _nmap(*options: str) -> tuple[str, ...]:
    ports = f"{PORTS[0]}-{PORTS[-1]}"
    return ("nmap", "-n", "-Pn", "-sT", *options, "-p", ports, "-oG", "-", *ADDRESSES)


def _loop_command() -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", _LOOP, str(TIMEOUT), str(PORTS[0]), str(PORTS[-1]), *ADDRESSES)


def _login(sshd: Sshd, inside: tuple[str, ...]) -> Ssh:
    return sshd.ssh(proxy_command=(*inside, *sshd.proxy_command()))


@contextmanager
def _hosts() -> Iterator[str]:
    """Two namespaces; the second has all addresses, its listeners and its drop rule. Yields the first."""
    source, target = (f"azrb{os.getpid()}{side}" for side in "ab")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    made = []
    try:
        for name in (source, target):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "eth0", "netns", source, "type", "veth", "peer", "name", "eth0", "netns", target)
        ip("-n", source, "addr", "add", "10.78.0.1/24", "dev", "eth0")
        for address in ADDRESSES:
            ip("-n", target, "addr", "add", f"{address}/24", "dev", "eth0")
        for name in made:
            ip("-n", name, "link", "set", "eth0", "up")
        silent = ", ".join(str(port) for port in PORTS if port % 3 == 2)
        rules = (
            "add table ip bench\n"
            "add chain ip bench input { type filter hook input priority 0; }\n"
            f"add rule ip bench input tcp dport {{ {silent} }} drop\n"
        )
        inside = ["ip", "netns", "exec", target]
        subprocess.run([*inside, "nft", "-f", "-"], input=rules, text=True, check=True)
        listening = [str(port) for port in PORTS if port % 3 == 0]
        with subprocess.Popen(
            [*inside, sys.executable, "-I", "-c", _LISTEN, *listening],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as listener:
            assert listener.stdin is not None
            assert listener.stdout is not None
            if listener.stdout.readline() != b"ready\n":
                raise RuntimeError("the listeners did not come up")
            try:
                yield source
            finally:
                listener.stdin.close()
    finally:
        for name in made:
            ip("netns", "del", name)


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name}: {value}")
