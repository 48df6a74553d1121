"""Rootless labs: the applier in a user namespace of its own, where it is root.

The namespace maps the user's own id to 0 and the user's range of subordinate ids (/etc/subuid,
/etc/subgid) to 1 and up, so that sshd can drop privileges and guests have several users.
newuidmap and newgidmap must be run by a process outside, hence the two halves:
:func:`enter` in the applier, :func:`map_ids` in the command that raises it. Not for the VMs'
own namespaces (``lab.namespaces``).
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import linux
from lab.errors import LabError, RequirementError

MINIMUM_IDS = 65536


@dataclass(frozen=True, slots=True)
class IdRange:
    """``count`` subordinate ids from ``first`` on."""

    first: int
    count: int


def subordinate_ids(file: Path, uid: int) -> IdRange:
    """The user's first large enough range in /etc/subuid or /etc/subgid; raises RequirementError."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        owner, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if owner in (user, str(uid)) and first.isdigit() and count.isdigit() and int(count) >= MINIMUM_IDS:
            return IdRange(int(first), int(count))
    raise RequirementError(
        f"{file}: user {user} has no range of {MINIMUM_IDS} subordinate ids, which a lab without root needs",
        hint=f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
    )


def enter(wait_for_map: Callable[[], None]) -> None:
    """Moves this process into a new user namespace, makes it root there, with an empty network.

    ``wait_for_map`` tells the process outside that the namespace exists and returns once
    :func:`map_ids` is done.
    """
    try:
        linux.unshare(linux.CLONE_NEWUSER)
    except OSError as error:
        raise RequirementError(
            f"this machine does not let ordinary users make user namespaces ({error.strerror})",
            hint="; ".join(enabling_commands()) or "raise the lab as root, or allow user namespaces",
        ) from error
    wait_for_map()
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # one of its own to come back to: it may not enter the machine's again
    linux.unshare(linux.CLONE_NEWNET)


def map_ids(pid: int) -> None:
    """Gives the user namespace of ``pid`` its ids; raises LabError with what the tool said."""
    for tool, file, own in (
        ("newuidmap", Path("/etc/subuid"), os.getuid()),
        ("newgidmap", Path("/etc/subgid"), os.getgid()),
    ):
        ids = subordinate_ids(file, os.getuid())
        words = [tool, str(pid), "0", str(own), "1", "1", str(ids.first), str(ids.count)]
        try:
            result = subprocess.run(words, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise RequirementError(f"{tool} is missing", hint="sudo apt-get install uidmap") from None
        if result.returncode:
            raise LabError(f"{tool} refused: {result.stderr.strip() or f'status {result.returncode}'}")


# each is off by default on some distribution or hardened machine
_SWITCHES = (
    ("kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def enabling_commands(proc_sys: Path = Path("/proc/sys")) -> list[str]:
    """The commands that would let ordinary users make user namespaces; empty where they may."""
    commands = []
    for name, disabling, command in _SWITCHES:
        try:
            if (proc_sys / name).read_text().strip() == disabling:
                commands.append(command)
        except OSError:
            continue
    return commands
