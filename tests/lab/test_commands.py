"""``azreach lab`` as a user meets it: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.environment import load_environment
from lab import state
from lab.client import Lab, take_down
from lab.commands import lab as group
from lab.content import load_content
from lab.topologies import source_path
from tests.lab.conftest import Command, eventually, processes_of


@pytest.mark.lab(rootless=True)
def test_up_prints_the_environment_file_and_nothing_else(lab_command: Command) -> None:
    result = lab_command("up", "three-tier", "--name", "printed")
    assert result.stderr == ""
    environment = load_environment(Path(result.stdout.removesuffix("\n")))
    assert list(environment.machines) == ["web-01", "web-02", "app-01", "db-01"]
    assert environment.allow_disruptive
    assert [service.port for service in environment.machine("db-01").services] == [1433, 53]
    assert len(environment.expected_flows()) == 11
    again = lab_command("up", "three-tier", "--name", "printed")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("Error: lab 'printed' is running already\n")
    assert lab_command("env", "printed").stdout == result.stdout
    document = json.loads(lab_command("env", "printed", "--json").stdout)
    assert [vm["name"] for vm in document["vms"]] == list(environment.machines)
    rows = json.loads(lab_command("list", "--json").stdout)
    assert [(row["name"], row["state"], row["vms"]) for row in rows] == [("printed", "up", 4)]
    down = lab_command("down", "printed")
    assert (down.returncode, down.stdout, down.stderr) == (0, "", "")
    assert lab_command("list").stdout == ""


@pytest.mark.lab(rootless=True)
def test_list_and_env_tell_what_stands(lab_command: Command, three_tier: Lab) -> None:
    name = three_tier.name
    before = datetime.now(UTC)
    assert lab_command("break", name, "no-process").returncode == 0
    row = next(row for row in json.loads(lab_command("list", "--json").stdout) if row["name"] == name)
    assert (row["state"], row["vms"], row["faults"]) == ("up", 4, ["no-process"])
    assert timedelta(0) <= before - datetime.fromisoformat(row["since"]) + timedelta(seconds=1) < timedelta(1)
    assert "faults: no-process" in lab_command("list").stdout
    assert lab_command("mend", name).returncode == 0
    assert "faults: none" in lab_command("list").stdout
    document = json.loads(lab_command("env", name, "--json").stdout)
    assert document["arm"] is None
    machine = document["machines"]["web-01"]
    assert (machine["ssh"]["host"], machine["ssh"]["user"]) == ("web-01", "root")
    assert machine["arm_id"] == document["vms"][0]["arm_id"]


@pytest.mark.lab(rootless=True)
def test_many_cycles_leave_nothing(lab_command: Command, state_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "cycle.yaml"
    path.write_text(
        "vnets: {v: {address_space: 10.0.0.0/16, subnets: {s: {prefix: 10.0.0.0/24}}}}\n"
        "vms: {'vm-{n}': {count: 3, subnet: s, services: [80/tcp]}}\n"
    )
    for _ in range(5):
        assert lab_command("up", str(path)).returncode == 0
        assert lab_command("down", "cycle").returncode == 0
        assert not (state_root / "cycle").exists()
        assert not any("cycle" in words for words in processes_of(state_root))
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    assert f"{state_root}/cycle" not in mounts


@pytest.mark.lab(rootless=True)
def test_exec_passes_everything_through(lab_command: Command, three_tier: Lab) -> None:
    result = lab_command(
        "exec",
        three_tier.name,
        "web-01",
        "--",
        "sh",
        "-c",
        "cat; echo e >&2; exit 42",
        input="in",
    )
    assert (result.returncode, result.stdout, result.stderr) == (42, "in", "e\n")
    flags = lab_command("exec", three_tier.name, "web-01", "echo", "-n", "--name", "--", "x")
    assert flags.stdout == "--name -- x"
    killed = lab_command("exec", three_tier.name, "web-01", "--", "sh", "-c", "kill -KILL $$")
    assert killed.returncode == -signal.SIGKILL
    missing = lab_command("exec", three_tier.name, "web-01", "--", "nosuch")
    assert (missing.returncode, "nosuch" in missing.stderr) == (127, True)
    environment = lab_command("exec", three_tier.name, "web-01", "env").stdout
    assert "HOME=/root" in environment
    assert "AZREACH_STATE" not in environment


@pytest.mark.lab(rootless=True)
def test_a_background_process_lives_until_down(lab_command: Command) -> None:
    lab_command("up", "three-tier", "--name", "background")
    lab_command("exec", "background", "web-01", "--", "sh", "-c", "sleep 6543 >/dev/null 2>&1 &")
    assert "sleep 6543" in lab_command("exec", "background", "web-01", "ps", "-e", "-o", "args").stdout
    assert lab_command("down", "background").returncode == 0
    everything = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 6543" not in everything


@pytest.mark.lab(rootless=True)
def test_a_snapshot_makes_the_same_network(lab_command: Command, tmp_path: Path) -> None:
    resources = load_content(source_path("hub-spoke")).resources
    gateway = {
        "id": f"{resources[0]['id'].rpartition('/providers/')[0]}/providers/Microsoft.Network/bastionHosts/b",
        "type": "Microsoft.Network/bastionHosts",
        "name": "b",
        "properties": {},
    }
    path = tmp_path / "exported.json"
    path.write_text(json.dumps({"resources": [*resources, gateway]}))
    result = lab_command("up", str(path))
    assert result.returncode == 0, result.stderr
    assert "bastionHosts/b" in result.stderr
    assert result.stderr.startswith("note: ")
    lab = Lab.open("exported")
    assert lab.run("nva-01", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
    assert lab.run("app-01", ["ping", "-c1", "-W5", "10.12.1.4"]).returncode == 0
    assert lab.services("db-01") == ()
    take_down("exported")


@pytest.mark.lab(rootless=True)
def test_vm_names_that_are_no_host_names_stay_text(lab_command: Command, tmp_path: Path) -> None:
    names = ["a b", "q'\"$(x)", "\u202ertl", "-dash", "ÄÖ"]
    resources = load_content(source_path("three-tier")).resources
    text = json.dumps({"resources": resources})
    for old, new in zip(["web-01", "web-02", "app-01", "db-01"], names, strict=False):
        text = text.replace(f'/{old}"', f'/{json.dumps(new)[1:-1]}"').replace(
            f'"name": "{old}"', f'"name": {json.dumps(new)}'
        )
    path = tmp_path / "odd names.json"
    path.write_text(text)
    result = lab_command("up", str(path))
    assert result.returncode == 0, result.stderr
    lab = Lab.open("odd-names")
    assert list(lab.vms) == names[:4]
    assert list(load_environment(lab.environment_path).machines) == names[:4]
    for name in names[:4]:
        assert lab.run(name, ["hostname"]).stdout.strip() == lab.vms[name].hostname
    assert lab_command("exec", "odd-names", "-dash", "hostname").stdout == "dash\n"
    take_down(lab.name)


@pytest.mark.lab(rootless=True)
@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25, 0.35, 0.5])
def test_an_interrupted_up_leaves_nothing(state_root: Path, tmp_path: Path, delay: float) -> None:
    path = tmp_path / "interrupted.yaml"
    path.write_text(
        "vnets: {v: {address_space: 10.0.0.0/16, subnets: {s: {prefix: 10.0.0.0/20}}}}\n"
        "vms: {'vm-{n}': {count: 150, subnet: s}}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "lab", "up", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as up:
        # not waiting for anything: the point is to hit it at some moment or other
        time.sleep(delay)
        up.send_signal(signal.SIGINT)
        up.communicate()
    eventually(
        lambda: not any("interrupted" in words for words in processes_of(state_root)), "a process is left"
    )
    for directory in state.directories():
        if directory.name == "interrupted":
            # the interruption came after the lab stood, or before it had begun
            assert up.returncode == 0
            take_down("interrupted")


@pytest.mark.lab(rootless=True)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("vnets: [", "bad.yaml:"),
        ("{", "bad.yaml:"),
        ('{"resources": []}', "no VM in it"),
        ('{"resources": 7}', "expected"),
        ("vnets: {}\n", "bad.yaml:1: vnets: "),
    ],
)
def test_a_wrong_file_is_one_clear_message_and_leaves_nothing(
    lab_command: Command, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    result = lab_command("up", str(path), "--name", "bad")
    assert result.returncode == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "bad" not in lab_command("list").stdout


@pytest.mark.lab(rootless=True)
def test_names_that_match_nothing(lab_command: Command, three_tier: Lab) -> None:
    for words, message in [
        (("up", "no-such-topology"), "no such file, and no topology of that name"),
        (("up", "three-tier", "--name", "Not Good"), "is no name of a lab"),
        (("up", "three-tier", "--name", "x", "--owner", "4194304"), "--owner 4194304: "),
        (("down", "none"), "no lab 'none'"),
        (("env", "none"), "no lab 'none'"),
        (("exec", "none", "vm", "true"), "no lab 'none'"),
        (("exec", three_tier.name, "web-09", "true"), "no VM 'web-09'"),
        (("down",), "give the name of a lab, or --all"),
    ]:
        result = lab_command(*words)
        assert result.returncode == 2, words
        assert message in result.stderr, words
        assert "Traceback" not in result.stderr


def test_help_lists_every_command_without_loading_them() -> None:
    result = CliRunner().invoke(group, ["--help"])
    for name in ("up", "down", "list", "env", "exec", "shell", "faults", "break", "mend"):
        assert f"\n  {name} " in result.output
    heavy = {"pydantic", "yaml", "cryptography", "subprocess"}
    script = f"import sys, lab.commands; print(sorted({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"
