"""What a lab needs of this machine: tools and the Debian packages that have them, and, without
root, user namespaces. It says what to install or enable; it installs nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.errors import RequirementError

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where guests and the applier look for tools; an ordinary user's PATH may lack the sbin ones."""

PACKAGES: Mapping[str, str] = {
    "catatonit": "catatonit",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ping": "iputils-ping",
    "python3": "python3",
    "sshd": "openssh-server",
    "sudo": "sudo",
    "tcpdump": "tcpdump",
}
ROOTLESS_PACKAGES: Mapping[str, str] = {"newuidmap": "uidmap", "newgidmap": "uidmap"}


def tool(name: str) -> str:
    """The path of a tool that :func:`check` found; raises RequirementError where it is gone."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise RequirementError(f"{name} is missing", hint=f"sudo apt-get install {PACKAGES.get(name, name)}")
    return path


def missing_packages(*, rootless: bool, which: Callable[[str], str | None] | None = None) -> list[str]:
    """The Debian packages to install, sorted."""
    find = which or (lambda name: shutil.which(name, path=SEARCH_PATH))
    needed = {**PACKAGES, **ROOTLESS_PACKAGES} if rootless else PACKAGES
    return sorted({package for name, package in needed.items() if find(name) is None})


def check(*, rootless: bool | None = None) -> None:
    """Raises RequirementError that says exactly what to install or enable."""
    if not sys.platform.startswith("linux"):
        raise RequirementError("a lab needs Linux: it is made of network namespaces")
    if rootless is None:
        rootless = os.geteuid() != 0
    if packages := missing_packages(rootless=rootless):
        sudo = "sudo " if rootless else ""
        raise RequirementError(
            f"a lab needs tools that are missing here (Debian packages {', '.join(packages)})",
            hint=f"{sudo}apt-get install {' '.join(packages)}",
        )
    if rootless:
        from lab import userns

        if commands := userns.enabling_commands():
            raise RequirementError(
                "a lab without root needs user namespaces, which are switched off for ordinary users here",
                hint="; ".join(commands),
            )
        for file in (Path("/etc/subuid"), Path("/etc/subgid")):
            userns.subordinate_ids(file, os.getuid())
