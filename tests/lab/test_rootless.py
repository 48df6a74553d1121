"""A lab without root: the same lab, in a user namespace. Root tries it as a user made for the purpose.

Without root, every other test of labs is one of these already.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.environment import load_environment
from lab.requirements import ROOTLESS_PACKAGES
from tests.lab.conftest import eventually

pytestmark = [
    pytest.mark.lab(rootless=True),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a user, which takes root"),
]

SHELL = ("sh", "-c", 'exec "$@"', "sh")
PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class User:
    """A user without privileges, and how to run the lab command as one."""

    name: str
    prefix: tuple[str, ...]
    python: str
    environment: Mapping[str, str]
    state: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *words],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=dict(self.environment),
            cwd="/",
        )

    def lab(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.python, "-m", "lab", *words)


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    for tool, package in ROOTLESS_PACKAGES.items():
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing: apt-get install {package}")
    name = f"azreach-t{os.getpid()}"
    home = Path(tempfile.mkdtemp(prefix="azreach-home-"))
    subprocess.run(["useradd", "--home-dir", str(home), "--shell", "/bin/sh", name], check=True)
    try:
        entry = pwd.getpwnam(name)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        state = home / "state"
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "AZREACH_STATE": str(state),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(PROJECT), *site.getsitepackages()]),
        }
        # the shell makes sure that it is the user who may execute the command, not setpriv
        prefix = ("setpriv", "--reuid", name, "--regid", str(entry.pw_gid), "--init-groups", *SHELL)
        made = User(name, prefix, "", environment, state)
        yield User(name, prefix, _usable_python(made), environment, state)
    finally:
        for process in _processes(pwd.getpwnam(name).pw_uid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        # refused while a process of the user is not quite gone, or another user is being made; 6: it is gone
        eventually(
            lambda: subprocess.run(["userdel", name], check=False, capture_output=True).returncode in (0, 6),
            f"user {name} cannot be removed",
        )
        shutil.rmtree(home, ignore_errors=True)


def _processes(uid: int) -> list[int]:
    """The living processes of a user."""
    found = []
    for directory in Path("/proc").iterdir():
        try:
            if (
                directory.name.isdigit()
                and directory.stat().st_uid == uid
                and (directory / "cmdline").read_bytes()
            ):
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def _usable_python(user: User) -> str:
    """This python may lie where only root may look."""
    for python in (sys.executable, "/usr/bin/python3"):
        result = user.run(
            python, "-c", "import lab.commands, pydantic_core, yaml, cryptography.hazmat.bindings._rust"
        )
        if result.returncode == 0:
            return python
    pytest.skip(f"no python here that an ordinary user may run with this project: {result.stderr[-200:]}")


@pytest.fixture(scope="module")
def environment_path(user: User) -> Path:
    result = user.lab("up", "three-tier")
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip())


def test_the_lab_is_the_users_own(user: User, environment_path: Path) -> None:
    assert environment_path == user.state / "three-tier" / "environment.yaml"
    pid = json.loads((user.state / "three-tier" / "lab.json").read_text())["applier"]["pid"]
    assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam(user.name).pw_uid


def test_root_of_a_vm_is_root_in_it(user: User, environment_path: Path) -> None:
    result = user.lab(
        "exec", "three-tier", "web-01", "--", "sh", "-c", "id -u; hostname; ip -br link show eth0"
    )
    assert result.stdout.split()[:3] == ["0", "web-01", "eth0@if1001"]


def test_packets_pass_and_are_filtered(user: User, environment_path: Path) -> None:
    script = "import socket; print(socket.create_connection(('10.0.3.4', {}), {}).recv(99))"
    allowed = user.lab("exec", "three-tier", "web-01", "python3", "-c", script.format(1433, 5))
    assert "db-01 1433/tcp" in allowed.stdout
    denied = user.lab("exec", "three-tier", "web-01", "python3", "-c", script.format(22, 0.3))
    assert "TimeoutError" in denied.stderr
    assert user.lab("exec", "three-tier", "web-01", "ping", "-c1", "-W5", "10.0.3.4").returncode == 0


def test_existing_files_of_a_vm_can_be_changed(user: User, environment_path: Path) -> None:
    script = "echo '# x' >> /etc/services && mkdir /etc/ssh/new /var/log/new && touch /root/x /home/x /run/x"
    result = user.lab("exec", "three-tier", "web-01", "--", "sh", "-c", script)
    assert result.returncode == 0, result.stderr


def test_firewalls_and_captures_work(user: User, environment_path: Path) -> None:
    for words in (
        ("nft", "add table inet mine"),
        ("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "DROP"),
        ("tcpdump", "--version"),
        ("sysctl", "-w", "net.ipv4.ip_forward=1"),
    ):
        result = user.lab("exec", "three-tier", "web-02", "--", *words)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("login", "uid"), [("root", "0"), ("azureuser", "1000")])
def test_sshd_lets_both_users_in(user: User, environment_path: Path, login: str, uid: str) -> None:
    machine = load_environment(environment_path).machine("db-01").ssh
    assert machine.proxy_command is not None
    result = user.run(
        *(
            "ssh",
            "-F",
            "none",
            "-i",
            str(machine.key_file),
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
        ),
        *("-o", f"ProxyCommand={shlex.join(machine.proxy_command)}"),
        *("-o", f"UserKnownHostsFile={machine.known_hosts}", "-o", "StrictHostKeyChecking=yes"),
        *(f"{login}@{machine.host}", "id -u; hostname"),
    )
    assert result.stdout.split() == [uid, "db-01"], result.stderr


WHO = """
import sys
from pathlib import Path
from harness.environment import load_environment
from harness.transport.session import Sessions
environment = load_environment(Path(sys.argv[1]))
with Sessions(environment) as sessions:
    print({name: sessions.agent(name).hello().euid for name in environment.machines})
"""


def test_sudo_works_in_a_user_namespace(user: User) -> None:
    up = user.lab("up", "plain-users")
    assert (up.returncode, up.stderr) == (0, "")
    who = user.run(user.python, "-c", WHO, up.stdout.strip())
    assert who.stdout == "{'root-01': 0, 'nopasswd-01': 0, 'password-01': 0, 'none-01': 1000}\n", who.stderr
    assert (user.state / "plain-users" / "azureuser_password").stat().st_mode & 0o777 == 0o600
    assert user.lab("down", "plain-users").returncode == 0


def test_management_in_band_works(user: User) -> None:
    assert user.lab("up", "in-band").returncode == 0
    healthy = user.run(
        user.python, "-m", "harness", "diagnose", "web-01", "db-01:1433/tcp", "--lab", "in-band"
    )
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    assert user.lab("down", "in-band").returncode == 0


def test_a_killed_applier_takes_everything_with_it(user: User) -> None:
    assert user.lab("up", "hub-spoke").returncode == 0
    record = json.loads((user.state / "hub-spoke" / "lab.json").read_text())
    os.kill(record["applier"]["pid"], signal.SIGKILL)

    def gone() -> bool:
        stats = [Path(f"/proc/{vm['pid']}/stat") for vm in record["vms"]]
        return all(
            not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z" for stat in stats
        )

    eventually(gone, "a VM outlives its lab")
    assert user.lab("down", "hub-spoke").returncode == 0
    assert not (user.state / "hub-spoke").exists()


def test_down_leaves_nothing(user: User, environment_path: Path) -> None:
    result = user.lab("down", "--all")
    assert (result.returncode, result.stderr) == (0, "")
    assert [path.name for path in user.state.iterdir()] == [".lock"]
    assert _processes(pwd.getpwnam(user.name).pw_uid) == []


def test_without_subordinate_ids_the_cure_is_named(user: User) -> None:
    for file in (Path("/etc/subuid"), Path("/etc/subgid")):
        match = re.search(rf"^{user.name}:(\d+):(\d+)$", file.read_text(), re.MULTILINE)
        assert match is not None
        flag = "--del-subuids" if file.name == "subuid" else "--del-subgids"
        last = int(match[1]) + int(match[2]) - 1
        subprocess.run(["usermod", flag, f"{match[1]}-{last}", user.name], check=True)
    result = user.lab("up", "three-tier")
    assert (result.returncode, result.stdout) == (2, "")
    assert (
        f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user.name}" in result.stderr
    )
    assert "Traceback" not in result.stderr
