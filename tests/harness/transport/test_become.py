"""sudo's words, each as the one error that it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environment import Become, load_environment
from harness.errors import AuthenticationError, InputError
from harness.transport.become import PrivilegeError, Refusal, unanswered, understand

WITHOUT = Become()
WITH = Become.model_validate({"password": {"env": "PASSWORD"}})
LOADER = "/usr/bin/python3 -I -S -c 'exec(\"import sys,zlib\")'"


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ("sudo: a password is required", Refusal.PASSWORD_REQUIRED),
        (
            "sudo: a terminal is required to read the password; either use the -S option or configure an "
            "askpass helper\nsudo: a password is required",
            Refusal.PASSWORD_REQUIRED,
        ),
        ("sudo: no tty present and no askpass program specified", Refusal.PASSWORD_REQUIRED),
        (
            'sudo: Account expired or PAM config lacks an "account" section for sudo, contact your system '
            "administrator\nsudo: a password is required",
            Refusal.ACCOUNT,
        ),
        ("sudo: account validation failure, is your account locked?", Refusal.ACCOUNT),
        ("sudo: PAM account management error: Authentication service cannot retrieve info", Refusal.ACCOUNT),
        (
            "admin is not in the sudoers file.  This incident will be reported.",
            Refusal.NOT_ALLOWED,
        ),
        ("admin is not in the sudoers file.", Refusal.NOT_ALLOWED),
        (f"Sorry, user admin is not allowed to execute '{LOADER}' as root on db-01.", Refusal.NOT_ALLOWED),
        ("Sorry, user admin may not run sudo on db-01.", Refusal.NOT_ALLOWED),
        ("sudo: 1 incorrect password attempt", Refusal.WRONG_PASSWORD),
        ("Sorry, try again.", Refusal.WRONG_PASSWORD),
        ("sudo: sorry, you must have a tty to run sudo", Refusal.TTY_REQUIRED),
        (
            "sudo: unknown user: nobodyhere\nsudo: error initializing audit plugin sudoers_audit",
            Refusal.UNKNOWN_USER,
        ),
        ("bash: line 1: sudo: command not found", Refusal.NO_SUDO),
        ("sh: 1: sudo: not found", Refusal.NO_SUDO),
        ("env: ‘sudo’: No such file or directory", Refusal.NO_SUDO),
        ("env: sudo: No such file or directory", Refusal.NO_SUDO),
        ("env: can't execute 'sudo': No such file or directory", Refusal.NO_SUDO),
        ("sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set", Refusal.BROKEN),
        (
            "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' option set or "
            "an NFS file system without root privileges?",
            Refusal.BROKEN,
        ),
        (
            'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.',
            Refusal.BROKEN,
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("noise", ["", "sudo: unable to resolve host db-01: Name or service not known\n"])
def test_every_refusal(said: str, refusal: Refusal, noise: str) -> None:
    error = understand("db-01", WITHOUT, noise + said)
    assert error is not None
    assert error.refusal is refusal
    assert isinstance(error, AuthenticationError)
    assert error.message.startswith("db-01: ")
    assert "zlib" not in str(error)
    assert error.hint


def test_the_message_says_what_to_do() -> None:
    error = understand("db-01", WITHOUT, "sudo: a password is required")
    assert "{env: NAME}" in str(error)
    error = understand("db-01", WITH, "sudo: a password is required")
    assert "standard input" in str(error)
    error = understand("db-01", Become(user="oracle"), "sudo: unknown user: oracle")
    assert "no user oracle" in str(error)


@pytest.mark.parametrize(
    "said", ["", "Welcome!", "Traceback (most recent call last):", "sudo: python3: command not found"]
)
def test_what_is_no_refusal_of_sudo(said: str) -> None:
    assert understand("db-01", WITHOUT, said) is None


@pytest.mark.parametrize(
    "said",
    [
        "[sudo] password for user: ",
        "[sudo] contraseña para user: ",
        "We trust you have received the usual lecture.\n\nVerification code: ",
        "Password:",
    ],
)
def test_a_prompt_that_nobody_can_answer(said: str) -> None:
    error = unanswered("db-01", said)
    assert isinstance(error, PrivilegeError)
    assert error.refusal is Refusal.OTHER_PROMPT
    assert said.rpartition("\n")[2].strip() in str(error)


def test_silence_is_no_prompt() -> None:
    assert unanswered("db-01", "Last login: today\n") is None


# the environment file


def environment(directory: Path, become: str) -> Path:
    path = directory / "env.yaml"
    path.write_text(f"machines:\n  db-01:\n    ssh: {{host: h, user: u}}\n    become: {become}\n")
    return path


@pytest.mark.parametrize(
    ("text", "become"),
    [
        ("sudo", Become()),
        ("{method: sudo}", Become()),
        ("{user: oracle, required: false}", Become(user="oracle", required=False)),
        ("{password: {env: PASSWORD}}", WITH),
    ],
)
def test_forms_in_the_file(tmp_path: Path, text: str, become: Become) -> None:
    assert load_environment(environment(tmp_path, text)).machines["db-01"].become == become


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("su", "become"),
        ("{user: 'root; reboot'}", "become.user"),
        ('{user: "o\'brien"}', "become.user"),
        ("{password: hunter2}", "must not stand in this file"),
        ("{colour: red}", "become.colour"),
        ("7", "become"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = environment(tmp_path, text)
    with pytest.raises(InputError, match=said) as caught:
        load_environment(path)
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
