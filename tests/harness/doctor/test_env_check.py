"""Checking an environment file: every problem is one line with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.doctor.env_check import check_file
from tests.harness.network.builders import machine, vm_id, vnet
from tests.harness.transport.sshd import make_key


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what a good environment file refers to."""
    make_key(tmp_path / "id")
    (tmp_path / "known_hosts").touch()
    resources = [vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24"}), *machine("web-01", "v/web", "10.0.1.4")]
    (tmp_path / "network.json").write_text(json.dumps({"resources": resources}))
    monkeypatch.setenv("PW", "secret")
    return tmp_path


GOOD = f"""\
azure: {{snapshot: network.json}}
machines:
  web-01:
    arm_id: {vm_id("web-01")}
    ssh: {{host: 10.0.1.4, user: u, key_file: id, known_hosts: known_hosts}}
  web-02:
    become: {{password: {{env: PW}}}}
    ssh: {{host: 10.0.1.5, user: u, jump: web-01}}
  web-03:
    ssh: {{host: 10.0.1.6, user: u, jump: "u@gate:2222"}}
flows:
  - {{from: "web-*", to: web-01, port: 80}}
  - {{from: web-01, to: 192.0.2.1, port: 80}}
"""


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "env.yaml"
    path.write_text(text)
    return [line.removeprefix(f"{folder}/") for line in check_file(path).problems]


def test_a_good_file(folder: Path) -> None:
    assert problems(folder, GOOD) == []
    found = check_file(folder / "env.yaml")
    assert (found.machines, found.flows) == (3, 3)


BROKEN = {
    "key": (
        "key_file: id",
        "key_file: gone",
        ["env.yaml:5: machines.web-01.ssh.key_file: {}/gone does not exist"],
    ),
    "known_hosts": (
        "known_hosts: known",
        "known_hosts: no",
        ["env.yaml:5: machines.web-01.ssh.known_hosts: {}/no_hosts does not exist"],
    ),
    "variable": (
        "env: PW",
        "env: NO_SUCH_PW",
        ["env.yaml:7: machines.web-02.become.password.env: the environment variable NO_SUCH_PW is not set"],
    ),
    "jump": (
        "jump: web-01",
        "jump: gate",
        ["env.yaml:8: machines.web-02.ssh.jump: 'gate' is neither a machine of this file nor*"],
    ),
    "ARM id": (
        "/web-01\n",
        "/gone\n",
        [f"env.yaml:4: machines.web-01.arm_id: the snapshot has no VM {vm_id('gone')}"],
    ),
    "no snapshot": (
        "network.json",
        "gone.json",
        ["env.yaml:1: azure.snapshot: {}/gone.json: No such file or directory"],
    ),
    "snapshot is something else": (
        "network.json",
        "env.yaml",
        ["env.yaml:1: azure.snapshot: {}/env.yaml: neither JSON nor a lab file"],
    ),
    "a flow to itself": (
        'from: "web-*"',
        "from: web-01",
        ["env.yaml:12: flows.0: it stands for no flow: a machine to itself is left out"],
    ),
    "glob": ('from: "web-*"', 'from: "db-*"', ["env.yaml:12: flows.0.from: 'db-*' matches no machine"]),
    "schema": (
        "user: u, jump: web-01",
        "jump: web-01, port: 0",
        [
            "env.yaml:8: machines.web-02.ssh.port: *",
            "env.yaml:8: machines.web-02.ssh.user: this key is required",
        ],
    ),
    "two at once": (
        "key_file: id, known_hosts: known_hosts",
        "key_file: gone, known_hosts: gone",
        ["env.yaml:5: machines.web-01.ssh.key_file: *", "env.yaml:5: machines.web-01.ssh.known_hosts: *"],
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_each_problem_is_a_line_with_its_place(folder: Path, old: str, new: str, expected: list[str]) -> None:
    assert old in GOOD
    found = problems(folder, GOOD.replace(old, new, 1))
    wanted = [line.format(folder) for line in expected]
    assert len(found) == len(wanted), found
    for line, pattern in zip(found, wanted, strict=True):
        assert line == pattern or (pattern.endswith("*") and line.startswith(pattern[:-1])), line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert check_file(tmp_path / "gone").problems == (f"{tmp_path}/gone: No such file or directory",)
    assert check_file(tmp_path).problems[0].startswith(str(tmp_path))


@given(at=st.integers(0, len(GOOD)), length=st.integers(0, 30), piece=st.text(max_size=10))
def test_any_damage_gives_lines_that_name_the_file(
    tmp_path_factory: pytest.TempPathFactory, at: int, length: int, piece: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes((GOOD[:at] + piece + GOOD[at + length :]).encode("utf-8", "surrogatepass"))
    for line in check_file(path).problems:
        assert line.startswith(str(path))
