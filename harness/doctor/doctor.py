"""The doctor's round: examines every machine of an environment at the same time and judges what it finds.

Ends in any case: a machine that does not answer in time is a row of the report, as is one whose
agent dies in the middle.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.doctor import cures, rounds
from harness.doctor.azure import vm_of
from harness.doctor.checks import judge
from harness.doctor.clock import common_offset
from harness.doctor.examine import Facts, examine
from harness.doctor.limits import limits_of
from harness.doctor.model import HERE, Cure, MachineReport, Problem, Report, Status
from harness.doctor.references import Reference, endless, jump_problem, problems_of
from harness.environment import Environment, Ssh
from harness.errors import InputError, SnapshotError, TransportError
from harness.network.load import load_network
from harness.network.model import Network
from harness.transport.session import Sessions

REQUESTS = 60.0
"""Seconds for everything that is asked of an agent, beyond the time for connecting and logging in."""

PHASES = 5
"""Connection, key exchange, log-in, start of a command, start of the agent: each has its own time-out."""


def check_environment(
    environment: Environment,
    *,
    progress: Callable[[str], None] = lambda what: None,  # noqa: ARG005
) -> Report:
    """The report on all machines. Touches nothing but by reading; raises nothing for a bad machine."""
    network, problems = _snapshot(environment)
    names = tuple(environment.machines)
    with Sessions(environment) as sessions:
        facts = rounds.each(
            names,
            lambda name: _examine(sessions, name),
            limit=lambda name: limit_of(environment, name),
            late=lambda name, seconds: Facts(
                failure=TransportError(name, f"nothing came of it within {seconds:g} s")
            ),
            done=lambda count: progress(f"{count} done"),
        )
    problems += _clocks(facts)
    machines = tuple(_report(environment, name, facts[name], network) for name in names)
    return Report(machines, tuple(problems))


def log_in_of(ssh: Ssh) -> str:
    """``user@host:port`` and how it is reached, for people."""
    host = f"[{ssh.host}]" if ":" in ssh.host else ssh.host
    way = f" through {ssh.jump}" if ssh.jump is not None else ""
    return f"{ssh.user}@{host}:{ssh.port}{way}"


def _report(environment: Environment, name: str, facts: Facts, network: Network | None) -> MachineReport:
    machine = environment.machines[name]
    broken = _references(environment, name) if facts.failure is not None else ()
    return MachineReport(
        name=name,
        login=log_in_of(machine.ssh),
        checks=judge(name, machine, facts, references=broken, network=network),
        limits=limits_of(
            facts,
            in_snapshot=None if network is None else vm_of(network, name, machine) is not None,
            allow_disruptive=environment.allow_disruptive,
        ),
    )


def _references(environment: Environment, name: str) -> tuple[Reference, ...]:
    jump = jump_problem(environment, name)
    return (*problems_of(name, environment.machines[name]), *([jump] if jump is not None else []))


def _examine(sessions: Sessions, name: str) -> Facts:
    broken = jump_problem(sessions.environment, name)
    if broken is not None:
        return Facts(failure=TransportError(name, broken.summary))
    pipe = endless(name, sessions.environment.machines[name])
    if pipe is not None:
        return Facts(failure=InputError(pipe.summary))
    return examine(sessions, name)


def limit_of(environment: Environment, name: str) -> float:
    """Seconds after which a machine is given up, its jump hosts' time included."""
    seconds, seen = REQUESTS, set()
    current: str | None = name
    while current is not None and current not in seen:
        seen.add(current)
        machine = environment.machines.get(current)
        # a jump host that is no machine of the file has this machine's time-outs
        timeout = (machine or environment.machines[name]).ssh.connect_timeout
        seconds += PHASES * timeout
        current = machine.ssh.jump if machine is not None else None
    return seconds


def _snapshot(environment: Environment) -> tuple[Network | None, list[Problem]]:
    path = environment.azure.snapshot
    if path is None:
        summary = "the environment has no snapshot of the network: no rule, route or peering can be named"
        return None, [Problem(Status.WARNING, summary, cures.make_snapshot(None))]
    try:
        return load_network(path), []
    except SnapshotError as error:
        return None, [Problem(Status.FAILED, error.message, cures.make_snapshot(path))]


def _clocks(facts: dict[str, Facts]) -> list[Problem]:
    offset = common_offset(item.clock for item in facts.values() if item.clock is not None)
    if offset is None:
        return []
    summary = (
        f"all machines agree on a time that is {offset:+.0f} s from this machine's: its own clock is wrong"
    )
    return [Problem(Status.WARNING, summary, (Cure(HERE, "sudo chronyc makestep"),))]
