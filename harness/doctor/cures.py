"""Commands that cure what the doctor finds. Pure: facts in, commands out, nothing is run.

Where nobody can log in to a machine, Azure's run-command does it, if the machine's ARM id is known.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from harness.doctor.examine import Facts
from harness.doctor.model import ENVIRONMENT_FILE, HERE, Cure
from harness.environment import Machine, Ssh
from harness.transport.known_hosts import SSH_PORT, ShownKey, Trust

_MANAGERS: Mapping[str, str] = MappingProxyType(
    {
        "apt-get": "sudo apt-get install -y",
        "dnf": "sudo dnf install -y",
        "yum": "sudo yum install -y",
        "zypper": "sudo zypper --non-interactive install",
        "apk": "sudo apk add",
    }
)
_DEBIAN: Mapping[str, str] = MappingProxyType(
    {
        "ss": "iproute2",
        "ip": "iproute2",
        "nft": "nftables",
        "iptables-save": "iptables",
        "ip6tables-save": "iptables",
        "conntrack": "conntrack",
        "ping": "iputils-ping",
        "sudo": "sudo",
        "python3": "python3",
        "chronyc": "chrony",
    }
)
_FEDORA: Mapping[str, str] = MappingProxyType(
    {**_DEBIAN, "ss": "iproute", "ip": "iproute", "conntrack": "conntrack-tools", "ping": "iputils"}
)
_OTHERS: Mapping[str, str] = MappingProxyType({**_DEBIAN, "conntrack": "conntrack-tools", "ping": "iputils"})
_PACKAGES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"apt-get": _DEBIAN, "dnf": _FEDORA, "yum": _FEDORA, "zypper": _OTHERS, "apk": _OTHERS}
)

SUDOERS = "/etc/sudoers.d/azreach"


def install(name: str, facts: Facts, tools: Iterable[str]) -> Cure:
    """Installs the packages that have these tools, with the machine's own package manager (else Debian's)."""
    manager = next((manager for manager in _MANAGERS if facts.has(manager)), "apt-get")
    packages = dict.fromkeys(_PACKAGES[manager][tool] for tool in tools)
    return Cure(name, f"{_MANAGERS[manager]} {' '.join(packages)}")


def as_root(name: str, machine: Machine, command: str) -> Cure:
    """``command`` as root, where the log-in is not: by Azure's run-command if the ARM id is known."""
    if machine.arm_id is None:
        return Cure(name, f"su -c {shlex.quote(command)}")
    return Cure(
        HERE,
        f"az vm run-command invoke --ids {shlex.quote(machine.arm_id)} --command-id RunShellScript"
        f" --scripts {shlex.quote(command)}",
    )


def allow_sudo(name: str, machine: Machine, python: str) -> Cure:
    """Lets the log-in's user start the agent as root without a password."""
    become = machine.become.user if machine.become is not None else "root"
    rule = f"{machine.ssh.user} ALL=({become}) NOPASSWD: {python}"
    # written aside first: a sudoers file with a mistake in it locks everybody out of sudo
    new = f"{SUDOERS}.new"
    return as_root(
        name, machine, f"echo {shlex.quote(rule)} > {new} && visudo -cf {new} && mv {new} {SUDOERS}"
    )


def use_become(name: str) -> Cure:
    return Cure(ENVIRONMENT_FILE, f"machines.{name}.become: sudo")


def give_password(name: str) -> Cure:
    return Cure(
        ENVIRONMENT_FILE, f"machines.{name}.become: {{method: sudo, password: {{env: SUDO_PASSWORD}}}}"
    )


def set_clock(name: str, facts: Facts) -> Cure:
    if facts.has("chronyc"):
        return Cure(name, "sudo chronyc makestep")
    if facts.has("timedatectl"):
        return Cure(name, "sudo timedatectl set-ntp true")
    return Cure(name, f"{install(name, facts, ['chronyc']).command} && sudo chronyc makestep")


def start_sshd(name: str, machine: Machine) -> Cure:
    command = "systemctl enable --now ssh || systemctl enable --now sshd"
    if machine.arm_id is not None:
        return as_root(name, machine, command)
    return Cure(name, f"sudo sh -c {shlex.quote(command)}")


def find_machine(machine: Machine) -> tuple[Cure, ...]:
    """For a machine that does not answer: is it there, and does anything reach it?"""
    ssh = machine.ssh
    if ssh.proxy_command is not None:
        return (Cure(HERE, f"{shlex.join(ssh.proxy_command)} </dev/null"),)
    look = Cure(HERE, f"nc -vz -w 5 {shlex.quote(ssh.host)} {ssh.port}")
    if ssh.jump is not None:
        look = Cure(ssh.jump, look.command)
    if machine.arm_id is None:
        return (look,)
    return (Cure(HERE, f"az vm start --ids {shlex.quote(machine.arm_id)}"), look)


def find_name(name: str, ssh: Ssh) -> tuple[Cure, ...]:
    return (
        Cure(HERE, f"getent hosts {shlex.quote(ssh.host)}"),
        Cure(ENVIRONMENT_FILE, f"machines.{name}.ssh.host: <its address>"),
    )


def trust_key(ssh: Ssh, shown: ShownKey) -> tuple[Cure, ...]:
    """Records a key that known_hosts lacks, or has another one for. Not for a revoked key."""
    file = shlex.quote(str(shown.file.expanduser()))
    if shown.trust is Trust.REVOKED:
        return (Cure(HERE, f"grep -n '^@revoked' {file}"),)
    cures = []
    if shown.trust is Trust.CHANGED:
        cures.append(Cure(HERE, f"ssh-keygen -f {file} -R {shlex.quote(shown.name)}"))
    if ssh.proxy_command or ssh.jump or ssh.host_key_alias:
        # ssh-keyscan knows neither jump hosts nor proxy commands
        return (*cures, Cure(HERE, f"echo {shlex.quote(shown.line)} >> {file}"))
    port = f"-p {ssh.port} " if ssh.port != SSH_PORT else ""
    scan = f"ssh-keyscan {port}-t {_scan_type(shown.key_type)} {shlex.quote(ssh.host)} >> {file}"
    return (*cures, Cure(HERE, scan))


def fingerprint_of(key_type: str) -> str:
    """On the machine itself: prints what the fingerprint of its host key ought to be."""
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{_scan_type(key_type)}_key.pub"


def _scan_type(key_type: str) -> str:
    return next((kind for kind in ("ed25519", "ecdsa", "rsa", "dsa") if kind in key_type), "ed25519")


def give_key(name: str, machine: Machine) -> tuple[Cure, ...]:
    """Puts the public half of the key that was refused onto the machine."""
    ssh = machine.ssh
    if ssh.key_file is None:
        return (
            Cure(HERE, "ssh-add -L"),
            Cure(ENVIRONMENT_FILE, f"machines.{name}.ssh.key_file: <private key>"),
        )
    private = shlex.quote(str(ssh.key_file))
    if machine.arm_id is not None:
        return (
            Cure(
                HERE,
                f"az vm user update --ids {shlex.quote(machine.arm_id)} --username {shlex.quote(ssh.user)}"
                f' --ssh-key-value "$(ssh-keygen -y -f {private})"',
            ),
        )
    return (
        Cure(HERE, f"ssh-keygen -y -f {private}"),
        Cure(name, f"cat >> ~{ssh.user}/.ssh/authorized_keys   # the line that ssh-keygen printed"),
    )


def make_snapshot(path: Path | None) -> tuple[Cure, ...]:
    """Reads the network of the current subscription, as ARM resources, into a snapshot file.

    The first page of each type, which is all of it in most subscriptions.
    """
    types = (
        "Network/virtualNetworks Network/networkInterfaces Network/networkSecurityGroups"
        " Network/applicationSecurityGroups Network/routeTables Network/publicIPAddresses"
    )
    file = shlex.quote(str(path)) if path is not None else "network.json"
    url = "/subscriptions/{subscriptionId}/providers/Microsoft."
    command = (
        f'{{ for t in {types}; do az rest --url "{url}$t?api-version=2024-05-01"; done;'
        f' az rest --url "{url}Compute/virtualMachines?api-version=2024-07-01"; }}'
        f" | jq -s '{{resources: map(.value) | add}}' > {file}"
    )
    cures = (Cure(HERE, command),)
    return cures if path is not None else (*cures, Cure(ENVIRONMENT_FILE, f"azure.snapshot: {file}"))
