"""The doctor among machines that are ill in different ways: one round over a real lab, a row for each."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.doctor.document import CheckDocument, CureDocument, DoctorDocument, MachineDocument
from harness.environment import load_environment
from lab.client import Lab
from tests.lab.conftest import Command

pytestmark = pytest.mark.lab

USER, SUDOER = "visitor", "sudoer"
ACCOUNTS = "".join(f"{user}:x:{uid}:{uid}::/tmp:/bin/sh\n" for user, uid in ((USER, 2001), (SUDOER, 2002)))
SHADOW = "".join(f"{user}:*:19000::::::\n" for user in (USER, SUDOER))
RULE = f"{SUDOER} ALL=(root) NOPASSWD: /usr/bin/python3\n"
NOWHERE = "SetEnv PATH=/nowhere"
DEADLY_IP = "/run/deadly-ip"


def azreach(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def inside(three_tier: Lab, lab_command: Command) -> Command:
    """Runs a shell command as root of a VM."""

    def run(machine: str, command: str) -> subprocess.CompletedProcess[str]:
        done = lab_command("exec", three_tier.name, machine, "--", "sh", "-ec", command)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def ill(
    three_tier: Lab, inside: Command, silent: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """An environment file of machines of which each has another illness."""
    if shutil.which("sudo") is None:
        pytest.skip("needs sudo (apt-get install sudo)")
    folder = tmp_path_factory.mktemp("ill")
    environment: dict[str, Any] = yaml.safe_load(three_tier.environment_path.read_text())
    healthy = environment["machines"]

    def entry(machine: str, *, without: str = "", **ssh: Any) -> dict[str, Any]:
        found = {**healthy[machine], "ssh": {**healthy[machine]["ssh"], **ssh}}
        return {key: value for key, value in found.items() if key != without}

    other = folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    # a host key that was another machine's when it was recorded
    lines = dict(
        line.split(None, 1) for line in (three_tier.directory / "known_hosts").read_text().splitlines()
    )
    (folder / "swapped").write_text(f"web-01 {lines['web-02']}\n")
    (folder / "empty").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    environment["machines"] = {
        "web-01": healthy["web-01"],
        "nobody": entry("web-01", without="arm_id", host="127.0.0.1", port=closed, proxy_command=None),
        "nameless": entry("web-01", without="arm_id", host="no-such-host.invalid", proxy_command=None),
        "unknown-key": entry("web-01", known_hosts=str(folder / "empty")),
        "changed-key": entry("web-01", known_hosts=str(folder / "swapped")),
        "wrong-key": entry("web-01", key_file=str(other)),
        "no-secret": entry("web-01", key_file=None, password={"env": "AZREACH_NO_SUCH_SECRET"}),
        "no-python": healthy["app-01"],
        "dying": healthy["db-01"],
        "mute": entry("web-01", host="127.0.0.1", port=silent, proxy_command=None, connect_timeout=0.3),
        "plain-user": entry("web-02", user=USER),
        "no-right": {**entry("web-02", user=USER), "become": "sudo"},
        "sudoer": {**entry("web-02", user=SUDOER), "become": "sudo"},
        "idle-sudoer": entry("web-02", user=SUDOER),
        "impostor": {**entry("web-02"), "arm_id": healthy["web-01"]["arm_id"]},
        "astray": entry("web-01", jump="nowhere", proxy_command=None),
    }
    environment["flows"] = []
    path = folder / "ill.yaml"
    path.write_text(yaml.safe_dump(environment, sort_keys=False))
    inside("web-02", f"printf '{ACCOUNTS}' >> /etc/passwd; printf '{SHADOW}' >> /etc/shadow")
    inside("web-02", f"printf '{RULE}' > /etc/sudoers.d/{SUDOER}; chmod 440 /etc/sudoers.d/{SUDOER}")
    inside("app-01", f"echo '{NOWHERE}' >> /etc/ssh/sshd_config")
    # in this VM's own mount namespace, `ip` kills the agent that asks it
    inside(
        "db-01",
        f"printf '#!/bin/sh\\nkill -9 $PPID\\n' > {DEADLY_IP}; chmod 755 {DEADLY_IP};"
        f' mount --bind {DEADLY_IP} "$(readlink -f "$(command -v ip)")"',
    )
    yield path
    inside("db-01", 'umount "$(readlink -f "$(command -v ip)")"')
    inside("app-01", f"sed -i '/{NOWHERE.replace('/', '.')}/d' /etc/ssh/sshd_config")
    inside(
        "web-02", f"sed -i '/^{USER}:/d; /^{SUDOER}:/d' /etc/passwd /etc/shadow; rm /etc/sudoers.d/{SUDOER}"
    )


@pytest.fixture(scope="module")
def report(ill: Path) -> DoctorDocument:
    done = azreach("doctor", "--env", str(ill), "--json")
    assert (done.returncode, done.stderr) == (2, "")
    document = DoctorDocument.model_validate_json(done.stdout)
    assert document.exit_status == 2
    return document


def row(report: DoctorDocument, name: str) -> MachineDocument:
    return next(machine for machine in report.machines if machine.name == name)


def checks(machine: MachineDocument) -> dict[str, CheckDocument]:
    return {check.check: check for check in machine.checks}


def test_a_lab_is_in_the_best_of_health(three_tier: Lab) -> None:
    done = azreach("doctor", "--lab", three_tier.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("4 machines: 4 fine, 0 with something missing, 0 unusable\n")
    assert "\x1b" not in done.stdout


def test_a_healthy_machine_among_the_ill(report: DoctorDocument) -> None:
    machine = row(report, "web-01")
    assert {check.status for check in machine.checks} == {"ok"}
    assert (machine.usable, machine.limits) == (True, [])


ILL = {
    "nobody": ("reachable", "refused the connection", "systemctl enable --now ssh"),
    "nameless": ("reachable", "does not resolve", "getent hosts no-such-host.invalid"),
    "unknown-key": ("host-key", "SHA256:", "echo 'web-01 ssh-ed25519 "),
    "changed-key": ("host-key", "HAS CHANGED", "ssh-keygen -f "),
    "wrong-key": ("log-in", "refused root", "az vm user update --ids "),
    "no-secret": ("log-in", "AZREACH_NO_SUCH_SECRET is not set", "export AZREACH_NO_SUCH_SECRET"),
    "no-python": ("python", "no python3", "install -y python3"),
    "dying": ("python", "the agent died", "journalctl -k"),
    "mute": ("reachable", "sent no SSH banner within 0.3 s", "az vm start --ids "),
    "no-right": ("privilege", "sudo asks for a password", "become: {method: sudo, password: {env: "),
    "impostor": ("azure", "leads to another machine", "machines.impostor.arm_id: "),
    "astray": ("reachable", "'nowhere' is neither a machine", "machines.astray.ssh.jump: "),
}


@pytest.mark.parametrize("name", ILL)
def test_each_illness_is_named_with_its_cure(report: DoctorDocument, name: str) -> None:
    which, says, cure = ILL[name]
    machine = row(report, name)
    failed = [check for check in machine.checks if check.status == "failed"]
    assert [check.check for check in failed] == [which]
    assert says in failed[0].summary
    assert any(cure in item.command for item in failed[0].cures)
    assert not machine.usable
    if which != "azure":
        assert [limit.step for limit in machine.limits] == [None]


def test_without_root_the_steps_limits_are_told(report: DoctorDocument) -> None:
    machine = row(report, "plain-user")
    found = checks(machine)
    assert (machine.usable, found["privilege"].status, found["captures"].status) == (
        True,
        "warning",
        "warning",
    )
    assert "uid 2001" in found["privilege"].summary
    assert {limit.step for limit in machine.limits} >= {"nsg-udr", "guest-firewall", "listener"}
    for check in ("log-in", "python", "tools", "clock", "azure"):
        assert found[check].status == "ok", found[check]


def test_a_sudo_that_works_is_used_or_recommended(report: DoctorDocument) -> None:
    used = row(report, "sudoer")
    assert {check.status for check in used.checks} == {"ok"}
    assert (checks(used)["privilege"].summary, used.limits) == (
        "the agent is root by sudo (uid 0, euid 0)",
        [],
    )
    idle = checks(row(report, "idle-sudoer"))
    assert [cure.command for cure in idle["privilege"].cures] == ["machines.idle-sudoer.become: sudo"]
    assert idle["captures"].cures == idle["privilege"].cures


def test_an_agent_that_dies_keeps_what_it_said_before(report: DoctorDocument) -> None:
    found = checks(row(report, "dying"))
    assert found["privilege"].status == found["tools"].status == found["clock"].status == "ok"


def test_for_people(ill: Path) -> None:
    done = azreach("doctor", "--env", str(ill))
    assert (done.returncode, done.stderr) == (2, "")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:4] == ["machine", "reach", "host", "key"]
    assert len({len(line.split()) for line in lines[1:3]}) == 1
    assert any(line.startswith("  host-key: FAILED: THE HOST KEY OF web-01 HAS CHANGED") for line in lines)
    assert lines[-1] == "16 machines: 2 fine, 2 with something missing, 12 unusable"


def run_here(cures: list[CureDocument]) -> None:
    first, *others = cures
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in first.command  # compare before you trust
    for cure in others:
        assert cure.where == "here"
        subprocess.run(["sh", "-ec", cure.command], check=True, capture_output=True)


def status_alone(ill: Path, name: str, folder: Path) -> int:
    """The doctor's exit status for that one machine."""
    environment = yaml.safe_load(ill.read_text())
    environment["machines"] = {name: environment["machines"][name]}
    (folder / "env.yaml").write_text(yaml.safe_dump(environment))
    return azreach("doctor", "--env", str(folder / "env.yaml")).returncode


@pytest.mark.parametrize("name", ["unknown-key", "changed-key"])
def test_the_cure_of_a_host_key_cures(ill: Path, report: DoctorDocument, name: str, tmp_path: Path) -> None:
    run_here(checks(row(report, name))["host-key"].cures)
    assert status_alone(ill, name, tmp_path) == 0


def test_the_cure_by_sudoers_cures(
    ill: Path, report: DoctorDocument, inside: Command, tmp_path: Path
) -> None:
    (command,) = [
        cure.command
        for cure in checks(row(report, "no-right"))["privilege"].cures
        if "visudo" in cure.command
    ]
    words = shlex.split(command)
    assert words[:4] == ["az", "vm", "run-command", "invoke"]
    # what Azure's run-command would do: the script, as root of the VM
    inside("web-02", words[words.index("--scripts") + 1])
    assert status_alone(ill, "no-right", tmp_path) == 0
    inside("web-02", "rm /etc/sudoers.d/azreach")


def test_what_is_missing_but_not_needed_is_status_1(three_tier: Lab, tmp_path: Path) -> None:
    environment = yaml.safe_load(three_tier.environment_path.read_text())
    path = tmp_path / "env.yaml"
    path.write_text(yaml.safe_dump({"machines": {"web-01": environment["machines"]["web-01"]}}))
    done = azreach("doctor", "--env", str(path), "--json")
    document = DoctorDocument.model_validate_json(done.stdout)
    assert (done.returncode, document.exit_status, document.machines[0].usable) == (1, 1, True)
    assert [problem.status for problem in document.problems] == ["warning"]
    assert {limit.step for limit in document.machines[0].limits} == {"nsg-udr", "inter-vnet"}
    (tmp_path / "broken.json").write_text("{")
    path.write_text(yaml.safe_dump({**environment, "azure": {"snapshot": "broken.json"}}))
    done = azreach("doctor", "--env", str(path), "--json")
    document = DoctorDocument.model_validate_json(done.stdout)
    assert (done.returncode, [problem.status for problem in document.problems]) == (2, ["failed"])


WRONG_USE = {
    "missing file": (["--env", "/nonexistent.yaml"], "No such file"),
    "unknown lab": (["--lab", "no-such"], "no lab 'no-such' is running"),
    "both": (["--env", "x", "--lab", "y"], "exclude each other"),
}


@pytest.mark.parametrize(("words", "says"), WRONG_USE.values(), ids=WRONG_USE.keys())
def test_wrong_use_is_status_2_and_one_message(three_tier: Lab, words: list[str], says: str) -> None:
    done = azreach("doctor", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_the_labs_own_file_is_in_order(three_tier: Lab, ill: Path) -> None:
    done = azreach("env", "check", str(three_tier.environment_path))
    assert (done.returncode, done.stdout) == (0, "ok: 4 machines, 11 flows\n")
    done = azreach("env", "check", str(ill))
    assert done.returncode == 2
    assert "machines.astray.ssh.jump: 'nowhere' is neither a machine" in done.stdout


def test_a_vm_is_added_through_a_jump_host(three_tier: Lab, inside: Command, tmp_path: Path) -> None:
    inside("web-01", "/usr/sbin/sshd -f /etc/ssh/sshd_config -p 2222")
    path = tmp_path / "env.yaml"
    before = three_tier.environment_path.read_text()
    path.write_text(before)
    words = ["root@127.0.0.1:2222", "--env", str(path), "--jump", "web-01", "--accept-host-keys"]
    words += [
        "--key",
        str(three_tier.directory / "id_ed25519"),
        "--known-hosts",
        str(tmp_path / "known_hosts"),
    ]
    done = azreach("env", "add", *words)
    assert (done.returncode, path.read_text()) == (2, before)
    assert "there is a machine 'web-01'" in done.stderr
    done = azreach("env", "add", *words, "--name", "web-01-again")
    assert done.returncode == 0, done.stderr
    assert set(before.splitlines()) < set(path.read_text().splitlines())
    environment = load_environment(path)
    added, web = environment.machine("web-01-again"), environment.machine("web-01")
    assert (added.arm_id, added.services, added.addresses) == (web.arm_id, web.services, ("10.0.1.4",))
    # of the other machines some are ill, as in the tests above
    document = DoctorDocument.model_validate_json(azreach("doctor", "--env", str(path), "--json").stdout)
    assert {check.status for check in row(document, "web-01-again").checks} == {"ok"}
