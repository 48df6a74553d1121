"""``azreach env`` as a user types it: check, schema, and add against a real sshd on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.environment import load_environment
from tests.harness.transport.sshd import Sshd, make_key, why_not

HOSTNAME = socket.gethostname()


@dataclass(frozen=True, slots=True)
class Desk:
    """A folder to work in, a home without SSH files, and a machine at ``target``."""

    folder: Path
    sshd: Sshd
    port: int

    @property
    def target(self) -> str:
        return f"{self.sshd.user}@127.0.0.1:{self.port}"

    @property
    def key(self) -> tuple[str, str]:
        return "--key", str(self.sshd.directory / "user_key")

    @property
    def known_hosts(self) -> Path:
        return self.folder / ".ssh" / "known_hosts"

    @property
    def environment(self) -> dict[str, str]:
        variables = {
            key: value for key, value in os.environ.items() if key not in ("SSH_AUTH_SOCK", "AZREACH_ENV")
        }
        return {**variables, "HOME": str(self.folder)}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "env", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    def answering(self, answer: str, *words: str) -> tuple[int, str]:
        """The same at a terminal, where a person answers the first question: status, and what was shown."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "harness", "env", *words]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            shown = ""
            with contextlib.suppress(OSError):  # the terminal is gone once nobody holds it
                while select.select([ours], [], [], 30)[0]:
                    shown += os.read(ours, 4096).decode()
                    if answer and "[y/N]:" in shown:
                        os.write(ours, f"{answer}\n".encode())
                        answer = ""
            os.close(ours)
            return process.wait(30), shown


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    directory: Path = tmp_path_factory.mktemp("sshd")
    directory.chmod(0o755)
    return Sshd.make(directory)


@pytest.fixture(scope="module")
def port(sshd: Sshd) -> Iterator[int]:
    with sshd.daemon() as (number, _):
        yield number


@pytest.fixture
def desk(tmp_path: Path, sshd: Sshd, port: int) -> Desk:
    return Desk(tmp_path, sshd, port)


def fingerprint(sshd: Sshd) -> str:
    done = subprocess.run(
        ["ssh-keygen", "-lf", str(sshd.directory / "host_key.pub")],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[1]


# add


def test_a_first_file(desk: Desk) -> None:
    done = desk("add", desk.target, *desk.key, "--accept-host-keys")
    assert done.returncode == 0, done.stderr
    assert fingerprint(desk.sshd) in done.stderr
    assert f"added {HOSTNAME} ({desk.target})" in done.stdout
    assert "next: azreach doctor --env azreach.yaml" in done.stdout
    path = desk.folder / "azreach.yaml"
    machine = load_environment(path).machine(HOSTNAME)
    assert (machine.ssh.host, machine.ssh.port, machine.ssh.user) == ("127.0.0.1", desk.port, desk.sshd.user)
    assert machine.ssh.key_file == desk.sshd.directory / "user_key"
    assert desk.port not in [service.port for service in machine.services]
    assert "yaml-language-server: $schema=" in path.read_text()
    assert desk.known_hosts.read_text() == f"[127.0.0.1]:{desk.port} {desk.sshd.host_key}\n"
    assert [entry.name for entry in desk.folder.iterdir() if entry.name.endswith(".yaml")] == ["azreach.yaml"]
    assert desk("check", "azreach.yaml").stdout == "ok: 1 machine, 0 flows\n"


def test_a_host_key_is_never_recorded_in_silence(desk: Desk) -> None:
    done = desk("add", desk.target, *desk.key)
    assert (done.returncode, done.stdout) == (2, "")
    assert fingerprint(desk.sshd) in done.stderr
    assert "--accept-host-keys" in done.stderr
    assert not desk.known_hosts.exists()
    assert not (desk.folder / "azreach.yaml").exists()


def test_a_person_says_yes_or_no(desk: Desk) -> None:
    status, shown = desk.answering("n", "add", desk.target, *desk.key)
    assert status == 2
    assert fingerprint(desk.sshd) in shown
    assert not desk.known_hosts.exists()
    status, shown = desk.answering("y", "add", desk.target, *desk.key)
    assert (status, "added" in shown) == (0, True)
    assert desk.known_hosts.exists()
    # the key is known now: nobody is asked again
    done = desk("add", desk.target, *desk.key, "--name", "again")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_changed_host_key_is_never_accepted(desk: Desk) -> None:
    other = " ".join(make_key(desk.folder / "other").with_suffix(".pub").read_text().split()[:2])
    desk.known_hosts.parent.mkdir()
    before = f"[127.0.0.1]:{desk.port} {other}\n"
    desk.known_hosts.write_text(before)
    done = desk("add", desk.target, *desk.key, "--accept-host-keys")
    assert done.returncode == 2
    assert "HAS CHANGED" in done.stderr
    assert desk.known_hosts.read_text() == before


EXISTING = """\
# ours, by hand
version: 1
machines:
  web-01:   # the first one
    ssh: {host: 192.0.2.1, user: u}
  # more to come

flows: []   # none yet
"""


def test_a_file_is_extended_and_one_bad_machine_stops_no_other(desk: Desk) -> None:
    path = desk.folder / "ours.yaml"
    path.write_text(EXISTING)
    path.chmod(0o640)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"u@127.0.0.1:{server.getsockname()[1]}"
    done = desk("add", "--env", "ours.yaml", closed, desk.target, *desk.key, "--accept-host-keys")
    assert done.returncode == 1
    assert f"{closed}: 127.0.0.1 port" in done.stderr
    assert "refused the connection" in done.stderr
    text = path.read_text()
    begin, _, end = EXISTING.partition("\nflows:")
    assert text.startswith(begin)
    assert text.endswith(f"\nflows:{end}")
    assert list(load_environment(path).machines) == ["web-01", HOSTNAME]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_machine_of_the_same_name_is_never_overwritten(desk: Desk) -> None:
    path = desk.folder / "azreach.yaml"
    path.write_text(EXISTING.replace("web-01", HOSTNAME))
    before = path.read_bytes()
    for name in ((), ("--name", HOSTNAME)):
        done = desk("add", desk.target, *desk.key, "--accept-host-keys", *name)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"there is a machine '{HOSTNAME}'" in done.stderr
    assert path.read_bytes() == before


def test_a_link_stays_a_link(desk: Desk) -> None:
    (desk.folder / "real.yaml").write_text(EXISTING)
    (desk.folder / "link.yaml").symlink_to("real.yaml")
    assert desk("add", "--env", "link.yaml", desk.target, *desk.key, "--accept-host-keys").returncode == 0
    assert (desk.folder / "link.yaml").is_symlink()
    assert HOSTNAME in load_environment(desk.folder / "real.yaml").machines


def test_a_file_with_everything_but_machines(desk: Desk) -> None:
    (desk.folder / "azreach.yaml").write_text("# the start\nversion: 1\n")
    assert desk("add", desk.target, *desk.key, "--accept-host-keys", "--name", "one").returncode == 0
    assert (
        (desk.folder / "azreach.yaml").read_text().startswith("# the start\nversion: 1\nmachines:\n  one:\n")
    )


WRONG = {
    "no log-in": (["web-01"], "is no log-in"),
    "name for two": (["--name", "x", "u@a", "u@b"], "--name goes with a single target"),
    "no such key": (["u@127.0.0.1:1", "--key", "gone"], "gone does not exist"),
    "no such jump": (["u@127.0.0.1:1", "--jump", "gate"], "'gate' is neither a machine of this file"),
    "no such folder": (["u@127.0.0.1:1", "--env", "gone/env.yaml"], "there is no such directory"),
    "a folder": (["u@127.0.0.1:1", "--env", "."], "is no regular file"),
    "a broken file": (["u@127.0.0.1:1", "--env", "broken.yaml"], "must be in order before"),
    "no key at all": (["TARGET", "--accept-host-keys"], "the SSH agent has no key"),
    "no target": ([], "Missing argument"),
}


@pytest.mark.parametrize(("words", "says"), WRONG.values(), ids=WRONG.keys())
def test_wrong_use_is_status_2_and_one_message(desk: Desk, words: list[str], says: str) -> None:
    (desk.folder / "broken.yaml").write_text("machines: {a: {ssh: {}}}\n")
    done = desk("add", *(desk.target if word == "TARGET" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


# check, schema


def test_check(desk: Desk) -> None:
    path = desk.folder / "env.yaml"
    path.write_text(EXISTING)
    done = desk("check", "env.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok: 1 machine, 0 flows\n", "")
    path.write_text(EXISTING.replace("user: u", "user: u, key_file: gone, jump: gate"))
    done = desk("check", "env.yaml")
    assert (done.returncode, done.stderr) == (2, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("env.yaml:5: machines.web-01.ssh.jump: 'gate' is neither")
    assert lines[1] == f"env.yaml:5: machines.web-01.ssh.key_file: {desk.folder}/gone does not exist"
    assert desk("check", "gone.yaml").returncode == 2


def test_schema(desk: Desk) -> None:
    done = desk("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert "machines" in json.loads(done.stdout)["properties"]
