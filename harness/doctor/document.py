"""The JSON document of ``azreach doctor``; the models are its schema."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness.doctor.model import CheckResult, Cure, Limit, MachineReport, Report

StatusName = Literal["ok", "warning", "failed", "unknown"]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CureDocument(_Document):
    """A command, and where: a machine's name, ``here``, or ``environment file`` for a line to write."""

    where: str
    command: str


class CheckDocument(_Document):
    check: Literal[
        "reachable", "host-key", "log-in", "python", "privilege", "tools", "clock", "captures", "azure"
    ]
    status: StatusName
    summary: str
    cures: list[CureDocument]


class LimitDocument(_Document):
    """What a step (null: every step) cannot tell where this machine is an end of the flow."""

    step: str | None
    cannot: str
    why: str


class MachineDocument(_Document):
    name: str
    login: str
    usable: bool
    checks: list[CheckDocument]
    limits: list[LimitDocument]


class ProblemDocument(_Document):
    """Something that is wrong with the environment as a whole."""

    status: StatusName
    summary: str
    cures: list[CureDocument]


class DoctorDocument(_Document):
    """``azreach doctor --json``. ``exit_status`` as the command's own: 0, 1 or 2."""

    exit_status: Literal[0, 1, 2]
    machines: list[MachineDocument]
    problems: list[ProblemDocument]


def doctor_document(report: Report) -> DoctorDocument:
    """The report with the keys that scripts may rely on."""
    return DoctorDocument.model_validate(
        {
            "exit_status": report.exit_status,
            "machines": [_machine(machine) for machine in report.machines],
            "problems": [
                ProblemDocument(status=item.status.value, summary=item.summary, cures=_cures(item.cures))
                for item in report.problems
            ],
        }
    )


def _machine(machine: MachineReport) -> MachineDocument:
    return MachineDocument(
        name=machine.name,
        login=machine.login,
        usable=machine.usable,
        checks=[_check(result) for result in machine.checks],
        limits=[_limit(limit) for limit in machine.limits],
    )


def _check(result: CheckResult) -> CheckDocument:
    return CheckDocument(
        check=result.check.value,
        status=result.status.value,
        summary=result.summary,
        cures=_cures(result.cures),
    )


def _limit(limit: Limit) -> LimitDocument:
    return LimitDocument(
        step=limit.step.value if limit.step is not None else None, cannot=limit.cannot, why=limit.why
    )


def _cures(cures: tuple[Cure, ...]) -> list[CureDocument]:
    return [CureDocument(where=cure.where, command=cure.command) for cure in cures]
