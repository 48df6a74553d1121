"""What the packet fabric costs: traffic through it against a bare veth pair, and the price of ports.

Both paths stand side by side and are measured in alternating rounds, each with the same two processes
(a client and a server, one per CPU where there are two). The fabric's target port carries an NSG
with 100 rules that do not match before the one that does. Run as ``python -m
tests.benchmarks.bench_fabric`` for this one alone. Not a test: no time is asserted.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from harness.network.model import SecurityRule
from lab.fabric import Fabric
from lab.netlink import LinkEnd, Rtnetlink, add_address, inside, link_up, veth
from lab.plan import build_plan
from tests.benchmarks.measurement import Measurement, at_most
from tests.lab.fabric_networks import Builder, nsg, rule
from tests.lab.netns_hosts import Host, hosts

ROUNDS = 11
SECONDS = 0.6
RULES = 100
CLIENT, SERVER = "10.0.0.4", "10.0.0.5"
PORT = 8000

# Each prints one line when it is ready or done; addresses and durations come as arguments.
_CONNECT_SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=1024)
print("ready", flush=True)
while True:
    server.accept()[0].close()
"""
_CONNECT_CLIENT = """
import socket, struct, sys, time
address, seconds = (sys.argv[1], int(sys.argv[2])), float(sys.argv[3])
reset = struct.pack("ii", 1, 0)
count, start = 0, time.perf_counter()
while time.perf_counter() - start < seconds:
    client = socket.socket()
    client.connect(address)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    client.close()
    count += 1
print(count / (time.perf_counter() - start))
"""
_STREAM_SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
buffer = bytearray(1 << 20)
while True:
    stream = server.accept()[0]
    while stream.recv_into(buffer):
        pass
    stream.close()
"""
_STREAM_CLIENT = """
import socket, sys, time
seconds, block = float(sys.argv[3]), bytes(1 << 20)
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sent, start = 0, time.perf_counter()
while time.perf_counter() - start < seconds:
    client.sendall(block)
    sent += len(block)
client.shutdown(socket.SHUT_WR)
client.recv(1)
print(sent * 8 / (time.perf_counter() - start))
"""


@dataclass(frozen=True, slots=True)
class Path:
    """Two hosts, with CLIENT and SERVER as their addresses, and what is between them."""

    client: Host
    server: Host


def _process(host: Host, code: str, cpu: int, *words: str) -> subprocess.Popen[str]:
    cpus = sorted(os.sched_getaffinity(0))
    with inside(host.netns):
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, *words], stdout=subprocess.PIPE, text=True
        )
    os.sched_setaffinity(process.pid, {cpus[cpu % len(cpus)]})
    return process


def _rate(path: Path, server_code: str, client_code: str) -> float:
    """What the client prints, once the server is ready."""
    where = (SERVER, str(PORT))
    server = _process(path.server, server_code, 1, *where)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        client = _process(path.client, client_code, 0, *where, str(SECONDS))
        words, _ = client.communicate()
        return float(words)
    finally:
        server.kill()
        server.communicate()


def connects_per_second(path: Path) -> float:
    return _rate(path, _CONNECT_SERVER, _CONNECT_CLIENT)


def gigabits_per_second(path: Path) -> float:
    return _rate(path, _STREAM_SERVER, _STREAM_CLIENT) / 1e9


def _other_rules() -> list[SecurityRule]:
    return [
        rule(f"Other{number}", 100 + number, "Deny", protocol="Tcp", ports=[(20000 + number, 20000 + number)])
        for number in range(RULES)
    ]


@contextmanager
def bare_and_fabric() -> Iterator[tuple[Path, Path]]:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    subnet = builder.subnet("v", "s", "10.0.0.0/24")
    builder.vm("client", subnet, CLIENT)
    builder.vm("server", subnet, SERVER, security=nsg("nsg", *_other_rules()))
    plan = build_plan(builder.build())
    with hosts("client", "server", "bare-client", "bare-server") as host, Fabric() as fabric:
        fabric.attach(list(plan.ports.values()), {name: host[name].netns for name in ("client", "server")})
        fabric.apply(plan)
        here, there = host["bare-client"], host["bare-server"]
        with inside(here.netns), Rtnetlink() as rtnetlink:
            ends = (LinkEnd("eth0", "00:0d:3a:00:00:0a"), LinkEnd("eth0", "00:0d:3a:00:00:0b"))
            rtnetlink.send([veth(*ends, there.netns, 1500)])
        for end, address in ((here, CLIENT), (there, SERVER)):
            with inside(end.netns), Rtnetlink() as rtnetlink:
                index = socket.if_nametoindex("eth0")
                rtnetlink.send([link_up(index), add_address(index, ip_address(address), 24)])
        yield Path(here, there), Path(host["client"], host["server"])


def alternating(
    name: str, unit: str, measure: Callable[[Path], float], paths: tuple[Path, Path], at_least: float
) -> Measurement:
    """The fabric by the bare pair, in rounds that take turns at going first.

    Both values are medians; the ratio is the median of the rounds' ratios, since what else the
    machine does changes from round to round more than within one.
    """
    bare, fabric = paths
    rounds: list[tuple[float, float]] = []
    for number in range(ROUNDS):
        if number % 2:
            rate = measure(fabric)
            rounds.append((measure(bare), rate))
        else:
            rounds.append((measure(bare), measure(fabric)))
    ratio = statistics.median(other / one for one, other in rounds)
    peer = "bare veth pair"
    return Measurement(
        name,
        statistics.median(other for _, other in rounds),
        unit,
        target=f">= {at_least:g} x {peer}",
        peer=f"{peer}: {statistics.median(one for one, _ in rounds):.4g} {unit}",
        ratio=ratio,
        met=ratio >= at_least,
    )


def seconds_to_wire(vms: int) -> tuple[float, float]:
    """To attach and apply, and to close, for VMs in one VNet; their namespaces exist before and after."""
    builder = Builder()
    builder.vnet("v", "10.0.0.0/8")
    subnet = builder.subnet("v", "s", "10.0.0.0/16", security=nsg("nsg"))
    names = [f"vm{number}" for number in range(vms)]
    for number, name in enumerate(names):
        builder.vm(name, subnet, f"10.0.{number // 200}.{number % 200 + 4}")
    network = builder.build()
    with hosts(*names) as made:
        start = time.perf_counter()
        plan = build_plan(network)
        with Fabric() as fabric:
            fabric.attach(list(plan.ports.values()), {name: host.netns for name, host in made.items()})
            fabric.apply(plan)
            if not all(fabric.port_states().values()):
                raise RuntimeError("a port has no carrier")
            wired = time.perf_counter()
        return wired - start, time.perf_counter() - wired


def run() -> dict[str, Measurement]:
    """Name -> measurement."""
    with bare_and_fabric() as paths:
        results = {
            "connects": alternating("connects", "1/s", connects_per_second, paths, 0.6),
            "throughput": alternating("throughput", "Gbit/s", gigabits_per_second, paths, 0.9),
        }
    for vms, limit in ((100, 0.3), (1000, 3.0)):
        up, down = seconds_to_wire(vms)
        results[f"wire_{vms}_vms"] = at_most(f"wire_{vms}_vms", up, limit, "s")
        results[f"unwire_{vms}_vms"] = Measurement(f"unwire_{vms}_vms", down, "s")
    return results


if __name__ == "__main__":
    for measurement in run().values():
        print(measurement)
