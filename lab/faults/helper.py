"""A helper process on a VM as a change: started in the background, ended by its process id."""

from __future__ import annotations

from pathlib import Path

from lab.changes import GuestChange
from lab.hosts import helper as program

_END = 'kill "$(cat "$0")" 2>/dev/null; rm -f "$0"'


def helper(vm: str, mode: str, address: str, port: str, count: str) -> GuestChange:
    """Runs ``lab/hosts/helper.py`` on ``vm``; only one of each mode and port at a time."""
    pid_file = f"/run/helper-{mode}-{port}.pid"
    source = Path(program.__file__).read_text(encoding="utf-8")
    start = ("python3", "-I", "-S", "-c", source, pid_file, mode, address, port, count)
    return GuestChange(vm, start, ("sh", "-c", _END, pid_file))
