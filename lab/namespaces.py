"""The driver that makes VMs of Linux namespaces: net, mount, pid and uts, one init as pid 1.

A VM shares the machine's root file system but has an /etc, /run, /var, /tmp, /root and /home of
its own (in memory), its own /proc, /sys and /dev/pts, and its own host name. Everything in it
dies with its pid 1, and that dies with the process that owns this driver, whatever kills it.
Must be used by a process with one thread. Not for wires and addresses (``lab.fabric``), nor for
what the files say (``lab.hosts``).
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from lab import linux, nursery
from lab.errors import LabError
from lab.requirements import SEARCH_PATH, tool

_ENTER = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID | linux.CLONE_NEWUTS
_CREDENTIALS = struct.Struct("iII")
_RUNNING = b"\0"
_REAPING_SECONDS = 0.3

ENVIRONMENT = {
    "PATH": SEARCH_PATH,
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
}
"""What a command that is started as root of a VM finds in its environment."""


@dataclass(frozen=True, slots=True)
class GuestFile:
    """A file, a symbolic link, or (with neither content nor link) a directory to lay into a VM."""

    path: str
    content: bytes | None = None
    link: str | None = None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A VM to make. ``sysctls`` are (name under /proc/sys, value)."""

    name: str
    hostname: str
    files: tuple[GuestFile, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Guest:
    """A running VM. ``pid`` is its pid 1 as the machine sees it; ``netns`` and ``pidfd`` are open fds."""

    name: str
    hostname: str
    pid: int
    start_time: int
    netns: int
    pidfd: int


@dataclass(frozen=True, slots=True)
class Lowers:
    """The directories that show through a VM's /etc and /var, topmost first."""

    etc: tuple[Path, ...]
    var: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """A process on its way into a VM."""

    vm: str
    program: str
    helper: int
    report: socket.socket

    def wait(self) -> int:
        """Its pid, once its program runs; raises LabError if it could not be executed."""
        pid, problem = 0, ""
        with self.report:
            while received := _receive(self.report):
                message, sender = received
                if message == _RUNNING:
                    pid = sender
                else:
                    problem = message.decode(errors="replace")
        os.waitpid(self.helper, 0)
        if problem or not pid:
            raise LabError(f"{self.vm}: {self.program} could not be started: {problem or 'the VM is gone'}")
        return pid


class NamespaceDriver:
    """Makes VMs. Construct it early: its nursery gets ready while the caller does other things."""

    def __init__(self) -> None:
        self._init = tool("catatonit")
        self._orders, theirs = socket.socketpair()
        self._nursery = _start_nursery(theirs)
        theirs.close()
        self.lifeline = os.pidfd_open(self._nursery)
        """Becomes readable when the nursery dies, and its VMs with it."""
        self.guests: dict[str, Guest] = {}

    def create(
        self,
        specs: Sequence[GuestSpec],
        label: str,
        stage: Path,
        lowers: Lowers,
        copies: tuple[str, ...] = (),
    ) -> Iterator[list[Guest]]:
        """Makes all VMs, side by side on all cores; yields them in batches as they come to life.

        ``stage`` is an empty directory on which each VM mounts its memory; ``copies`` are files and
        directories of the machine that VMs see as their root's own. Raises LabError if one cannot be
        made; the others live until :meth:`destroy`.
        """
        etc, var = _joined(lowers.etc), _joined(lowers.var)
        order: nursery.Order = (label, self._init, str(stage), etc, var, copies, _plain(specs))
        payload = marshal.dumps(order)
        ours, theirs = _credential_pair()
        hostnames = {spec.name: spec.hostname for spec in specs}
        with ours:
            try:
                with theirs:
                    socket.send_fds(self._orders, [nursery.LENGTH.pack(len(payload))], [theirs.fileno()])
                self._orders.sendall(payload)
            except OSError:
                raise LabError("the process that makes VMs is gone") from None
            while hostnames:
                batch = []
                for message, pid in _available(ours):
                    name, problem = marshal.loads(message)
                    if problem:
                        raise LabError(f"{name}: the VM could not be made: {problem}")
                    batch.append(self._register(name, hostnames.pop(name), pid))
                if not batch:
                    raise LabError(f"{next(iter(hostnames))}: the VM died while it was made")
                yield batch
            # the end of the last report: every init has been executed, or its VM is dead
            while received := _receive(ours):
                name, problem = marshal.loads(received[0])
                raise LabError(f"{name}: the VM could not be made: {problem}")

    def spawn(self, guest: Guest, argv: Sequence[str], output: int, cwd: str = "/root") -> int:
        """Starts a process in a VM, in a session of its own; it lives until it ends or the VM does.

        ``output`` (a fd) gets its standard output and error. Returns its pid as the machine sees it.
        """
        return self.start(guest, argv, output, cwd).wait()

    def start(self, guest: Guest, argv: Sequence[str], output: int, cwd: str = "/root") -> Start:
        """As :meth:`spawn`, without waiting: many can be on their way at once."""
        ours, theirs = _credential_pair()
        helper = os.fork()
        if helper == 0:
            _enter_and_spawn(guest, argv, output, theirs, cwd)
        theirs.close()
        return Start(guest.name, argv[0], helper, ours)

    def destroy(self) -> None:
        """Kills all VMs and everything in them; returns when they are gone."""
        # the nursery first: a VM that is still being made dies with it
        if self._nursery:
            os.kill(self._nursery, signal.SIGKILL)
            os.waitpid(self._nursery, 0)
            self._orders.close()
            os.close(self.lifeline)
            self._nursery = 0
        guests = list(self.guests.values())
        for guest in guests:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(guest.pidfd, signal.SIGKILL)
        _await_ends(guests)
        for guest in guests:
            os.close(guest.netns)
            os.close(guest.pidfd)
        self.guests.clear()

    def _register(self, name: str, hostname: str, pid: int) -> Guest:
        try:
            netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            pidfd = os.pidfd_open(pid)
        except OSError:
            raise LabError(f"{name}: the VM died at once") from None
        guest = Guest(name, hostname, pid, linux.start_time(pid) or 0, netns, pidfd)
        self.guests[name] = guest
        return guest


def _start_nursery(orders: socket.socket) -> int:
    program = Path(nursery.__file__).resolve()
    pid = os.fork()
    if pid == 0:
        try:
            orders.set_inheritable(True)
            words = [
                sys.executable,
                "-I",
                "-S",
                str(program),
                str(orders.fileno()),
                str(program.parent.parent),
            ]
            os.execv(sys.executable, words)
        finally:
            os._exit(127)
    return pid


def _credential_pair() -> tuple[socket.socket, socket.socket]:
    """Ours tells, of each message from theirs, who sent it: a pid as this process's namespace has it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs


def _receive(report: socket.socket, flags: int = 0) -> tuple[bytes, int] | None:
    """The next message and its sender's pid, None at the end."""
    message, control, _, _ = report.recvmsg(8192, socket.CMSG_SPACE(_CREDENTIALS.size), flags)
    return (message, _CREDENTIALS.unpack(control[0][2])[0]) if message else None


def _available(report: socket.socket) -> Iterator[tuple[bytes, int]]:
    """Waits for one message, then whatever else has come meanwhile; nothing at the end."""
    received = _receive(report)
    while received is not None:
        yield received
        try:
            received = _receive(report, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return


def _plain(specs: Iterable[GuestSpec]) -> tuple[nursery.Spec, ...]:
    return tuple(
        (spec.name, spec.hostname, tuple(astuple(file) for file in spec.files), spec.sysctls)
        for spec in specs
    )


def _joined(directories: Iterable[Path]) -> str:
    texts = [str(directory) for directory in directories]
    for text in texts:
        if set(text) & set(":,\\"):
            raise LabError(
                f"{text}: a directory of the lab's state must have no ':', ',' or '\\' in its name"
            )
    return ":".join(texts)


def _await_ends(guests: Iterable[Guest]) -> None:
    """Waits until killed VMs are gone, or as gone as they can be.

    A process that entered a VM from outside and lost its parent (an SSH client that was killed) is
    for the machine's pid 1 to reap, and a VM's pid 1 stays until then: empty, without namespaces.
    """
    deadline = time.monotonic() + _REAPING_SECONDS
    for guest in guests:
        poll = select.poll()
        poll.register(guest.pidfd, select.POLLIN)
        while not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if not linux.is_running(guest.pid, guest.start_time) and not _has_namespaces(guest.pid):
                break
            deadline = time.monotonic() + _REAPING_SECONDS


def _has_namespaces(pid: int) -> bool:
    try:
        os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115 - a link that leads to no path
    except OSError:
        return False
    return True


def _enter_and_spawn(guest: Guest, argv: Sequence[str], output: int, report: socket.socket, cwd: str) -> None:
    """The child of :meth:`NamespaceDriver.start`: enters the VM and forks there; never returns."""
    try:
        linux.setns(guest.pidfd, _ENTER)
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            os._exit(0)
        # once more, from inside: an orphan is adopted by the init of its parent's pid namespace, and
        # a zombie that nobody outside reaps would keep the VM from ending
        if os.fork():
            os._exit(0)
        os.setsid()
        for name in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(cwd)
        report.send(_RUNNING)
        os.execvpe(argv[0], list(argv), ENVIRONMENT)
    except BaseException as error:  # noqa: BLE001 - must not go on as the parent
        report.send(linux.words_of(error).encode())
    os._exit(1)
