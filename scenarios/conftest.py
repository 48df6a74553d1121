"""Runs the scenario modules in two ways, from the same files.

Without an environment the local lab is raised and every row is played: healthy, break,
diagnose, right step and right cause, mend, healthy. With ``--env FILE`` (or a running lab by
name) nothing is injected: every declared flow is checked, the evidence is collected once per
flow and shared by the modules.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from harness.collection import flow_id
from harness.environment import Expectation, ExpectedFlow, load_environment
from harness.errors import InconclusiveError
from harness.model import Cause, Diagnosis, Step, Verdict
from harness.plugin import PROPERTY_PREFIX, environment_file, record_diagnosis, recorder
from harness.report.message import diagnosis_lines
from scenarios.rows import Healthy, Scenario

if TYPE_CHECKING:
    from harness.diagnosis.diagnoser import Diagnoser
    from lab.client import Lab

Case = Scenario | Healthy | ExpectedFlow
Record = Callable[[str, object], None]

LAB_TIMEOUT = 1.0
"""Seconds of silence that count in the lab, where an answer takes less than a millisecond."""

_NUMBERS = {step: number for number, step in enumerate(Step)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per row of the module's table, or per declared flow that concerns its step."""
    if "case" not in metafunc.fixturenames:
        return
    step: Step | None = getattr(metafunc.module, "STEP", None)
    prefix = f"step{_NUMBERS[step]}-{step}" if step is not None else "flows"
    path = environment_file(metafunc.config)
    cases: list[Case]
    if path is not None:
        # overlapping globs may declare the same flow twice
        declared = list(dict.fromkeys(load_environment(path).expected_flows()))
        cases = [item for item in declared if step is None or _concerns(item, step)]
        names = [flow_id(item.flow) for item in declared if item in cases]
    else:
        cases = list(metafunc.module.SCENARIOS)
        names = [row.id for row in metafunc.module.SCENARIOS]
    if len(set(names)) != len(names):
        raise pytest.UsageError(f"{metafunc.module.__name__}: two rows have the same id")
    metafunc.parametrize("case", cases, ids=[f"{prefix}[{name}]" for name in names])


def _concerns(item: ExpectedFlow, step: Step) -> bool:
    """Allowed flows must be free of every step's faults; a denied one concerns the step that must deny it."""
    if item.expect is Expectation.ALLOW:
        return True
    return item.because is not None and item.because.partition("/")[0] == step


@pytest.fixture(scope="session")
def stages() -> Iterator[Callable[[str], tuple[Lab, Diagnoser]]]:
    """A lab per topology with the connections to its machines, raised when first asked for.

    Each worker of xdist has labs of its own, since faults are made in them. A lab whose
    owner is killed takes itself down.
    """
    from harness.diagnosis.diagnoser import Diagnoser
    from lab.client import raise_lab, take_down

    raised: dict[str, tuple[Lab, Diagnoser]] = {}

    def stage(topology: str) -> tuple[Lab, Diagnoser]:
        if topology not in raised:
            lab = raise_lab(topology, f"scenarios-{os.getpid()}-{len(raised)}", owner_pid=os.getpid())
            raised[topology] = lab, Diagnoser(load_environment(lab.environment_path), timeout=LAB_TIMEOUT)
        return raised[topology]

    yield stage
    for lab, diagnoser in raised.values():
        diagnoser.close()
        take_down(lab.name)


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Callable[[Case], None]:
    """Plays a scenario in the lab, or checks a declared flow against the machines that exist."""

    def checked(case: Case) -> None:
        record_property = recorder(request.node)
        record_property(f"{PROPERTY_PREFIX}scenario", request.node.callspec.id)
        if isinstance(case, Scenario):
            _play(case, request.getfixturevalue("stages"), record_property)
        elif isinstance(case, Healthy):
            _check_all(case, request.getfixturevalue("stages"), record_property)
        else:
            step: Step | None = getattr(request.module, "STEP", None)
            _check_declared(case, step, request.getfixturevalue("diagnoser"), record_property)

    return checked


def _play(row: Scenario, stages: Callable[[str], tuple[Lab, Diagnoser]], record: Record) -> None:
    from lab import journal

    record(f"{PROPERTY_PREFIX}fault", row.fault)
    record(f"{PROPERTY_PREFIX}expected", row.cause.value)
    lab, diagnoser = stages(row.topology)
    _must_be_healthy(diagnoser.diagnose(row.flow), "before the fault")
    journal.make(lab, row.fault, row.flow)
    try:
        diagnosis = diagnoser.diagnose(row.flow)
    finally:
        journal.mend(lab, row.fault)
    record_diagnosis(record, diagnosis)
    record(f"{PROPERTY_PREFIX}found", _found(diagnosis))
    if [finding.cause for finding in diagnosis.findings] != [row.cause] or diagnosis.cause is not row.cause:
        pytest.fail(_message(f"expected {row.cause}, and nothing else", diagnosis), pytrace=False)
    ends = {item.where for finding in diagnosis.findings for item in finding.evidence}
    assert {row.flow.source, row.flow.target} <= ends, f"evidence from both ends is missing: {ends}"
    _must_be_healthy(diagnoser.diagnose(row.flow), "after mending")


def _check_all(row: Healthy, stages: Callable[[str], tuple[Lab, Diagnoser]], record: Record) -> None:
    record(f"{PROPERTY_PREFIX}expected", "as declared")
    lab, diagnoser = stages(row.topology)
    flows = load_environment(lab.environment_path).expected_flows()
    assert flows, f"{row.topology} declares no flow"
    for item in flows:
        _must_be_as_declared(item, diagnoser.diagnose(item.flow), None)
    record(f"{PROPERTY_PREFIX}found", "as declared")


def _check_declared(item: ExpectedFlow, step: Step | None, diagnoser: Diagnoser, record: Record) -> None:
    diagnosis = diagnoser.diagnose(item.flow)
    record_diagnosis(record, diagnosis)
    record(f"{PROPERTY_PREFIX}expected", item.because or item.expect.value)
    record(f"{PROPERTY_PREFIX}found", _found(diagnosis))
    _must_be_as_declared(item, diagnosis, step)


def _must_be_as_declared(item: ExpectedFlow, diagnosis: Diagnosis, step: Step | None) -> None:
    """``step`` None: the flow as a whole; else only what this step is to blame for."""
    if diagnosis.verdict is Verdict.INCONCLUSIVE:
        raise InconclusiveError("\n".join(diagnosis_lines(diagnosis)))
    if item.expect is Expectation.DENY:
        from harness.assertions import is_blocked_by

        if not is_blocked_by(diagnosis, item.because):
            pytest.fail(
                _message(f"expected to be denied by {item.because or 'a named cause'}", diagnosis),
                pytrace=False,
            )
    elif diagnosis.verdict is Verdict.FAULT and (step is None or _blames(diagnosis, step)):
        pytest.fail(_message("expected to be allowed", diagnosis), pytrace=False)


def _blames(diagnosis: Diagnosis, step: Step) -> bool:
    return any(finding.step is step for finding in diagnosis.findings)


def _found(diagnosis: Diagnosis) -> str:
    cause: Cause | None = diagnosis.cause
    return cause.value if cause is not None else diagnosis.verdict.value


def _must_be_healthy(diagnosis: Diagnosis, when: str) -> None:
    if diagnosis.verdict is not Verdict.HEALTHY or diagnosis.findings:
        pytest.fail(_message(f"expected to be healthy {when}", diagnosis), pytrace=False)


def _message(expected: str, diagnosis: Diagnosis) -> str:
    return "\n".join([expected, *diagnosis_lines(diagnosis)])


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Marks every test of a step module with its step, for ``-m``."""
    for item in items:
        step: Step | None = getattr(item.module, "STEP", None)
        if step is not None:
            item.add_marker(f"step{_NUMBERS[step]}")
