"""Who is in a VM's files, and what the environment file says of becoming root."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from harness.environment import Become
from lab.environment_file import become_text
from lab.hosts import accounts, sudo
from lab.hosts.accounts import LOGIN_USER, Sudo


def content(path: str, *, of: Sudo = Sudo.NOPASSWD) -> str:
    """The file as a VM of that kind has it."""
    files = {file.path: file for file in (*accounts.common_files(), *accounts.own_files(of, "$6$x$y"))}
    return (files[path].content or b"").decode()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with humans, one of them in group sudo and named as ours, and with rules of its own."""
    tables = {
        "/etc/passwd": [
            ["root", "x", "0", "0", "root", "/root", "/bin/zsh"],
            ["sshd", "x", "101", "65534", "", "/run/sshd", "/usr/sbin/nologin"],
        ],
        "/etc/group": [["root", "x", "0", ""], ["sudo", "x", "27", "azureuser,alice,sshd"]],
    }
    monkeypatch.setattr(accounts, "_entries", lambda file: iter(tables[file]))
    monkeypatch.setattr(accounts, "_machines_rules", lambda: ["90-cloud-init-users", "README"])


@pytest.mark.usefixtures("machine")
def test_no_human_of_the_machine_shows_through() -> None:
    assert content("/etc/passwd").splitlines() == [
        "root:x:0:0:root:/root:/bin/bash",
        "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin",
        "azureuser:x:1000:1000::/home/azureuser:/bin/bash",
    ]
    assert content("/etc/group").splitlines() == ["root:x:0:", "sudo:x:27:sshd", "azureuser:x:1000:"]
    assert content("/etc/sudoers.d/90-cloud-init-users") == ""


@pytest.mark.usefixtures("machine")
def test_only_who_has_a_password_has_one() -> None:
    hashes = {of: dict(line.split(":")[:2] for line in content("/etc/shadow", of=of).split()) for of in Sudo}
    assert hashes[Sudo.PASSWORD] == {"root": "*", "sshd": "*", "azureuser": "$6$x$y"}
    assert hashes[Sudo.NOPASSWD] == hashes[Sudo.NONE] == {"root": "*", "sshd": "*", "azureuser": "*"}


@pytest.mark.parametrize(
    ("of", "rule"),
    [
        (Sudo.NOPASSWD, "azureuser ALL=(ALL) NOPASSWD:ALL\n"),
        (Sudo.PASSWORD, "azureuser ALL=(ALL) ALL\n"),
        (Sudo.NONE, ""),
    ],
)
def test_what_azureuser_may_do(of: Sudo, rule: str) -> None:
    lines = content(f"/etc/sudoers.d/90-{LOGIN_USER}", of=of).splitlines(keepends=True)
    assert "".join(line for line in lines if not line.startswith("#")) == rule


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("of", list(Sudo))
def test_become_is_what_the_environment_file_takes(of: Sudo, works: bool) -> None:
    text = become_text(of, Path('/lab "x"/password'), works=works)
    if of is Sudo.NONE:
        assert text is None
        return
    assert text is not None
    become = Become.model_validate(yaml.safe_load(text))
    assert become.required is works
    file = become.password.file if become.password is not None else None
    assert file == (Path('/lab "x"/password') if of is Sudo.PASSWORD else None)


def test_without_sudo_on_the_machine_there_is_none_in_a_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    assert sudo.obstacle(rootless=False) == "sudo is not installed (apt-get install sudo)"
    assert sudo.private_copies(rootless=True) == ()


def test_root_needs_no_copies() -> None:
    assert sudo.private_copies(rootless=False) == ()
    copies = sudo.private_copies(rootless=True)
    assert copies[0].endswith("/sudo")
    assert all(Path(path).exists() for path in copies)
