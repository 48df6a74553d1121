"""Privilege by real sudo, over a real sshd, as the plain user that an Azure image has."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.environment import Become, Environment, load_environment
from harness.errors import AgentError, InputError
from harness.transport.become import PrivilegeError, Refusal
from harness.transport.session import Session, Sessions
from lab.client import Lab
from tests.lab.conftest import Command, eventually

# Not without root: in a user namespace the machine's own sudo does not belong to root.
pytestmark = pytest.mark.lab

VM, USER = "db-01", "azureuser"
PASSWORD = "correct horse 'battery' $taple"
Rules = Callable[[str], None]


@pytest.fixture(scope="module")
def login(three_tier: Lab) -> Environment:
    """An environment with one machine, logged in to as the plain user."""
    environment = load_environment(three_tier.environment_path)
    machine = environment.machines[VM]
    ssh = machine.ssh.model_copy(update={"user": USER})
    return environment.model_copy(
        update={"machines": {VM: machine.model_copy(update={"ssh": ssh})}, "flows": ()}
    )


@pytest.fixture(scope="module")
def vm(three_tier: Lab, lab_command: Command) -> Callable[[str], str]:
    """Runs a shell script as root of the VM."""

    def run(script: str) -> str:
        done: subprocess.CompletedProcess[str] = lab_command(
            "exec", three_tier.name, VM, "--", "sh", "-c", script
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def sudoers(vm: Callable[[str], str]) -> Iterator[Rules]:
    """Replaces what the plain user may do; as it was in the end."""
    path = f"/etc/sudoers.d/90-{USER}"
    before = vm(f"cat {path}")

    def write(rules: str) -> None:
        vm(f"cat > {path} <<'END'\n{rules}\nEND\nprintf '%s' {quoted(f'{USER}:{PASSWORD}')} | chpasswd")

    yield write
    write(before)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture
def raised(login: Environment, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sessions]:
    """The pool, with ``become`` as given; the right and a wrong password are in the environment."""
    monkeypatch.setenv("RIGHT_PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG_PASSWORD", "not-this-one")

    def with_become(become: Any) -> Sessions:
        update = {"become": Become.model_validate(become) if become is not None else None}
        machine = login.machines[VM].model_copy(update=update)
        return Sessions(login.model_copy(update={"machines": {VM: machine}}))

    return with_become


Raised = Callable[..., Sessions]
RIGHT = {"password": {"env": "RIGHT_PASSWORD"}}
WRONG = {"password": {"env": "WRONG_PASSWORD"}}


def refusal(sessions: Sessions) -> PrivilegeError:
    with sessions, pytest.raises(PrivilegeError) as caught:
        sessions.get(VM)
    assert PASSWORD not in str(caught.value)
    return caught.value


def test_plain_user(raised: Raised) -> None:
    with raised(None) as sessions:
        facts = sessions.agent(VM).facts()
    assert not facts.root
    assert not facts.can_capture


@pytest.mark.parametrize("become", ["sudo", RIGHT, {"user": "root"}])
def test_without_a_password(raised: Raised, become: Any) -> None:
    with raised(become) as sessions:
        session = sessions.get(VM)
        assert session.agent.facts().euid == 0
        assert session.agent.facts().can_capture
        assert session.become_problem is None


def test_another_user(raised: Raised) -> None:
    with raised({"user": "daemon"}) as sessions:
        assert sessions.agent(VM).run("id", "-un").stdout == "daemon\n"


@pytest.mark.parametrize("defaults", ["", "Defaults use_pty\n", "Defaults lecture=always\n"])
def test_with_a_password(raised: Raised, sudoers: Rules, vm: Callable[[str], str], defaults: str) -> None:
    sudoers(f"{defaults}{USER} ALL=(ALL) ALL")
    with raised(RIGHT) as sessions:
        agent = sessions.agent(VM)
        assert agent.facts().euid == 0
        listed = vm("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'")
        assert "azreach-agent" in listed
        assert PASSWORD not in listed
    eventually(lambda: "azreach-agent" not in vm("cat /proc/[0-9]*/cmdline || true"), "the agent stays")


def test_password_required(raised: Raised, sudoers: Rules) -> None:
    sudoers(f"{USER} ALL=(ALL) ALL")
    assert refusal(raised("sudo")).refusal is Refusal.PASSWORD_REQUIRED


def test_a_wrong_password_is_tried_once(raised: Raised, sudoers: Rules) -> None:
    sudoers(f"{USER} ALL=(ALL) ALL")
    sessions = raised(WRONG | {"required": False})
    with sessions:
        for _ in range(2):  # the pool remembers
            with pytest.raises(PrivilegeError) as caught:
                sessions.get(VM)
            assert caught.value.refusal is Refusal.WRONG_PASSWORD


@pytest.mark.parametrize("become", ["sudo", RIGHT])
def test_not_allowed(raised: Raised, sudoers: Rules, become: Any) -> None:
    sudoers(f"{USER} ALL=(ALL) NOPASSWD: /bin/ls")
    error = refusal(raised(become))
    assert error.refusal in (Refusal.NOT_ALLOWED, Refusal.PASSWORD_REQUIRED)
    assert (error.refusal is Refusal.NOT_ALLOWED) == (become is RIGHT)


def test_not_in_sudoers(raised: Raised, sudoers: Rules) -> None:
    sudoers("# nobody")
    assert refusal(raised(RIGHT)).refusal is Refusal.NOT_ALLOWED


def test_terminal_required(raised: Raised, sudoers: Rules) -> None:
    sudoers(f"Defaults requiretty\n{USER} ALL=(ALL) NOPASSWD: ALL")
    assert refusal(raised("sudo")).refusal is Refusal.TTY_REQUIRED


def test_unknown_user(raised: Raised) -> None:
    assert refusal(raised({"user": "nobodyhere"})).refusal is Refusal.UNKNOWN_USER


def test_no_python3_for_root(raised: Raised, sudoers: Rules) -> None:
    sudoers(f"Defaults secure_path=/nonexistent\n{USER} ALL=(ALL) NOPASSWD: ALL")
    with raised("sudo") as sessions, pytest.raises(AgentError, match="no python3 on the machine"):
        sessions.get(VM)


def test_falls_back_only_where_that_is_said(raised: Raised, sudoers: Rules) -> None:
    sudoers("# nobody")
    with raised(RIGHT | {"required": False}) as sessions:
        session: Session = sessions.get(VM)
        assert not session.agent.facts().root
        assert session.become_problem is not None
        assert session.become_problem.refusal is Refusal.NOT_ALLOWED


def test_a_password_that_is_not_there(raised: Raised, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RIGHT_PASSWORD")
    with raised(RIGHT) as sessions, pytest.raises(InputError, match="RIGHT_PASSWORD is not set"):
        sessions.get(VM)
