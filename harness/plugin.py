"""The pytest plugin: options, fixtures, failure messages that are the diagnosis, a closing table.

A test asks for the fixtures ``reach`` and ``blocked`` and reads::

    def test_web_reaches_db(reach, blocked):
        assert reach("web-01", "db-01", tcp=1433)
        assert blocked("web-01", "db-01", tcp=22, by="nsg-udr")

    @pytest.mark.flows("web-*", "db-*", tcp=1433)
    def test_every_web_reaches_every_db(flow, reach):
        assert reach(flow)

    @pytest.mark.declared_flows
    def test_what_the_environment_file_declares(declared, as_declared):
        assert as_declared(declared)

Machines are touched when a test runs, never at collection. Connections are kept for the
whole session; a diagnosis is made once per flow and shared (:mod:`harness.diagnosis.store`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import AzreachError

if TYPE_CHECKING:
    from harness.assertions import Judgement
    from harness.diagnosis.diagnoser import Diagnoser
    from harness.environment import Environment, ExpectedFlow
    from harness.model import Diagnosis, Flow

PROPERTY_PREFIX = "azreach."

_judgements: pytest.StashKey[list[Judgement]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("azreach", "network reachability of Azure VMs")
    group.addoption(
        "--env", metavar="FILE", help="the azreach environment file: machines, log-ins, declared flows"
    )
    group.addoption("--lab", metavar="NAME", help="a running lab: looks up its environment file")
    group.addoption(
        "--allow-disruptive",
        action="store_true",
        help="permit what changes a machine for a moment (temporary listeners)",
    )
    parser.addini("azreach_env", "the azreach environment file, relative to the ini file", default="")


def pytest_configure(config: pytest.Config) -> None:
    from harness.collection import MARKS

    for mark in MARKS:
        config.addinivalue_line("markers", mark)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wanted = {"flow": "flows", "declared": "declared_flows"}
    if not any(
        name in metafunc.fixturenames and metafunc.definition.get_closest_marker(mark)
        for name, mark in wanted.items()
    ):
        return
    from harness.collection import parametrize_flows
    from harness.environment import load_environment

    path = environment_file(metafunc.config)
    parametrize_flows(metafunc, load_environment(path) if path is not None else None)


def environment_file(config: pytest.Config) -> Path | None:
    """The environment file that options, ini file or $AZREACH_ENV name, or None."""
    from harness.lookup import named_file

    file, lab = config.getoption("--env"), config.getoption("--lab")
    if not (file or lab) and (ini := config.getini("azreach_env")):
        return config.rootpath / str(ini)
    return named_file(Path(file) if file else None, lab)


@pytest.fixture(scope="session")
def env(pytestconfig: pytest.Config) -> Environment:
    """The environment under test."""
    from harness.environment import load_environment

    path = environment_file(pytestconfig)
    if path is None:
        raise pytest.UsageError(
            "no environment: give --env FILE or --lab NAME, set azreach_env in the ini file or $AZREACH_ENV"
        )
    return load_environment(path)


@pytest.fixture(scope="session")
def diagnoser(
    env: Environment, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Diagnoser]:
    """Connections to the machines of ``env``, and the diagnoses made so far in this run."""
    from harness.diagnosis.diagnoser import Diagnoser
    from harness.diagnosis.store import DiagnosisStore

    permitted = True if pytestconfig.getoption("--allow-disruptive") else None
    # xdist's workers share the parent of their base folders, so they share one store
    shared = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    base = tmp_path_factory.getbasetemp()
    store = DiagnosisStore((base.parent if shared else base) / f"azreach-{shared or 'run'}")
    with Diagnoser(env, allow_disruptive=permitted, store=store) as opened:
        yield opened


@pytest.fixture
def diagnose(diagnoser: Diagnoser, request: pytest.FixtureRequest) -> Callable[[Flow], Diagnosis]:
    """``diagnose(flow)``: the diagnosis of one flow; its cause is kept as a property of the test."""

    def diagnosed(flow: Flow) -> Diagnosis:
        diagnosis = diagnoser.diagnose(flow)
        record_diagnosis(recorder(request.node), diagnosis)
        return diagnosis

    return diagnosed


@pytest.fixture
def reach(diagnose: Callable[[Flow], Diagnosis], request: pytest.FixtureRequest) -> Callable[..., Judgement]:
    """``assert reach("web-01", "db-01", tcp=1433)``: the flow gets through, both ends agreeing."""
    from harness.assertions import Judgement, flow_of

    noted = request.node.stash.setdefault(_judgements, [])

    def reached(source: str | Flow, target: str | None = None, **what: Any) -> Judgement:
        flow = flow_of(source, target, **what)
        diagnosis = diagnose(flow)
        return Judgement(f"reach {flow}", diagnosis, diagnosis.reachable is True, noted.append)

    return reached


@pytest.fixture
def blocked(
    diagnose: Callable[[Flow], Diagnosis], request: pytest.FixtureRequest
) -> Callable[..., Judgement]:
    """``assert blocked("web-01", "db-01", tcp=22, by="nsg-udr")``: blocked, and by what was named."""
    from harness.assertions import Judgement, check_step_or_cause, flow_of, is_blocked_by

    noted = request.node.stash.setdefault(_judgements, [])

    def is_blocked(
        source: str | Flow, target: str | None = None, *, by: str | None = None, **what: Any
    ) -> Judgement:
        check_step_or_cause(by)
        flow = flow_of(source, target, **what)
        diagnosis = diagnose(flow)
        claim = f"blocked {flow}" + (f" by {by}" if by else "")
        return Judgement(claim, diagnosis, is_blocked_by(diagnosis, by), noted.append)

    return is_blocked


@pytest.fixture
def as_declared(
    diagnose: Callable[[Flow], Diagnosis], request: pytest.FixtureRequest
) -> Callable[[ExpectedFlow], Judgement]:
    """``assert as_declared(declared)``: a declared flow gets through, or is blocked by what must block it."""
    from harness.assertions import Judgement, is_blocked_by
    from harness.environment import Expectation

    noted = request.node.stash.setdefault(_judgements, [])

    def judged(declared: ExpectedFlow) -> Judgement:
        diagnosis = diagnose(declared.flow)
        if declared.expect is Expectation.ALLOW:
            return Judgement(f"allow {declared.flow}", diagnosis, diagnosis.reachable is True, noted.append)
        holds = is_blocked_by(diagnosis, declared.because)
        because = f" because {declared.because}" if declared.because else ""
        return Judgement(f"deny {declared.flow}{because}", diagnosis, holds, noted.append)

    return judged


def recorder(item: pytest.Item) -> Callable[[str, object], None]:
    """Keeps properties of a test, as ``record_property`` does, in every JUnit family without a warning."""
    return lambda name, value: item.user_properties.append((name, value))


def record_diagnosis(record_property: Callable[[str, object], None], diagnosis: Diagnosis) -> None:
    """Keeps what a report needs of a diagnosis as properties of the test (JUnit shows them)."""
    record_property(f"{PROPERTY_PREFIX}flow", str(diagnosis.flow))
    record_property(f"{PROPERTY_PREFIX}verdict", diagnosis.verdict.value)
    record_property(f"{PROPERTY_PREFIX}cause", diagnosis.cause.value if diagnosis.cause is not None else "")
    for finding in diagnosis.findings:
        for item in finding.evidence:
            record_property(f"{PROPERTY_PREFIX}evidence", f"[{item.where}] {item.kind}: {item.summary}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """A failed assertion on a reachability says the diagnosis; an error of ours shows no traceback."""
    error = call.excinfo.value if call.excinfo is not None else None
    noted = item.stash.get(_judgements, [])
    if isinstance(error, AssertionError) and noted:
        last, text = noted[-1], str(error)
        # ours only if the assertion that failed is the one that asked the judgement
        if not text or repr(last) in text or repr(last)[:60] in text:
            error.args = (last.message,)
    if isinstance(error, AzreachError):
        # also when set-up dies: a report without a diagnosis says at least why there is none
        from harness.text import plain

        said = plain(f"{type(error).__name__}: {error.message}")
        item.user_properties.append((f"{PROPERTY_PREFIX}error", said))
    report = yield
    if isinstance(error, AzreachError):
        from harness.text import plain_lines

        report.longrepr = plain_lines(f"{type(error).__name__}: {error}")
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The closing table: one row per scenario or declared flow."""
    from harness.report.summary import scenario_rows, scenario_table

    rows = scenario_rows(terminalreporter.stats)
    if rows:
        terminalreporter.section("azreach")
        for line in scenario_table(rows):
            terminalreporter.write_line(line)
