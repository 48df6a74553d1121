"""The size of the kernel's neighbour table, which all network namespaces of a machine have in common.

Two entries for each pair of VMs that talk; 1,024 by default. A lab of some hundred VMs overflows it, one
of 33 does when every VM talks to every other, and small ones do together; new connections then time
out, in all of them. Only settable in the machine's own network namespace, by root: it is raised while
any lab stands and put back when the last one goes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import linux

LARGE = 20
"""A lab of more VMs than this outgrows the default table, with all its pairs next to another lab's."""
NEEDED = 1_048_576

_NAMES = [f"{family}/neigh/default/gc_thresh{number}" for family in ("ipv4", "ipv6") for number in (3, 2, 1)]
_PROC = Path("/proc/sys/net")
# one for the machine, as the table is: labs of several state roots must not put it back under each other
_MEMORY = Path("/run/azreach-neighbours.json")


def raise_thresholds(holder: int, memory: Path = _MEMORY, proc: Path = _PROC) -> None:
    """Makes room for labs for as long as the process ``holder`` lives; raises OSError."""
    with _remembered(memory) as state:
        current = {name: int((proc / name).read_text()) for name in _NAMES}
        state.setdefault("before", current)
        state["holders"] = [*_living(state), [holder, linux.start_time(holder)]]
        for name in _NAMES:
            if current[name] < NEEDED:
                (proc / name).write_text(str(NEEDED))


def release(leaving: int, memory: Path = _MEMORY, proc: Path = _PROC) -> None:
    """Puts back what was there before, unless a holder other than ``leaving`` still lives."""
    if not memory.exists():
        return
    with _remembered(memory) as state:
        state["holders"] = [holder for holder in _living(state) if holder[0] != leaving]
        if state["holders"]:
            return
        before = state.get("before", {})
        for name in (name for name in reversed(_NAMES) if name in before):
            # who may not write now could not raise it either
            with contextlib.suppress(OSError):
                (proc / name).write_text(str(before[name]))
        state.clear()


def _living(state: dict[str, Any]) -> list[list[int]]:
    return [holder for holder in state.get("holders", []) if linux.is_running(*holder)]


@contextlib.contextmanager
def _remembered(memory: Path) -> Iterator[dict[str, Any]]:
    """What is in the file, written back at the end; nobody else changes it meanwhile. Nothing: no file."""
    with open(_locked(memory), "r+", encoding="utf-8") as file:
        try:
            state = json.load(file)
        except ValueError:
            state = {}
        if not isinstance(state, dict):
            state = {}
        try:
            yield state
        finally:
            if state:
                file.seek(0)
                file.truncate()
                json.dump(state, file)
            else:
                memory.unlink()


def _locked(memory: Path) -> int:
    """The memory, open and locked. Who had it before may have removed it: then the next one counts."""
    while True:
        fd = os.open(memory, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), memory.stat()):
                return fd
        os.close(fd)


def shortage(vms: int, proc: Path = _PROC) -> str | None:
    """What to tell a user whose lab outgrows the table that cannot be raised; None if it does not."""
    if vms <= LARGE:
        return None
    try:
        limit = int((proc / _NAMES[0]).read_text())
    except (OSError, ValueError):
        return None
    if limit >= min(vms * vms, NEEDED):
        return None
    settings = " ".join(
        f"net.{family}.neigh.default.gc_thresh{number}={NEEDED}"
        for family in ("ipv4", "ipv6")
        for number in (3, 2, 1)
    )
    return (
        f"the machine's neighbour table holds {limit} entries, too few for {vms} VMs that all talk: "
        f"connections will time out\n  sudo sysctl -w {settings}"
    )
