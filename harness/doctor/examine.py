"""Asks one machine what the doctor wants to know, and writes it down. Judges nothing.

Changes nothing on the machine: it reads, opens a capture for a moment, and asks sudo whether it
would work. A machine that fails at any point gives the facts that were had until then.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from harness.agent.client import Agent
from harness.agent.contract import CaptureFilter, Hello, RequestError
from harness.doctor.clock import ClockReading, best, reading
from harness.environment import Become
from harness.errors import AgentError, AzreachError
from harness.guest.addresses import IP_COMMAND, InterfaceAddress, read_addresses
from harness.model import Protocol
from harness.transport.become import PrivilegeError, Refusal, understand
from harness.transport.session import Sessions

TOOLS = ("ss", "ip", "nft", "iptables-save", "ip6tables-save", "conntrack", "ping", "sudo")
"""What steps run on a guest, or their fixes tell people to run."""

HELPERS = ("apt-get", "dnf", "yum", "zypper", "apk", "chronyc", "timedatectl", "python3")
"""What cures are made of: asked so that a cure names a command that the machine has."""

CLOCK_READINGS = 3
SUDO_TIMEOUT = 10.0
IP_TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one machine; None: not known.

    ``failure``: why there is no agent to ask. ``died``: how the agent failed in the middle.
    ``no_sudo``: why sudo does not make root of the log-in without a password (only where the agent is
    not root); None: it does, or it was not asked. ``no_capture``: why a capture could not be opened;
    empty where one could.
    """

    failure: AzreachError | None = None
    died: AgentError | None = None
    hello: Hello | None = None
    clock: ClockReading | None = None
    no_sudo: PrivilegeError | None = None
    no_capture: str | None = None
    addresses: tuple[InterfaceAddress, ...] | None = None

    def has(self, tool: str) -> bool:
        """Whether the machine has that program, as far as it said."""
        return self.hello is not None and self.hello.tools.get(tool) is not None


def examine(sessions: Sessions, name: str) -> Facts:
    """The facts of the machine ``name``; never raises an AzreachError."""
    try:
        session = sessions.get(name)
    except AzreachError as error:
        return Facts(failure=error)
    agent = session.agent
    facts = Facts()
    try:
        hello, clock = _hello(agent)
        facts = replace(facts, hello=hello, clock=clock)
        if not hello.root:
            facts = replace(facts, no_sudo=session.become_problem or why_no_sudo(agent, hello))
        facts = replace(facts, no_capture=_why_no_capture(agent))
        return replace(facts, addresses=_addresses(agent))
    except AgentError as error:
        return replace(facts, died=error)


def why_no_sudo(agent: Agent, hello: Hello) -> PrivilegeError | None:
    """Why the log-in could not start an agent as root by ``become: sudo``; None where it could."""
    absent = PrivilegeError(agent.machine, Refusal.NO_SUDO, "there is no sudo on the machine")
    if hello.tools.get("sudo") is None:
        return absent
    # not `true`: a rule may allow python3 alone
    command = ("sudo", "-n", "-u", "root", "--", "python3", "-I", "-S", "-c", "pass")
    try:
        done = agent.run(*command, timeout=SUDO_TIMEOUT, max_output=10_000)
    except RequestError:
        return absent
    if done.exit_code == 0:
        return None
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return understand(agent.machine, Become(), done.stderr) or PrivilegeError(
        agent.machine, Refusal.BROKEN, f"sudo does not work: {last[:200]}"
    )


def _hello(agent: Agent) -> tuple[Hello, ClockReading]:
    readings = []
    for _ in range(CLOCK_READINGS):
        sent = time.time()
        started = time.monotonic()
        hello = agent.hello((*TOOLS, *HELPERS))
        # the length by the monotonic clock: ours may be set meanwhile
        readings.append(reading(sent, hello.clock, sent + time.monotonic() - started))
    return hello, best(readings)


def _why_no_capture(agent: Agent) -> str:
    """A capture is opened, not only its capability looked up: containers refuse in other ways too."""
    try:
        # of nothing in particular, and closed at once
        handle = agent.capture(CaptureFilter(Protocol.TCP, ports=(1,)), limit=1, lease=5.0).handle
        agent.capture_stop(handle)
    except RequestError as error:
        return error.text
    return ""


def _addresses(agent: Agent) -> tuple[InterfaceAddress, ...] | None:
    try:
        done = agent.run(*IP_COMMAND, timeout=IP_TIMEOUT)
    except RequestError:
        return None
    return read_addresses(done.stdout) if done.exit_code == 0 else None
