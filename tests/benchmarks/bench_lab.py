"""How fast a lab comes and goes, next to mininet in the same run.

The lab does more for each host than mininet (file systems, pid 1, host keys, security rules), so
the comparison flatters the peer. Whole commands are timed, the start of Python included, on both
sides. Both are run several times in turn and the medians taken.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from harness.environment import Machine, load_environment
from lab.client import Lab, take_down
from tests.benchmarks.machine import require
from tests.benchmarks.measurement import Measurement, against, at_least, at_most

ROUNDS = 5
HOSTS = 100
MANY = 1000

# run by the system's python, which Debian's mininet belongs to; prints how long stop() took
_MININET = """
import sys, time
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
net = Mininet(controller=None, switch=LinuxBridge)
switch = net.addSwitch("s1")
for number in range({hosts}):
    net.addLink(net.addHost("h%d" % number), switch)
net.start()
print("up", flush=True)
sys.stdin.readline()
net.stop()
"""

# one process that visits every VM's network: what is measured is the network, not a thousand interpreters
_CONNECT_ALL = """
import ctypes, os, select, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
address, port = sys.argv[1], int(sys.argv[2])
sockets = {}
for pid in sys.stdin.read().split():
    fd = os.open("/proc/%s/ns/net" % pid, os.O_RDONLY)
    if libc.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)
    sockets[pid] = socket.socket()
    sockets[pid].setblocking(False)
start = time.monotonic()
poll = select.epoll()
for sock in sockets.values():
    sock.connect_ex((address, port))
    poll.register(sock.fileno(), select.EPOLLOUT)
waiting = {sock.fileno(): sock for sock in sockets.values()}
connected = 0
while waiting and time.monotonic() < start + 20:
    for fd, _ in poll.poll(1):
        connected += waiting.pop(fd).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        poll.unregister(fd)
print(connected, time.monotonic() - start)
"""


def run() -> dict[str, Measurement]:
    """Up and down of 100 hosts here and in mininet, and of 1,000 VMs that all talk to one."""
    require("brctl", "bridge-utils")
    require("mn", "mininet")
    ours, theirs = [], []
    with _labs() as directory:
        file = _lab_file(directory, HOSTS)
        ready = _time_log_ins(file)
        for _ in range(ROUNDS):
            ours.append(_time_lab(file))
            theirs.append(_time_mininet(HOSTS))
        up, down = (statistics.median(column) for column in zip(*ours, strict=True))
        peer_up, peer_down = (statistics.median(column) for column in zip(*theirs, strict=True))
        many_up, many_down, connected, seconds = _time_many(_lab_file(directory, MANY))
    peer = f"mininet, {HOSTS} hosts on a bridge"
    name = f"vms_{HOSTS}"
    return {
        f"{name}_up": against(f"{name}_up", up, "s", peer=peer, peer_value=peer_up, at_most=0.25),
        f"{name}_down": against(f"{name}_down", down, "s", peer=peer, peer_value=peer_down, at_most=0.25),
        f"{name}_all_logged_in": Measurement(f"{name}_all_logged_in", ready, "s"),
        f"vms_{MANY}_up": at_most(f"vms_{MANY}_up", many_up, 8.0, "s"),
        f"vms_{MANY}_down": Measurement(f"vms_{MANY}_down", many_down, "s"),
        f"vms_{MANY}_connected_to_one": at_least(f"vms_{MANY}_connected_to_one", connected, MANY, "VMs"),
        f"vms_{MANY}_connect_time": Measurement(f"vms_{MANY}_connect_time", seconds, "s"),
    }


@contextmanager
def _labs() -> Iterator[Path]:
    """A directory for lab files and a state root of its own."""
    before = os.environ.get("AZREACH_STATE")
    with tempfile.TemporaryDirectory(prefix="azreach-bench-") as directory:
        os.environ["AZREACH_STATE"] = f"{directory}/state"
        try:
            yield Path(directory)
        finally:
            os.environ.pop("AZREACH_STATE")
            if before is not None:
                os.environ["AZREACH_STATE"] = before


def _lab_file(directory: Path, vms: int) -> Path:
    path = directory / f"bench-{vms}.yaml"
    path.write_text(
        "vnets: {vnet: {address_space: 10.0.0.0/16, subnets: {all: {prefix: 10.0.0.0/16}}}}\n"
        f"vms:\n  'vm-{{n:04}}': {{count: {vms - 1}, subnet: all}}\n"
        "  target: {subnet: all, address: 10.0.255.4, services: [80/tcp]}\n",
        encoding="utf-8",
    )
    return path


def _command(*words: str) -> float:
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "lab", *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - start


def _time_lab(file: Path) -> tuple[float, float]:
    """(up, down) in seconds."""
    return _command("up", str(file), "--name", "bench"), _command("down", "bench")


def _time_log_ins(file: Path) -> float:
    """Seconds to log in to every VM of a lab right after it is up: proof that "up" means ready for SSH."""
    _command("up", str(file), "--name", "bench")
    try:
        start = time.monotonic()
        environment = load_environment(Lab.open("bench").environment_path)
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(_hostname, environment.machines.values()))
        seconds = time.monotonic() - start
        if names != list(environment.machines):
            raise RuntimeError("a VM does not answer by SSH with its own name")
    finally:
        _command("down", "bench")
    return seconds


def _hostname(machine: Machine) -> str:
    """What a VM answers to ``hostname`` by SSH."""
    ssh = machine.ssh
    options = {
        "ProxyCommand": shlex.join(ssh.proxy_command or ()),
        "UserKnownHostsFile": str(ssh.known_hosts),
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
    }
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    words = ["ssh", "-F", "none", "-i", str(ssh.key_file), *flags, f"{ssh.user}@{ssh.host}", "hostname"]
    return subprocess.run(
        words, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout.strip()


def _time_mininet(hosts: int) -> tuple[float, float]:
    """(up, down) in seconds, in a network namespace of its own: its bridge would else be the machine's."""
    start = time.monotonic()
    with subprocess.Popen(
        ["unshare", "--net", "--mount", "/usr/bin/python3", "-c", _MININET.format(hosts=hosts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "up\n":
            raise RuntimeError(f"mininet: {process.communicate()[1].strip()}")
        up = time.monotonic() - start
        start = time.monotonic()
        process.communicate("\n")
        return up, time.monotonic() - start


def _time_many(file: Path) -> tuple[float, float, int, float]:
    """(up, down, VMs connected to one of them, seconds for that)."""
    up = _command("up", str(file), "--name", "many")
    try:
        lab = Lab.open("many")
        enter = [] if os.geteuid() == 0 else [*_user_namespace(lab)]
        result = subprocess.run(
            [*enter, "/usr/bin/python3", "-I", "-S", "-c", _CONNECT_ALL, "10.0.255.4", "80"],
            input=" ".join(str(vm.pid) for vm in lab.vms.values()),
            check=True,
            capture_output=True,
            text=True,
        )
        connected, seconds = result.stdout.split()
    finally:
        start = time.monotonic()
        take_down("many")
        down = time.monotonic() - start
    return up, down, int(connected), float(seconds)


def _user_namespace(lab: Lab) -> Iterator[str]:
    pid = next(iter(lab.vms.values())).pid
    yield from ("nsenter", "-t", str(pid), "-U", "--preserve-credentials", "--")


if __name__ == "__main__":
    for measurement in run().values():
        print(measurement)
