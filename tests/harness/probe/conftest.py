"""Two network namespaces joined by a veth pair, with an agent in each: real packets, real nft rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from harness.agent.client import Agent
from harness.transport.process import ProcessConnection
from harness.transport.session import Session


def run(*argv: str, stdin: str | None = None) -> None:
    subprocess.run(argv, check=True, input=stdin, text=True, capture_output=True)


def wait_for_ipv6(namespace: str, limit: float = 20.0) -> None:
    """The kernel joins the multicast groups of its addresses up to a second after the link is up."""
    deadline = time.monotonic() + limit
    command = ["ip", "-n", namespace, "-6", "addr", "show", "dev", "eth0", "scope", "link", "-tentative"]
    while not subprocess.run(command, check=True, capture_output=True).stdout:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{namespace}: no link-local address")
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Machine:
    """One namespace: 10.77.0.x/24 and fd77::x/64 on ``eth0``."""

    namespace: str
    agent: Agent
    address4: str
    address6: str

    def address(self, family: int) -> str:
        return self.address4 if family == 4 else self.address6

    def nft(self, hook: str, rule: str) -> None:
        """One rule in a chain of its own at ``hook``."""
        commands = (
            "add table inet test",
            f"add chain inet test {hook} {{ type filter hook {hook} priority 0; }}",
            f"add rule inet test {hook} {rule}",
        )
        run("ip", "netns", "exec", self.namespace, "nft", "-f", "-", stdin="\n".join(commands) + "\n")

    def flush(self) -> None:
        run("ip", "netns", "exec", self.namespace, "nft", "flush", "ruleset")

    def ip(self, *words: str) -> None:
        run("ip", "-n", self.namespace, *words)


@dataclass(frozen=True, slots=True)
class Pair:
    a: Machine
    b: Machine


@pytest.fixture(scope="session")
def joined() -> Iterator[Pair]:
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this machine")
    names = [f"azrt{os.getpid()}{side}" for side in "ab"]
    made: list[str] = []
    sessions: list[Session] = []
    machines: list[Machine] = []
    try:
        for name in names:
            try:
                run("ip", "netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
            made.append(name)
            # Duplicate address detection would keep addresses back for a second.
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        run(
            *("ip", "link", "add", "eth0", "netns", names[0], "type", "veth"),
            *("peer", "name", "eth0", "netns", names[1]),
        )
        for number, name in enumerate(names, start=1):
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            run("ip", "-n", name, "addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        for name in names:
            wait_for_ipv6(name)
        for number, name in enumerate(names, start=1):
            session = Session(
                f"vm-{'ab'[number - 1]}", ProcessConnection(name, ("ip", "netns", "exec", name))
            )
            sessions.append(session)
            machines.append(Machine(name, session.agent, f"10.77.0.{number}", f"fd77::{number}"))
        yield Pair(*machines)
    finally:
        for session in sessions:
            session.close()
        for name in made:
            run("ip", "netns", "del", name)


@dataclass(frozen=True, slots=True)
class Routed:
    """vm-a (10.79.1.2, fd79:1::2) and vm-b (10.79.2.2, fd79:2::2), and the router between them."""

    a: Machine
    router: Machine
    b: Machine


ROUTED_MTU = 1400
"""Of the link between the router and vm-b."""


@pytest.fixture(scope="session")
def routed_hosts() -> Iterator[Routed]:
    names = {side: f"azrr{os.getpid()}{side}" for side in "arb"}
    with ExitStack() as stack:
        for name in names.values():
            try:
                run("ip", "netns", "add", name)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"network namespaces cannot be made here: {error}")
            stack.callback(run, "ip", "netns", "del", name)
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
            run("ip", "-n", name, "link", "set", "lo", "up")
        forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.icmp_ratelimit=0")
        run("ip", "netns", "exec", names["r"], "sysctl", "-qw", *forwarding, "net.ipv6.icmp.ratelimit=0")
        for number, side in enumerate("ab", start=1):
            link = ("type", "veth", "peer", "name", f"eth{number}", "netns", names["r"])
            run("ip", "link", "add", "eth0", "netns", names[side], *link)
            for name, device, last in ((names[side], "eth0", 2), (names["r"], f"eth{number}", 1)):
                run("ip", "-n", name, "addr", "add", f"10.79.{number}.{last}/24", "dev", device)
                run("ip", "-n", name, "addr", "add", f"fd79:{number}::{last}/64", "dev", device, "nodad")
                run("ip", "-n", name, "link", "set", device, "up")
            run("ip", "-n", names[side], "route", "add", "default", "via", f"10.79.{number}.1")
            run("ip", "-n", names[side], "-6", "route", "add", "default", "via", f"fd79:{number}::1")
        run("ip", "-n", names["r"], "link", "set", "eth2", "mtu", str(ROUTED_MTU))
        machines: dict[str, Machine] = {}
        for side, network, last in (("a", 1, 2), ("r", 1, 1), ("b", 2, 2)):
            inside = ("ip", "netns", "exec", names[side])
            session = Session(f"vm-{side}", ProcessConnection(names[side], inside))
            stack.callback(session.close)
            addresses = (f"10.79.{network}.{last}", f"fd79:{network}::{last}")
            machines[side] = Machine(names[side], session.agent, *addresses)
        for side in "ab":
            wait_for_ipv6(names[side])
        yield Routed(machines["a"], machines["r"], machines["b"])


@pytest.fixture
def routed(routed_hosts: Routed) -> Iterator[Routed]:
    yield routed_hosts
    for machine in (routed_hosts.a, routed_hosts.router, routed_hosts.b):
        machine.flush()
        for family in ("-4", "-6"):
            machine.ip(family, "route", "flush", "cache")


@pytest.fixture
def pair(joined: Pair) -> Iterator[Pair]:
    yield joined
    joined.a.flush()
    joined.b.flush()
