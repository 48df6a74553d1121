"""The driver that makes VMs of Linux namespaces: net, mount, pid and uts, one init as pid 1.

A VM shares the machine's root file system but has an /etc, /run, /var, /tmp, /root and /home of
its own (in memory), its own /proc, /sys and /dev/pts, and its own host name. Everything in it
dies with its pid 1, and that dies with the process that made it, whatever kills that process.
Must be used by a process with one thread. Not for wires and addresses (``lab.fabric``), nor for
what the files say (``lab.hosts``).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import linux
from lab.errors import LabError
from lab.requirements import SEARCH_PATH, tool

_ENTER = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID | linux.CLONE_NEWUTS
_PRIVATE = ("etc", "var", "run", "tmp", "root", "home")
_OVERLAID = ("etc", "var")
_MODES = {"tmp": 0o1777, "root": 0o700}

_CREDENTIALS = struct.Struct("iII")
_RUNNING = b"\0"

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
    """A file, directory or symbolic link (one of the three) to lay into a VM, by absolute path."""

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
            while True:
                message, control, _, _ = self.report.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
                if not message:
                    break
                if message == _RUNNING:
                    pid = _CREDENTIALS.unpack(control[0][2])[0]
                else:
                    problem = message.decode(errors="replace")
        os.waitpid(self.helper, 0)
        if problem or not pid:
            raise LabError(f"{self.vm}: {self.program} could not be started: {problem or 'the VM is gone'}")
        return pid


class NamespaceDriver:
    """Makes VMs; ``stage`` is an empty directory on which each VM mounts its memory."""

    def __init__(self, label: str, stage: Path, lowers: Lowers) -> None:
        self._label = label
        self._stage = stage
        self._lowers = {"etc": _joined(lowers.etc), "var": _joined(lowers.var)}
        self._init = tool("catatonit")
        self.guests: dict[str, Guest] = {}

    def isolate(self) -> None:
        """Gives this process a mount namespace that VMs can be cloned from, unseen by the machine."""
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)

    def create(self, specs: Sequence[GuestSpec], progress: Callable[[int], None] | None = None) -> None:
        """Makes all VMs at once, their mounts side by side on all cores; all or (LabError) none."""
        reader, writer = os.pipe()
        pids: dict[str, int] = {}
        # a collection in a child would write to (and so copy) every page of this process
        gc.freeze()
        gc.disable()
        try:
            for spec in specs:
                pid = linux.clone(linux.CLONE_NEWPID)
                if pid == 0:
                    self._become(spec, writer)
                pids[spec.name] = pid
            os.close(writer)
            writer = -1
            problems = _reports(reader, len(specs), progress)
            if not problems:
                self._register(specs, pids)
        except BaseException:
            _kill(pids.values())
            raise
        finally:
            gc.enable()
            gc.unfreeze()
            os.close(reader)
            if writer >= 0:
                os.close(writer)
        if problems:
            _kill(pids.values())
            raise LabError(f"{problems[0]['vm']}: the VM could not be made: {problems[0]['error']}")

    def spawn(self, guest: Guest, argv: Sequence[str], output: int, cwd: str = "/root") -> int:
        """Starts a process in a VM, in a session of its own; it lives until it ends or the VM does.

        ``output`` (a fd) gets its standard output and error. Returns its pid as the machine sees it.
        """
        return self.start(guest, argv, output, cwd).wait()

    def start(self, guest: Guest, argv: Sequence[str], output: int, cwd: str = "/root") -> Start:
        """As :meth:`spawn`, without waiting: many can be on their way at once."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # the kernel adds the sender's pid to each message, as the receiver's pid namespace has it
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        helper = os.fork()
        if helper == 0:
            _enter_and_spawn(guest, argv, output, theirs, cwd)
        theirs.close()
        return Start(guest.name, argv[0], helper, ours)

    def destroy(self, names: Iterable[str] | None = None) -> None:
        """Kills VMs (all of them by default) and everything in them; returns when they are gone."""
        guests = [self.guests.pop(name) for name in (list(self.guests) if names is None else names)]
        _kill(guest.pid for guest in guests)
        for guest in guests:
            os.close(guest.netns)
            os.close(guest.pidfd)

    def _register(self, specs: Sequence[GuestSpec], pids: dict[str, int]) -> None:
        for spec in specs:
            pid = pids[spec.name]
            started = linux.start_time(pid)
            if started is None:
                raise LabError(f"{spec.name}: the VM died at once")
            netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self.guests[spec.name] = Guest(
                spec.name, spec.hostname, pid, started, netns, os.pidfd_open(pid)
            )

    def _become(self, spec: GuestSpec, report: int) -> None:
        """The child: turns this process into the VM's pid 1; never returns."""
        try:
            linux.die_with_parent()
            linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS | linux.CLONE_NEWUTS)
            socket.sethostname(spec.hostname)
            self._mount(spec.files)
            for name, value in spec.sysctls:
                _write(f"/proc/sys/{name}", value)
            os.chdir("/")
            os.setsid()
            os.write(report, json.dumps({"vm": spec.name}).encode() + b"\n")
            os.execve(self._init, [f"azreach:{self._label}/{spec.hostname}", "-P"], {})
        except BaseException as error:  # noqa: BLE001 - whatever it was, this process must not go on as the parent
            text = {"vm": spec.name, "error": str(error)}
            os.write(report, json.dumps(text).encode()[:2000] + b"\n")
        os._exit(1)

    def _mount(self, files: Iterable[GuestFile]) -> None:
        linux.mount("tmpfs", str(self._stage), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
        # relative paths from here on: /run and /tmp, which may hold the stage, are about to be covered
        os.chdir(self._stage)
        for name in _PRIVATE:
            os.mkdir(name)  # noqa: PTH102 - a thousand VMs: pathlib is slow
            os.chmod(name, _MODES.get(name, 0o755))  # noqa: PTH101
        for name in _OVERLAID:
            os.mkdir(f".{name}")  # noqa: PTH102
        for file in files:
            _lay(file)
        for name in _OVERLAID:
            data = f"lowerdir={self._lowers[name]},upperdir={name},workdir=.{name}"
            linux.mount("overlay", f"/{name}", "overlay", 0, data)
        for name in _PRIVATE:
            if name not in _OVERLAID:
                linux.mount(name, f"/{name}", None, linux.MS_BIND)
        silent = linux.MS_NOSUID | linux.MS_NOEXEC
        linux.mount("proc", "/proc", "proc", silent | linux.MS_NODEV)
        linux.mount("sysfs", "/sys", "sysfs", silent | linux.MS_NODEV)
        linux.mount("devpts", "/dev/pts", "devpts", silent, "newinstance,ptmxmode=0666,mode=620,gid=5")


def _joined(directories: Iterable[Path]) -> str:
    texts = [str(directory) for directory in directories]
    for text in texts:
        if set(text) & set(":,\\"):
            raise LabError(f"{text}: a directory of the lab's state must have no ':', ',' or '\\' in its name")
    return ":".join(texts)


def _lay(file: GuestFile) -> None:
    path = file.path.lstrip("/")
    parent = os.path.dirname(path)  # noqa: PTH120 - a thousand VMs: pathlib is slow
    if parent:
        os.makedirs(parent, exist_ok=True)  # noqa: PTH103
    if file.link is not None:
        os.symlink(file.link, path)  # noqa: PTH211
        return
    if file.content is None:
        os.mkdir(path, file.mode)  # noqa: PTH102
    else:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
        os.write(fd, file.content)
        os.close(fd)
    os.chmod(path, file.mode)  # noqa: PTH101
    if file.uid or file.gid:
        os.chown(path, file.uid, file.gid)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _reports(
    reader: int, expected: int, progress: Callable[[int], None] | None
) -> list[dict[str, str]]:
    """Reads until every child has executed init or died; the problems they reported."""
    buffer, ready, problems = b"", 0, []
    while chunk := os.read(reader, 65536):
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            report = json.loads(line)
            if "error" in report:
                problems.append(report)
            else:
                ready += 1
        if progress is not None:
            progress(ready)
    if not problems and ready < expected:
        problems.append({"vm": "a VM", "error": f"{expected - ready} of {expected} died while they were made"})
    return problems


def _kill(pids: Iterable[int]) -> None:
    pids = list(pids)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def _enter_and_spawn(
    guest: Guest, argv: Sequence[str], output: int, report: socket.socket, cwd: str
) -> None:
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
        report.send(str(error).encode()[:4000] or b"unknown error")
    os._exit(1)
