"""Two network namespaces joined by a veth pair, with an agent in each: real packets, real nft rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
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


@pytest.fixture
def pair(joined: Pair) -> Iterator[Pair]:
    yield joined
    joined.a.flush()
    joined.b.flush()
