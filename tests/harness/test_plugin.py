"""The plugin without machines: options, collection, messages. With machines: test_plugin_in_lab.py."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

ENVIRONMENT = """\
machines:
  web-01: {ssh: {host: 127.0.0.1, port: 1, user: nobody, known_hosts: known_hosts, connect_timeout: 2}}
  db-01: {ssh: {host: 127.0.0.1, port: 1, user: nobody, known_hosts: known_hosts, connect_timeout: 2}}
flows:
  - {from: web-01, to: db-01, port: 1433}
"""

TEST = """\
def test_reach(reach):
    assert reach("web-01", "db-01", tcp=1433)

def test_blocked(blocked):
    assert blocked("web-01", "db-01", tcp=22, by="nsg-udr")
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A team's own repository: one environment file, one test module."""
    pytester.makefile(".yaml", env=ENVIRONMENT)
    pytester.path.joinpath("known_hosts").touch()
    pytester.makepyfile(TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_collection_needs_neither_machines_nor_an_environment(project: pytest.Pytester) -> None:
    result = run(project, "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::test_reach", "*::test_blocked", "2 tests collected*"])
    assert result.ret == 0


def test_an_unreachable_machine_fails_both_and_says_so_without_a_traceback(project: pytest.Pytester) -> None:
    result = run(project, "--env", "env.yaml")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*TransportError: web-01: *"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_ini_file_names_the_environment(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\nazreach_env = env.yaml\n")
    run(project).stdout.fnmatch_lines(["*TransportError: web-01: *"])


def test_without_an_environment_the_message_says_what_to_give(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZREACH_ENV", raising=False)
    result = run(project)
    result.stdout.fnmatch_lines(["*no environment: give --env FILE*"])
    assert result.ret != 0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ('reach("web-99", "db-01", tcp=1)', "no machine 'web-99'"),
        ('reach("web-01", "db-01")', "exactly one of tcp=PORT"),
        ('reach("web-01", "db-01", tcp=1, udp=2)', "exactly one of tcp=PORT"),
        ('blocked("web-01", "db-01", tcp=1, by="nsg")', "is no step and no cause"),
    ],
)
def test_wrong_use_is_one_message(project: pytest.Pytester, call: str, says: str) -> None:
    project.makepyfile(f"def test_it(reach, blocked):\n    assert {call}\n")
    result = run(project, "--env", "env.yaml")
    result.stdout.fnmatch_lines([f"*{says}*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_invalid_environment_is_one_message(project: pytest.Pytester) -> None:
    project.makefile(".yaml", env=ENVIRONMENT.replace("port: 1433", "port: 99999"))
    run(project, "--env", "env.yaml").stdout.fnmatch_lines(["*env.yaml:5: flows.0.port: *"])


GLOBS = """\
import pytest

@pytest.mark.flows("web-*", "*", tcp=80)
@pytest.mark.flows("db-01", "web-01", icmp=True)
def test_globs(flow, reach):
    assert reach(flow)

@pytest.mark.declared_flows
def test_declared(declared, as_declared):
    assert as_declared(declared)
"""


def test_globs_are_expanded_at_collection(project: pytest.Pytester) -> None:
    project.makepyfile(GLOBS)
    result = run(project, "--env", "env.yaml", "--collect-only", "-q", "--strict-markers")
    result.stdout.fnmatch_lines_random(
        [
            "*::test_globs[[]web-01->db-01:80/tcp]",
            "*::test_globs[[]db-01->web-01/icmp]",
            "*::test_declared[[]web-01->db-01:1433/tcp]",
        ]
    )


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ('flows("app-*", "db-01", tcp=1)', "'app-[*]' matches no machine"),
        ('flows("web-01", "db-01")', "exactly one of tcp=PORT"),
        ('flows("web-01", tcp=1)', "needs a source and a target"),
    ],
)
def test_a_mark_that_fits_nothing_is_one_message(project: pytest.Pytester, mark: str, says: str) -> None:
    project.makepyfile(
        f"import pytest\n\n@pytest.mark.{mark}\ndef test_it(flow, reach):\n    assert reach(flow)\n"
    )
    result = run(project, "--env", "env.yaml")
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{says}*"])


def test_junit_says_why_when_set_up_dies(project: pytest.Pytester) -> None:
    run(project, "--env", "absent.yaml", "--junitxml", "junit.xml").assert_outcomes(errors=2)
    junit = (project.path / "junit.xml").read_text()
    assert 'name="azreach.error" value="InputError: ' in junit
    assert "absent.yaml: No such file" in junit


# a diagnosis from elsewhere: what the messages say is tested without machines
CONFTEST = """\
import pytest
from harness.model import *

@pytest.fixture
def diagnose():
    def diagnosed(flow):
        rule = Evidence(EvidenceKind.RULE, "subnet db", "Deny-100 denies", output="nsg-db/Deny-100")
        fix = ("az network nsg rule delete",)
        finding = Finding(Cause.SUBNET_NSG_INBOUND, "the subnet's NSG denies", (rule,), fix)
        return Diagnosis(flow, Verdict.FAULT, Outcome.TIMEOUT, 1, 0, (finding,))
    return diagnosed
"""


def test_the_failure_message_is_the_diagnosis(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST)
    result = run(project, "--env", "env.yaml")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*reach web-01 -> db-01:1433/tcp does not hold*",
            "*web-01 -> db-01:1433/tcp: nsg-udr/subnet-nsg-inbound, timeout*",
            "*[[]subnet db] Deny-100 denies*",
            "*az network nsg rule delete*",
        ]
    )


def test_an_assertion_about_something_else_keeps_its_own_message(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST)
    project.makepyfile(
        'def test_it(reach):\n    bool(reach("web-01", "db-01", tcp=1433))\n    assert 1 == 2, "mine"\n'
    )
    result = run(project, "--env", "env.yaml")
    result.stdout.fnmatch_lines(["*AssertionError: mine*"])
    result.stdout.no_fnmatch_line("*does not hold*")


def test_not_reach_passes_only_on_a_named_fault(project: pytest.Pytester) -> None:
    project.makeconftest(CONFTEST.replace("Verdict.FAULT", "Verdict.INCONCLUSIVE"))
    project.makepyfile('def test_it(reach):\n    assert not reach("web-01", "db-01", tcp=1433)\n')
    result = run(project, "--env", "env.yaml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*InconclusiveError*"])
