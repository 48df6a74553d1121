"""Validates an environment file on this machine alone: no other machine is touched.

Schema first; a file that fits it is then held against what it refers to: secrets, keys, jump
hosts, the snapshot and its VMs, and flows that stand for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.doctor.references import Location, jump_problem, problems_of
from harness.environment import Environment, load_environment
from harness.errors import InputError, SnapshotError
from harness.network.load import load_network
from harness.network.model import key
from harness.yamlfile import places


@dataclass(frozen=True, slots=True)
class Checked:
    """``problems`` are lines ``file:line: key: what is wrong``; without any, the numbers count."""

    problems: tuple[str, ...]
    machines: int = 0
    flows: int = 0


def check_file(path: Path) -> Checked:
    """Everything that is wrong with the file at ``path``, as far as this machine can tell."""
    try:
        environment = load_environment(path)
    except InputError as error:
        return Checked(_lines(str(error), str(path)))
    place = places(path)
    found = {(*place(location), " ".join(summary.split())) for location, summary in _problems(environment)}
    lines = tuple(f"{path}:{line}: {key}: {summary}" for line, key, summary in sorted(found))
    return Checked(lines, len(environment.machines), len(environment.expected_flows()))


def _lines(message: str, path: str) -> tuple[str, ...]:
    """One line per problem: what a parser says over several lines is joined."""
    found: list[str] = []
    for line in message.splitlines():
        if line.startswith(path) or not found:
            found.append(line)
        else:
            found[-1] = f"{found[-1]} {line.strip()}"
    return tuple(found)


def _problems(environment: Environment) -> Iterator[tuple[Location, str]]:
    yield from _snapshot(environment)
    for name, machine in environment.machines.items():
        for reference in problems_of(name, machine):
            yield reference.location, reference.summary
        circle = jump_problem(environment, name)
        # a jump host's own jump host is its own problem
        if circle is not None and circle.location[1] == name:
            yield circle.location, circle.summary
    for number, rule in enumerate(environment.flows):
        sources, targets = environment.matching(rule.source), environment.matching(rule.target)
        # an address as the target matches no machine, and is a flow all the same
        if targets and all(source == target for source in sources for target in targets):
            yield ("flows", number), "it stands for no flow: a machine to itself is left out"


def _snapshot(environment: Environment) -> Iterator[tuple[Location, str]]:
    path = environment.azure.snapshot
    if path is None:
        return
    if path.exists() and not path.is_file():
        yield ("azure", "snapshot"), f"{path} is no regular file"
        return
    try:
        network = load_network(path)
    except SnapshotError as error:
        yield ("azure", "snapshot"), error.message
        return
    for name, machine in environment.machines.items():
        if machine.arm_id is not None and key(machine.arm_id) not in network.vms:
            yield ("machines", name, "arm_id"), f"the snapshot has no VM {machine.arm_id}"
