"""Where labs keep their state, whose processes are theirs, and what is left of dead ones."""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError, UnknownNameError
from lab import linux, neighbours, state
from lab.environment_file import quoted
from lab.errors import LabError, RequirementError
from lab.hosts.filesystem import hostnames
from lab.hosts.services import Service
from lab.requirements import missing_packages
from lab.state import LabRecord, NicRecord, ProcessRecord, VmRecord
from lab.userns import IdRange, enabling_commands, subordinate_ids


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AZREACH_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_a_record_survives_its_json() -> None:
    nic = NicRecord("eth0", "00:0d:3a:00:00:01", ("10.0.0.4/24",), "/nic")
    vm = VmRecord("a", "a", "/vm", 7, 8, (nic,), ("80/tcp",))
    record = LabRecord("x", ProcessRecord(1, 2), "f.yaml", rootless=False, complete=True, vms=(vm,))
    assert LabRecord.from_json(record.to_json()) == record


def test_a_pid_that_another_process_has_by_now_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        started = linux.start_time(process.pid)
        assert started is not None
        imposter = ProcessRecord(process.pid, started - 1)
        assert not imposter.running
        imposter.kill()
        assert process.poll() is None
        itself = ProcessRecord.of(process.pid)
        assert itself.running
        itself.kill()
        assert not itself.running


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a/b", "..", "a" * 41, "a\n", "é"])
def test_names_of_labs(name: str) -> None:
    with pytest.raises(InputError, match="no name of a lab"):
        state.check_name(name)


@given(st.text())
def test_every_file_gives_a_valid_name(stem: str) -> None:
    state.check_name(state.name_for(Path("/x") / f"{stem.replace('/', '').replace(chr(0), '') or 'x'}.yaml"))


def test_a_name_is_claimed_once_while_its_process_runs(root: Path) -> None:
    directory = state.claim("one", "f.yaml")
    assert directory.path == root / "one"
    assert directory.path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(LabError, match="'one' is running already"):
        state.claim("one", "f.yaml")


def test_what_a_dead_lab_left_gives_way(root: Path) -> None:
    directory = state.claim("one", "f.yaml")
    (directory.path / "rubbish").write_text("x")
    dead = LabRecord("one", ProcessRecord(os.getpid(), 1), "f.yaml", rootless=False)
    directory.write_record(dead)
    assert not (state.claim("one", "f.yaml").path / "rubbish").exists()


def test_a_half_written_record_is_a_dead_lab(root: Path) -> None:
    directory = state.claim("one", "f.yaml")
    directory.record_path.write_text('{"name": "one", ')
    assert directory.record() is None
    state.remove(directory)
    assert state.directories() == []


def test_an_unknown_lab_names_those_there_are(root: Path) -> None:
    state.claim("one", "f.yaml")
    with pytest.raises(UnknownNameError, match="labs: one"):
        state.find("two")


def test_a_state_root_of_somebody_else_is_refused(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    root.mkdir()
    os.chown(root, 12345, 12345)
    with pytest.raises(LabError, match="belongs to another user"):
        state.claim("one", "f.yaml")


def test_a_state_root_that_is_a_file_is_refused(root: Path) -> None:
    root.write_text("")
    with pytest.raises(LabError, match="cannot be used"):
        state.claim("one", "f.yaml")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """The settings of a neighbour table that is as small as a kernel's default."""
    for family in ("ipv4", "ipv6"):
        directory = tmp_path / "proc" / family / "neigh" / "default"
        directory.mkdir(parents=True)
        for number, value in ((1, 128), (2, 512), (3, 1024)):
            (directory / f"gc_thresh{number}").write_text(f"{value}\n")
    return tmp_path / "proc"


def test_neighbour_thresholds_are_put_back_when_the_last_lab_goes(tmp_path: Path, proc: Path) -> None:
    third, memory = proc / "ipv4/neigh/default/gc_thresh3", tmp_path / "memory"
    neighbours.release(1, memory, proc)
    assert not memory.exists()
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
        neighbours.raise_thresholds(one.pid, memory, proc)
        neighbours.raise_thresholds(other.pid, memory, proc)
        assert int(third.read_text()) == neighbours.NEEDED
        neighbours.release(one.pid, memory, proc)
        assert int(third.read_text()) == neighbours.NEEDED, "the other lab still needs it"
        one.kill()
        other.kill()
        other.wait()
    neighbours.release(os.getpid(), memory, proc)
    assert int(third.read_text()) == 1024
    assert not memory.exists()
    neighbours.release(os.getpid(), memory, proc)
    assert int(third.read_text()) == 1024


def test_a_holder_whose_pid_is_another_process_by_now_holds_nothing(tmp_path: Path, proc: Path) -> None:
    third, memory = proc / "ipv4/neigh/default/gc_thresh3", tmp_path / "memory"
    neighbours.raise_thresholds(os.getpid(), memory, proc)
    document = json.loads(memory.read_text())
    document["holders"] = [[pid, started - 1] for pid, started in document["holders"]]
    memory.write_text(json.dumps(document))
    neighbours.release(1, memory, proc)
    assert int(third.read_text()) == 1024


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_garbled_memory_is_an_empty_one(tmp_path: Path, proc: Path, text: str) -> None:
    memory = tmp_path / "memory"
    memory.write_text(text)
    neighbours.raise_thresholds(os.getpid(), memory, proc)
    neighbours.release(os.getpid(), memory, proc)
    assert int((proc / "ipv4/neigh/default/gc_thresh3").read_text()) == 1024


def test_raising_by_many_processes_at_once_is_put_back_once(tmp_path: Path, proc: Path) -> None:
    """Each raises and releases; whoever is last finds what the first one found."""
    script = (
        "import os, sys; from pathlib import Path; from lab import neighbours\n"
        "memory, proc = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "for _ in range(50):\n"
        "    neighbours.raise_thresholds(os.getpid(), memory, proc)\n"
        "    assert int((proc / 'ipv4/neigh/default/gc_thresh3').read_text()) == neighbours.NEEDED\n"
        "    neighbours.release(os.getpid(), memory, proc)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "memory"), str(proc)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert int((proc / "ipv4/neigh/default/gc_thresh3").read_text()) == 1024
    assert not (tmp_path / "memory").exists()


def test_a_table_that_is_too_small_is_told_with_its_cure(tmp_path: Path, proc: Path) -> None:
    assert "sudo sysctl -w net.ipv4.neigh.default.gc_thresh3=" in (neighbours.shortage(1000, proc) or "")
    assert neighbours.shortage(10, proc) is None
    neighbours.raise_thresholds(os.getpid(), tmp_path / "memory", proc)
    assert neighbours.shortage(1000, proc) is None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_the_environment_file(text: str) -> None:
    assert yaml.safe_load(f"key: {quoted(text)}") == {"key": text}


@given(st.lists(st.text(), unique=True, max_size=8))
def test_host_names_are_safe_and_unique(names: list[str]) -> None:
    result = hostnames(names)
    assert list(result) == names
    assert len({name.lower() for name in result.values()}) == len(names)
    for name in result.values():
        assert name
        assert len(name) <= 63
        assert name[0] not in "-."
        assert set(name) <= set(string.ascii_letters + string.digits + "._-")


@pytest.mark.parametrize("text", ["80/tcp", "53/udp", "127.0.0.1:80/tcp", "[::1]:80/tcp"])
def test_services_are_written_as_they_are_read(text: str) -> None:
    assert str(Service.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "80", "80/icmp", "0/tcp", "65536/tcp", "x:80/tcp", "-1/tcp", "80/tcp ", "٣/tcp"]
)
def test_what_is_no_service_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Service.parse(text)


def test_missing_tools_are_named_by_their_package() -> None:
    def nothing(name: str) -> None:
        return None

    assert "openssh-server" in missing_packages(rootless=False, which=nothing)
    assert "uidmap" not in missing_packages(rootless=False, which=nothing)
    assert "uidmap" in missing_packages(rootless=True, which=nothing)
    assert missing_packages(rootless=True, which=lambda name: f"/usr/bin/{name}") == []


def test_subordinate_ids_are_found_by_uid_or_refused_with_the_cure(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("other:100000:65536\n424242:200000:100\n424242:300000:65536\n")
    assert subordinate_ids(file, 424242) == IdRange(300000, 65536)
    with pytest.raises(RequirementError, match="usermod --add-subuids"):
        subordinate_ids(file, 424243)
    with pytest.raises(RequirementError, match="usermod --add-subuids"):
        subordinate_ids(tmp_path / "none", 424242)


def test_switched_off_user_namespaces_name_the_switch(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/apparmor_restrict_unprivileged_userns").write_text("1\n")
    assert enabling_commands(tmp_path) == ["sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"]
    assert enabling_commands(tmp_path / "none") == []


def test_an_earlier_life_of_a_lab_leaves_the_later_one_alone(root: Path) -> None:
    earlier = state.claim("one", "f.yaml")
    earlier.write_record(LabRecord("one", ProcessRecord(os.getpid(), 1), "f.yaml", rootless=False))
    later = state.claim("one", "f.yaml")
    state.remove(earlier)
    assert later.is_current
    state.remove(later)
    assert not later.path.exists()
