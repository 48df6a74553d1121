"""Writes the environment file of a lab: of exactly the kind that a live environment uses.

Text, not a YAML library: a thousand machines would cost it seconds, and the file is to be read by
people. Reading it is ``harness.environment``'s business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.hosts.accounts import Sudo
from lab.hosts.services import Service
from lab.state import LabDirectory

IN_BAND_TIMEOUT = 5
"""Seconds, for VMs whose management crosses the data plane."""


@dataclass(frozen=True, slots=True)
class MachineEntry:
    """One machine as the environment file has it: a VM, or one on the internet with ``addresses`` instead.

    ``proxy_command`` reaches it out of band; without, it is reached by its address ``host``, through
    the machine ``jump``, and known_hosts has its key under ``alias``. ``become`` is YAML.
    """

    name: str
    host: str
    user: str
    arm_id: str | None
    services: tuple[Service, ...]
    proxy_command: tuple[str, ...] = ()
    alias: str | None = None
    jump: str | None = None
    become: str | None = None
    addresses: tuple[str, ...] = ()


def become_text(sudo: Sudo, password: Path, *, works: bool) -> str | None:
    """How the agent of a VM's azureuser becomes root, if it may; ``works``: sudo can work in this lab."""
    if sudo is Sudo.NONE:
        return None
    words = ["method: sudo"]
    if sudo is Sudo.PASSWORD:
        words.append(f"password: {{file: {quoted(str(password))}}}")
    if not works:
        words.append("required: false")
    return "sudo" if len(words) == 1 else f"{{{', '.join(words)}}}"


def environment_text(
    directory: LabDirectory, machines: Iterable[MachineEntry], flows: Iterable[Mapping[str, Any]]
) -> str:
    """The whole file; flows are written as they stand in the lab file."""
    lines = [
        f"# The lab {directory.name}; `azreach lab down {directory.name}` removes it.",
        "version: 1",
        "allow_disruptive: true",
        "azure:",
        f"  snapshot: {quoted(str(directory.snapshot))}",
        "machines:",
    ]
    key, known_hosts = quoted(str(directory.key)), quoted(str(directory.known_hosts))
    for machine in machines:
        lines += [
            f"  {quoted(machine.name)}:",
            "    ssh:",
            f"      host: {quoted(machine.host)}",
            f"      user: {machine.user}",
            f"      key_file: {key}",
            f"      known_hosts: {known_hosts}",
            *_way(machine),
            *([f"    become: {machine.become}"] if machine.become else []),
            *([f"    arm_id: {quoted(machine.arm_id)}"] if machine.arm_id is not None else []),
        ]
        if machine.addresses:
            lines.append(f"    addresses: [{', '.join(quoted(address) for address in machine.addresses)}]")
        # one that listens on a single address, such as loopback, is not meant for others
        offered = [service for service in machine.services if service.address is None]
        if offered:
            items = ", ".join(f"{{port: {item.port}, protocol: {item.protocol}}}" for item in offered)
            lines.append(f"    services: [{items}]")
    flow_lines = [f"  - {_flow(flow)}" for flow in flows]
    lines += ["flows:", *flow_lines] if flow_lines else []
    return "\n".join(lines) + "\n"


def _way(machine: MachineEntry) -> Iterator[str]:
    if machine.proxy_command:
        yield f"      proxy_command: [{', '.join(quoted(word) for word in machine.proxy_command)}]"
        return
    yield "      port: 22"
    if machine.alias is not None:
        yield f"      host_key_alias: {quoted(machine.alias)}"
    if machine.jump is not None:
        yield f"      jump: {quoted(machine.jump)}"
    # nothing in a lab is farther away than that; a fault that cuts management off is soon known
    yield f"      connect_timeout: {IN_BAND_TIMEOUT}"


def _flow(flow: Mapping[str, Any]) -> str:
    items = (f"{name}: {quoted(value) if isinstance(value, str) else value}" for name, value in flow.items())
    return f"{{{', '.join(items)}}}"


def quoted(text: str) -> str:
    """A YAML double-quoted scalar; every character that YAML does not take as it is gets escaped."""
    return "".join(
        char if char.isprintable() else _escaped(ord(char)) for char in json.dumps(text, ensure_ascii=False)
    )


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
