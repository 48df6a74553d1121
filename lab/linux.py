"""The few system calls and /proc facts that a lab needs and that Python 3.11 does not offer.

libc through ctypes, errors as OSError. Not for netlink (``lab.netlink``) and not for policy:
who makes which namespace is decided in ``lab.namespaces`` and ``lab.userns``.
"""

from __future__ import annotations

import ctypes
import os
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

MNT_DETACH = 0x2

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PF_EXITING = 0x4

# clone(2) is the one call without a usable libc form: glibc's wrapper wants a stack and a function
_SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p,) * 3 + (ctypes.c_ulong, ctypes.c_char_p)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """unshare(2) (os.unshare is there from Python 3.12 on only)."""
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """setns(2); ``fd`` is a namespace or a pidfd."""
    _checked(_libc.setns(fd, flags), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2); the error names the target."""
    encoded = [text if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3])
    _checked(result, f"mount {kind or 'bind'} on {target}")


def unmount(target: str) -> None:
    """umount2(2), at once for new users and later for those who still have files open there."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def clone(flags: int) -> int:
    """fork(2) into new namespaces: the child's pid (0 in the child).

    Only for a process with one thread whose child soon calls exec: Python's own after-fork
    work is not done.
    """
    try:
        number = _SYS_CLONE[os.uname().machine]
    except KeyError:
        raise OSError(f"clone: no system call number known for {os.uname().machine}") from None
    arguments = (ctypes.c_long(number), ctypes.c_long(flags | signal.SIGCHLD), *(ctypes.c_long(0),) * 4)
    return _checked(_libc.syscall(*arguments), "clone")


def die_with_parent() -> None:
    """SIGKILL for this process as soon as its parent dies."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def set_process_name(name: str) -> None:
    """The name (at most 15 bytes) that ``ps`` and ``ss -p`` show."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def start_time(pid: int) -> int | None:
    """When a process started (clock ticks since boot), None if there is none or it is at its end.

    A pid together with its start time names one process for ever; a pid alone is reused.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    is_ending = fields[0] in ("Z", "X") or int(fields[6]) & _PF_EXITING
    return None if is_ending else int(fields[19])


def started_at(start_time: int) -> float:
    """When a process started that has this start time: seconds since the epoch."""
    with open("/proc/stat", encoding="ascii") as file:
        boot = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    return boot + start_time / os.sysconf("SC_CLK_TCK")


def is_running(pid: int, started: int) -> bool:
    """Whether that very process still runs."""
    return start_time(pid) == started


def pid_in_namespace(pid: int) -> int:
    """The pid that a process has in its own pid namespace."""
    with open(f"/proc/{pid}/status", encoding="latin-1") as file:
        for line in file:
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return pid


def words_of(error: BaseException) -> str:
    """What an error says, without Python's decoration; never empty, at most some kilobytes."""
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)[:4000]
    return (str(error) or type(error).__name__)[:4000]
