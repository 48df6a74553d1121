"""The words of ``azreach doctor``: what is checked on a machine, what came of it, and what cures it.

Frozen and typed; the string values appear unchanged in the JSON document. Not for finding
anything out (:mod:`harness.doctor.examine`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model import Step

HERE = "here"
"""Where a cure is run: on the controller itself."""

ENVIRONMENT_FILE = "environment file"
"""Where a cure is a line to write, not a command."""


class Check(StrEnum):
    """What is looked at, in the order in which one rests on another."""

    REACHABLE = "reachable"
    HOST_KEY = "host-key"
    LOG_IN = "log-in"
    PYTHON = "python"
    PRIVILEGE = "privilege"
    TOOLS = "tools"
    CLOCK = "clock"
    CAPTURES = "captures"
    AZURE = "azure"


class Status(StrEnum):
    """What came of a check."""

    OK = "ok"
    WARNING = "warning"
    """Something is missing; work can be done without it."""
    FAILED = "failed"
    """The machine cannot be used."""
    UNKNOWN = "unknown"
    """It did not come to this check, or there is nothing to hold it against."""


@dataclass(frozen=True, slots=True)
class Cure:
    """A command and where to run it: a machine's name, :data:`HERE` or :data:`ENVIRONMENT_FILE`."""

    where: str
    command: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """``short`` is a word or two for a table, ``summary`` a sentence."""

    check: Check
    status: Status
    short: str
    summary: str
    cures: tuple[Cure, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that a step will not be able to tell where this machine is an end of the flow, and why.

    ``step`` None: every step.
    """

    step: Step | None
    cannot: str
    why: str


@dataclass(frozen=True, slots=True)
class MachineReport:
    """Everything about one machine. ``login`` is user, host and port as people write them."""

    name: str
    login: str
    checks: tuple[CheckResult, ...]
    limits: tuple[Limit, ...] = ()

    @property
    def usable(self) -> bool:
        return not any(result.status is Status.FAILED for result in self.checks)

    @property
    def problems(self) -> tuple[CheckResult, ...]:
        return tuple(found for found in self.checks if found.status in (Status.FAILED, Status.WARNING))

    def result(self, check: Check) -> CheckResult:
        return next(result for result in self.checks if result.check is check)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with the environment as a whole, not with one machine."""

    status: Status
    summary: str
    cures: tuple[Cure, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The whole round."""

    machines: tuple[MachineReport, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 all fine, 1 something is missing but work can be done, 2 some machine cannot be used."""
        statuses = {problem.status for problem in self.problems}
        statuses |= {result.status for machine in self.machines for result in machine.checks}
        if Status.FAILED in statuses:
            return 2
        return 1 if Status.WARNING in statuses else 0
