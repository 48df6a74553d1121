"""A VM is a host of its own: files, processes, network, sshd."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.environment import load_environment
from lab.client import Lab, raise_lab, take_down
from tests.lab.conftest import eventually

pytestmark = pytest.mark.lab(rootless=True)


def test_private_directories_are_unseen_outside(three_tier: Lab) -> None:
    marker = "azreach-test-marker"
    for directory in ("/etc", "/run", "/var", "/tmp", "/root", "/home"):
        three_tier.run("web-01", ["sh", "-c", f"echo x > {directory}/{marker}"])
        assert not Path(directory, marker).exists()
        assert three_tier.run("web-02", ["test", "-e", f"{directory}/{marker}"], check=False).returncode == 1


def test_existing_files_and_directories_of_etc_and_var_can_be_changed(three_tier: Lab) -> None:
    before = Path("/etc/passwd").read_text(encoding="utf-8")
    three_tier.run(
        "web-01", ["sh", "-c", "echo '# x' >> /etc/passwd; touch /etc/ssh/new /var/lib/new /var/log/new"]
    )
    three_tier.run(
        "web-01", ["sh", "-c", 'rm -r /etc/default; mkdir /etc/default; test -z "$(ls /etc/default)"']
    )
    assert Path("/etc/passwd").read_text(encoding="utf-8") == before


def test_a_vm_has_its_own_name_and_processes(three_tier: Lab) -> None:
    assert three_tier.run("db-01", ["hostname"]).stdout == "db-01\n"
    assert three_tier.run("db-01", ["cat", "/etc/hostname"]).stdout == "db-01\n"
    assert "10.0.3.4 db-01" in three_tier.run("db-01", ["cat", "/etc/hosts"]).stdout
    names = three_tier.run("db-01", ["ps", "-e", "-o", "comm="]).stdout.split()
    assert sorted(names) == ["azreach-tcp-143", "azreach-udp-53", "catatonit", "ps"]


def test_a_vm_sees_its_own_links_only(three_tier: Lab) -> None:
    assert three_tier.run("db-01", ["ls", "/sys/class/net"]).stdout.split() == ["eth0", "lo"]
    addresses = three_tier.run("db-01", ["ip", "-4", "-br", "address", "show", "eth0"]).stdout
    assert "10.0.3.4/24" in addresses
    assert three_tier.run("db-01", ["ip", "route"]).stdout.startswith("default via 10.0.3.1 dev eth0")


def test_orphans_are_adopted_and_reaped(three_tier: Lab) -> None:
    three_tier.run("app-01", ["sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.0$i &) ; done"])

    def no_zombies() -> bool:
        return "Z" not in three_tier.run("app-01", ["ps", "-e", "-o", "stat="]).stdout

    eventually(no_zombies, "pid 1 does not reap")


def test_guest_firewalls_and_tools_work(three_tier: Lab) -> None:
    three_tier.run("app-01", ["nft", "add table inet mine"])
    three_tier.run("app-01", ["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "DROP"])
    assert "table inet mine" in three_tier.run("app-01", ["nft", "list ruleset"]).stdout
    assert "--dport 9" in three_tier.run("app-01", ["iptables-save"]).stdout
    assert "inet mine" not in three_tier.run("web-02", ["nft", "list ruleset"]).stdout
    three_tier.run("app-01", ["conntrack", "-L"])
    three_tier.run("app-01", ["sh", "-c", "nft delete table inet mine; iptables -F"])


def test_the_appliance_forwards_and_the_others_do_not(state_root: Path) -> None:
    lab = raise_lab("hub-spoke")
    assert lab.run("nva-01", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
    assert lab.run("db-01", ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "0\n"
    script = "import socket; print(socket.create_connection(('10.12.1.4', 1433), 5).recv(99))"
    assert "db-01 1433/tcp" in lab.run("app-01", ["python3", "-c", script]).stdout
    take_down(lab.name)


def ssh(lab: Lab, vm: str, *words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
    machine = load_environment(lab.environment_path).machine(vm).ssh
    assert machine.proxy_command is not None
    options = {
        "ProxyCommand": shlex.join(machine.proxy_command),
        "UserKnownHostsFile": str(machine.known_hosts),
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
    }
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    target = f"{user or machine.user}@{machine.host}"
    command = ["ssh", "-F", "none", "-i", str(machine.key_file), *flags, target, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(("user", "uid"), [(None, "0"), ("azureuser", "1000")])
def test_sshd_lets_in_whoever_has_the_labs_key(three_tier: Lab, user: str | None, uid: str) -> None:
    result = ssh(three_tier, "web-01", "hostname; id -u; pwd", user=user)
    assert result.stdout.split() == ["web-01", uid, "/root" if uid == "0" else "/home/azureuser"], (
        result.stderr
    )


def test_the_entry_of_one_vm_never_leads_into_another(three_tier: Lab) -> None:
    """As when the pid of a dead VM has been given to something else."""
    environment = load_environment(three_tier.environment_path)
    mine, other = (environment.machine(name).ssh.proxy_command for name in ("web-01", "web-02"))
    assert mine is not None
    assert other is not None
    stale = [*mine[: mine.index("--")], *other[other.index("--") :]]
    result = subprocess.run(stale, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert result.returncode != 0
    assert result.stdout == ""
    assert "No such file" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="without root, only an applier can make VMs")
def test_a_vm_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """In a process of its own, since the driver forks."""
    script = f"""
from pathlib import Path
from lab.errors import LabError
from lab.namespaces import GuestSpec, Lowers, NamespaceDriver
driver = NamespaceDriver()
lowers = Lowers((Path("{tmp_path}/none"),), (Path("/var"),))
try:
    list(driver.create([GuestSpec("one", "one")], "test", Path("{tmp_path}"), lowers))
except LabError as error:
    print(error)
driver.destroy()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("one: the VM could not be made: mount overlay on /etc: "), result.stderr
