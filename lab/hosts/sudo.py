"""sudo in a VM: whether it can work there, and what it takes without root.

In a user namespace the machine's sudo belongs to nobody: the kernel ignores its setuid bit, and
sudo would refuse its own plugins. So such a VM sees a copy of it that belongs to the namespace's
root, on a file system of the namespace's own (``nursery`` makes it). Not for what sudo allows
(``accounts``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lab.requirements import SEARCH_PATH

_PLUGINS = ("/usr/libexec/sudo", "/usr/lib/sudo")


def private_copies(*, rootless: bool) -> tuple[str, ...]:
    """What of the machine a VM must have as its root's own: files and directories."""
    program = shutil.which("sudo", path=SEARCH_PATH)
    if not rootless or program is None:
        return ()
    return (os.path.realpath(program), *(path for path in _PLUGINS if Path(path).is_dir()))


def obstacle(*, rootless: bool) -> str | None:
    """Why sudo cannot work in VMs made by this process; None if it can."""
    if shutil.which("sudo", path=SEARCH_PATH) is None:
        return "sudo is not installed (apt-get install sudo)"
    if _has_no_new_privileges():
        return "this process and all that it starts may gain no privileges (no_new_privs is set)"
    for path in private_copies(rootless=rootless):
        if unreadable := next((item for item in _tree(path) if not os.access(item, os.R_OK)), None):
            return f"an ordinary user cannot read {unreadable}, which a VM without root needs a copy of"
    return None


def _has_no_new_privileges() -> bool:
    status = Path("/proc/self/status").read_text(encoding="latin-1")
    return "\nNoNewPrivs:\t1\n" in status


def _tree(path: str) -> Iterator[str]:
    yield path
    for directory, _, files in os.walk(path):
        yield from (f"{directory}/{name}" for name in files)
