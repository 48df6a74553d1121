"""The size of the kernel's neighbour table, which all network namespaces of a machine have in common.

Two entries for each pair of VMs that talk; 1,024 by default, so a lab of some hundred VMs overflows
it and new connections time out. Only settable in the machine's own network namespace, by root: it
is raised while a large lab stands and put back when the last one goes.
"""

from __future__ import annotations

import json
from pathlib import Path

LARGE = 200
"""A lab of more VMs than this needs a larger table."""
NEEDED = 1_048_576

_FILE = ".neighbour-thresholds.json"
_NAMES = [f"{family}/neigh/default/gc_thresh{number}" for family in ("ipv4", "ipv6") for number in (3, 2, 1)]
_PROC = Path("/proc/sys/net")


def is_large(vms: int) -> bool:
    return vms > LARGE


def raise_thresholds(root: Path, proc: Path = _PROC) -> None:
    """Makes room for large labs; remembers in the state root what was there before."""
    memory = root / _FILE
    before = {name: int((proc / name).read_text()) for name in _NAMES}
    if not memory.exists():
        memory.write_text(json.dumps(before))
    for name in _NAMES:
        if before[name] < NEEDED:
            (proc / name).write_text(str(NEEDED))


def restore(root: Path, proc: Path = _PROC) -> None:
    """Puts back what :func:`raise_thresholds` found; does nothing if it never ran."""
    memory = root / _FILE
    try:
        before = json.loads(memory.read_text())
    except (OSError, ValueError):
        return
    for name in reversed(_NAMES):
        if name in before:
            (proc / name).write_text(str(before[name]))
    memory.unlink(missing_ok=True)


def shortage(vms: int, proc: Path = _PROC) -> str | None:
    """What to tell a user without root whose lab outgrows the table; None if it does not."""
    if not is_large(vms):
        return None
    try:
        limit = int((proc / _NAMES[0]).read_text())
    except (OSError, ValueError):
        return None
    if limit >= 4 * vms:
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
