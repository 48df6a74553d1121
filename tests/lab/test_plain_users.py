"""Log-ins that are not root: what each may become, and what a diagnosis can tell through them.

The same lab without root is in ``test_rootless``.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.diagnosis.diagnoser import Diagnoser
from harness.environment import Environment, load_environment
from harness.model import Cause, Verdict
from harness.target import parse_flow
from harness.transport.session import Sessions
from lab import journal
from lab.client import Lab, raise_lab, take_down
from lab.hosts.accounts import hashed

pytestmark = pytest.mark.lab(rootless=True)

UIDS = {"root-01": 0, "nopasswd-01": 0, "password-01": 0, "none-01": 1000}


@pytest.fixture(scope="module")
def plain_users(state_root: Path) -> Lab:
    del state_root
    return raise_lab("plain-users")


@pytest.fixture(scope="module")
def environment(plain_users: Lab) -> Environment:
    return load_environment(plain_users.environment_path)


@pytest.fixture(scope="module")
def diagnoser(environment: Environment) -> Iterator[Diagnoser]:
    with Diagnoser(environment, timeout=0.5) as made:
        yield made


@pytest.fixture
def mended(plain_users: Lab) -> Iterator[None]:
    """Nothing stands in the lab afterwards."""
    yield
    journal.mend(plain_users)


def break_(lab: Lab, fault: str, source: str, target: str) -> None:
    journal.make(lab, fault, parse_flow(source, target))


@pytest.mark.parametrize(("name", "uid"), UIDS.items(), ids=UIDS)
def test_the_agent_is_who_it_may_become(environment: Environment, name: str, uid: int) -> None:
    with Sessions(environment) as sessions:
        hello = sessions.agent(name).hello()
        assert (hello.euid, hello.root) == (uid, uid == 0)


def test_the_environment_file_has_the_password_by_reference_only(
    plain_users: Lab, environment: Environment
) -> None:
    become = {name: machine.become for name, machine in environment.machines.items()}
    assert (become["root-01"], become["none-01"]) == (None, None)
    assert become["nopasswd-01"] is not None
    assert become["nopasswd-01"].password is None
    assert become["password-01"] is not None
    reference = become["password-01"].password
    assert reference is not None
    assert reference.file is not None
    assert stat.S_IMODE(reference.file.stat().st_mode) == 0o600
    password = reference.resolve()
    assert len(password) >= 20
    for file in plain_users.directory.rglob("*"):
        if file.is_file() and file != reference.file:
            assert password.encode() not in file.read_bytes(), file


def test_the_password_is_in_one_vms_own_shadow(plain_users: Lab) -> None:
    fields = {
        name: plain_users.run(name, ["grep", "azureuser:", "/etc/shadow"]).stdout.split(":")[1]
        for name in UIDS
    }
    assert fields.pop("password-01").startswith("$6$")
    assert set(fields.values()) == {"*"}
    assert plain_users.run("password-01", ["stat", "-c", "%a %U", "/etc/shadow"]).stdout == "600 root\n"


def test_a_wrong_password_is_refused(plain_users: Lab) -> None:
    command = ["setpriv", "--reuid", "1000", "--regid", "1000", "--init-groups", "sudo", "-k", "-S", "id"]
    wrong = plain_users.run("password-01", command, input="wrong\n", check=False)
    assert wrong.returncode == 1
    assert "uid=0" not in wrong.stdout
    refused = plain_users.run("none-01", [*command[:6], "sudo", "-n", "id"], check=False)
    assert refused.returncode == 1
    assert plain_users.run("nopasswd-01", command, input="").stdout.startswith("uid=0(root)")


def test_every_pair_is_healthy(diagnoser: Diagnoser) -> None:
    for source in UIDS:
        for target in UIDS:
            if source != target:
                diagnosis = diagnoser.diagnose(parse_flow(source, f"{target}:8080/tcp"))
                assert (diagnosis.verdict, diagnosis.findings) == (Verdict.HEALTHY, ()), diagnosis
    assert diagnoser.diagnose(parse_flow("none-01", "root-01:53/udp")).verdict is Verdict.HEALTHY


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("target", ["nopasswd-01", "password-01"])
def test_with_sudo_the_guilty_rule_is_named(plain_users: Lab, diagnoser: Diagnoser, target: str) -> None:
    break_(plain_users, "inbound-drop-nftables", "none-01", f"{target}:8080/tcp")
    diagnosis = diagnoser.diagnose(parse_flow("none-01", f"{target}:8080/tcp"))
    assert [finding.cause for finding in diagnosis.findings] == [Cause.INBOUND_DROP]
    assert "tcp dport 8080 counter" in diagnosis.findings[0].evidence[0].summary


@pytest.mark.usefixtures("mended")
def test_without_sudo_nothing_is_guessed(plain_users: Lab, diagnoser: Diagnoser) -> None:
    break_(plain_users, "inbound-drop-nftables", "root-01", "none-01:8080/tcp")
    diagnosis = diagnoser.diagnose(parse_flow("root-01", "none-01:8080/tcp"))
    assert (diagnosis.verdict, diagnosis.findings) == (Verdict.INCONCLUSIVE, ())
    assert "none-01: a capture needs CAP_NET_RAW" in diagnosis.missing
    assert any("reading firewall rules needs root" in reason for reason in diagnosis.missing)


@pytest.mark.usefixtures("mended")
def test_without_sudo_the_socket_table_still_tells(plain_users: Lab, diagnoser: Diagnoser) -> None:
    break_(plain_users, "loopback-only", "root-01", "none-01:8080/tcp")
    diagnosis = diagnoser.diagnose(parse_flow("root-01", "none-01:8080/tcp"))
    assert [finding.cause for finding in diagnosis.findings] == [Cause.LOOPBACK_ONLY]


@pytest.mark.skipif(os.geteuid() != 0, reason="without root, such a process cannot raise a lab at all")
@pytest.mark.usefixtures("state_root")
def test_where_sudo_cannot_work_up_says_so_and_the_agent_goes_on() -> None:
    """As in a container that may gain no privileges."""
    hindered = ("setpriv", "--no-new-privs", sys.executable)
    up = subprocess.run(
        [*hindered, "-m", "lab", "up", "plain-users", "--name", "hindered"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert up.returncode == 0, up.stderr
    assert (
        "note: sudo cannot work in this lab, so nobody becomes root on nopasswd-01, password-01" in up.stderr
    )
    path = up.stdout.strip()
    become = load_environment(Path(path)).machine("password-01").become
    assert become is not None
    assert not become.required
    # whoever connects starts the sshd of a VM that is reached out of band, as hindered as itself
    script = f"""
from pathlib import Path
from harness.environment import load_environment
from harness.transport.session import Sessions
with Sessions(load_environment(Path({path!r}))) as sessions:
    print([sessions.agent(name).hello().euid for name in ("nopasswd-01", "password-01")])
"""
    who = subprocess.run([*hindered, "-c", script], capture_output=True, text=True, check=False)
    assert who.stdout == "[1000, 1000]\n", who.stderr
    take_down("hindered")


def test_two_hashes_of_one_password_differ() -> None:
    first, second = hashed("correct horse"), hashed("correct horse")
    assert first != second
    assert first.startswith("$6$")
    assert first.count("$") == 3
