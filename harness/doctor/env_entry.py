"""What a machine says of itself, as its entry in an environment file.

The agent is asked (:func:`interview`); the entry is put together without I/O (:func:`entry`). Not
for writing the file (:mod:`harness.doctor.env_add`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.agent.client import Agent
from harness.agent.contract import RequestError
from harness.doctor.azure import vm_of, vm_with
from harness.doctor.examine import TOOLS, why_no_sudo
from harness.environment import Machine, OperatingSystem, Ssh
from harness.guest.addresses import IP_COMMAND, InterfaceAddress, read_addresses
from harness.guest.listeners import SS_COMMAND, Listener, read_listeners
from harness.model import Protocol
from harness.network.model import Network

# what runs on a Linux machine anyway and is nobody's service: SSH, DHCP clients, portmapper, NTP, mDNS, LLMNR
HOUSEKEEPING = frozenset({22, 68, 111, 123, 323, 546, 5353, 5355})
EPHEMERAL = 32768
"""First of the ports that Linux gives to clients: a UDP socket there serves nobody, it waits."""

INNER_INTERFACES = ("docker", "br-", "virbr", "veth", "cni", "flannel", "cali", "lxc", "lxd", "podman")
"""Interfaces of containers and the like, whose addresses other VMs cannot reach."""


@dataclass(frozen=True, slots=True)
class Interview:
    """What the machine said. ``sudo``: the log-in is not root, and becomes it by sudo without a password."""

    hostname: str
    platform: str
    sudo: bool
    addresses: tuple[InterfaceAddress, ...]
    listeners: tuple[Listener, ...]


def interview(agent: Agent) -> Interview:
    """Asks the machine; what it has no tool for stays empty. Raises AgentError for an agent that fails."""
    hello = agent.hello(TOOLS)
    return Interview(
        hostname=hello.hostname,
        platform=hello.platform,
        sudo=not hello.root and why_no_sudo(agent, hello) is None,
        addresses=read_addresses(_output(agent, IP_COMMAND)),
        listeners=read_listeners(_output(agent, SS_COMMAND)),
    )


def entry(said: Interview, ssh: Ssh, directory: Path, network: Network | None) -> dict[str, Any]:
    """The machine's entry with the file's keys. ``directory`` is the file's, to which paths are relative."""
    found: dict[str, Any] = {}
    if said.platform in set(OperatingSystem):
        found["os"] = said.platform
    found["ssh"] = _ssh(ssh, directory)
    if said.sudo:
        found["become"] = "sudo"
    arm_id = _arm_id(said, ssh, network)
    if arm_id is not None:
        found["arm_id"] = arm_id
    addresses = [
        str(item.address) for item in said.addresses if not item.interface.startswith(INNER_INTERFACES)
    ]
    if addresses:
        found["addresses"] = addresses
    services = services_of(said.listeners, ssh.port)
    if services:
        found["services"] = [_service(protocol, port) for protocol, port in services]
    return found


def services_of(listeners: tuple[Listener, ...], ssh_port: int) -> list[tuple[Protocol, int]]:
    """What the machine offers to others, in the order of ports."""
    offered = {
        (listener.protocol, listener.port)
        for listener in listeners
        if not listener.loopback
        and listener.port not in HOUSEKEEPING
        and listener.port != ssh_port
        and listener.port > 0
        and not (listener.protocol is Protocol.UDP and listener.port >= EPHEMERAL)
    }
    return sorted(offered, key=lambda item: (item[1], item[0]))


def written(path: Path, directory: Path) -> str:
    """A path as a person would write it into a file of ``directory``."""
    path = path.expanduser().absolute()
    for base, prefix in ((directory, ""), (Path.home(), "~/")):
        if path.is_relative_to(base):
            return f"{prefix}{path.relative_to(base)}"
    return str(path)


def _ssh(ssh: Ssh, directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"host": ssh.host}
    if ssh.port != 22:
        found["port"] = ssh.port
    found["user"] = ssh.user
    if ssh.key_file is not None:
        found["key_file"] = written(ssh.key_file, directory)
    if ssh.known_hosts is not None:
        found["known_hosts"] = written(ssh.known_hosts, directory)
    if ssh.jump is not None:
        found["jump"] = ssh.jump
    return found


def _service(protocol: Protocol, port: int) -> dict[str, Any]:
    return {"port": port} if protocol is Protocol.TCP else {"port": port, "protocol": protocol.value}


def _arm_id(said: Interview, ssh: Ssh, network: Network | None) -> str | None:
    """The VM of the snapshot that has the guest's addresses; a name alone may be another group's."""
    if network is None:
        return None
    vm = vm_with(network, said.addresses)
    named = vm_of(network, said.hostname, Machine(ssh=ssh))
    return vm.id if vm is not None and (named is None or named.id == vm.id) else None


def _output(agent: Agent, command: tuple[str, ...]) -> str:
    try:
        done = agent.run(*command)
    except RequestError:
        return ""
    return done.stdout if done.exit_code == 0 else ""
