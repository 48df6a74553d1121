"""The facts of the machine that a measurement was made on, and the peers that it was compared with.

A number without them cannot be judged later. Not for measuring.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import harness

# How each tool tells its version. iproute2, nft and sshd are part of the lab; the last ones are peers.
_VERSION_COMMANDS = {
    "ip": ["ip", "-V"],
    "nft": ["nft", "--version"],
    "iptables": ["iptables", "--version"],
    "sshd": ["ssh", "-V"],
    "tcpdump": ["tcpdump", "--version"],
    "iperf3": ["iperf3", "--version"],
    "nmap": ["nmap", "--version"],
    "mininet": ["mn", "--version"],
}


class PeerMissingError(Exception):
    """A benchmark, or a part of it, that cannot run here; says what to install."""

    def __init__(self, tool: str, package: str) -> None:
        super().__init__(f"{tool} is missing: install it with `apt-get install {package}`")


def require(tool: str, package: str | None = None) -> str:
    """The path of a peer's program, or PeerMissingError with the Debian ``package`` that brings it."""
    path = shutil.which(tool)
    if path is None:
        raise PeerMissingError(tool, package or tool)
    return path


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader must know to compare two runs."""

    cpu: str
    cores: int
    memory_mib: int
    kernel: str
    system: str
    python: str
    azreach: str
    commit: str
    load: tuple[float, float, float]
    tools: dict[str, str]


def facts() -> Machine:
    """The facts of this machine at this moment."""
    return Machine(
        cpu=_first_match("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=int(_first_match("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) // 1024,
        kernel=platform.release(),
        system=_first_match("/etc/os-release", r'PRETTY_NAME="?([^"\n]+)') or platform.system(),
        python=platform.python_version(),
        azreach=harness.__version__,
        commit=_first_line(["git", "describe", "--always", "--dirty", "--abbrev=12"]),
        load=os.getloadavg(),
        tools={name: _first_line(command) for name, command in _VERSION_COMMANDS.items()},
    )


def _first_match(path: str, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found.group(1).strip() if found else ""


def _first_line(command: list[str]) -> str:
    """The first line that ``command`` prints, on either stream; empty where it cannot run."""
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0]
