"""The sshd of VMs that are managed in band: resident, on port 22 of every NIC, as on most live VMs.

What it is configured to do is in ``sshd``, as for the VMs that are reached out of band.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError
from lab.hosts.sshd import CONFIG, PID_FILE
from lab.inotify import Inotify
from lab.namespaces import Guest, NamespaceDriver
from lab.requirements import tool

LOG = "/var/log/auth.log"

_PATIENCE = 60.0
"""Seconds that an sshd neither listens nor ends; only a machine under heavy load comes near."""


def start_all(driver: NamespaceDriver, guests: Iterable[Guest]) -> None:
    """Starts them side by side and returns when all listen; they live until their VMs end.

    Raises LabError of one that does not listen, with what it said.
    """
    argv = [tool("sshd"), "-D", "-f", CONFIG, "-E", LOG]
    directory, file = os.path.split(PID_FILE)
    null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    poll = select.poll()
    running: dict[int, Guest] = {}
    try:
        with Inotify() as written:
            # sshd writes its pid when it listens
            waiting = {written.watch(f"{_root(guest)}{directory}"): guest for guest in guests}
            starts = [(guest, driver.start(guest, argv, null, "/")) for guest in waiting.values()]
            poll.register(written, select.POLLIN)
            for guest, start in starts:
                pidfd = _pidfd(guest, start.wait())
                running[pidfd] = guest
                poll.register(pidfd, select.POLLIN)
            deadline = time.monotonic() + _PATIENCE
            while waiting:
                ready = [fd for fd, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)]
                for number, name in written.written():
                    if name == file:
                        waiting.pop(number, None)
                ended = [running[fd] for fd in ready if fd in running]
                for guest in waiting.values() if not ready else ended:
                    raise _failure(guest)
    finally:
        os.close(null)
        for pidfd in running:
            os.close(pidfd)


def _root(guest: Guest) -> str:
    return f"/proc/{guest.pid}/root"


def _pidfd(guest: Guest, pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise _failure(guest) from None


def _failure(guest: Guest) -> LabError:
    try:
        lines = Path(f"{_root(guest)}{LOG}").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return LabError(f"{guest.name}: sshd does not listen: {lines[-1] if lines else 'it left no word'}")
