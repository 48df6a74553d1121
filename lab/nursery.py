"""The process that VMs are born in: small, so that a fork of it is cheap, and their parent.

Run as a program by ``lab.namespaces`` (``python -I -S nursery.py FD DIRECTORY``): the applier,
with all that it has loaded, would take twice the time for each VM. It reads orders from its socket,
clones a child for each VM, and lets the children report for themselves. It dies with the applier,
and its VMs with it. Not for anything that happens in a VM later.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, NoReturn

if not TYPE_CHECKING and __name__ == "__main__":
    # -I -S keeps start-up short and the environment out, and with them the way to this project
    sys.path.insert(0, sys.argv[2])

from lab import linux

LENGTH = struct.Struct("Q")

File = tuple[str, bytes | None, str | None, int, int, int]
"""Path, content, link target (a directory has neither), mode, uid, gid."""
Spec = tuple[str, str, tuple[File, ...], tuple[tuple[str, str], ...]]
"""Name, host name, files, sysctls."""
Order = tuple[str, str, str, str, str, tuple[str, ...], tuple[Spec, ...]]
"""Label, init program, stage, lower directories of /etc and of /var, what to copy, VMs."""

_PRIVATE = ("etc", "var", "run", "tmp", "root", "home")
_COVERED = ("/proc/", "/sys/", "/dev/pts")
_MODES = {"tmp": 0o1777, "root": 0o700}


def main() -> None:
    """Serves orders until the applier closes the socket or dies."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    linux.die_with_parent()
    linux.set_process_name("azreach-nursery")
    # a mount namespace that VMs are cloned from, unseen by the machine
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    _drop_covered()
    # dead VMs vanish by themselves; the applier watches them by pidfd
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.disable()
    while True:
        header, fds, _, _ = socket.recv_fds(orders, LENGTH.size, 1)
        if not header:
            return
        order: Order = marshal.loads(_exactly(orders, LENGTH.unpack(header)[0]))
        with socket.socket(fileno=fds[0]) as report:
            _carry_out(order, report)


def _drop_covered() -> None:
    """Takes away the mounts that every VM would copy only to cover them."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split(" ", 5)[4] for line in file]
    for point in reversed(points):
        if point.startswith(_COVERED):
            # without root they are locked; then they stay, covered
            with contextlib.suppress(OSError):
                linux.unmount(point)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            sys.exit(1)
        data += chunk
    return bytes(data)


def _carry_out(order: Order, report: socket.socket) -> None:
    label, init, stage, lower_etc, lower_var, copies, specs = order
    try:
        _cover_by_copies(stage, copies)
    except OSError as error:
        report.send(marshal.dumps((specs[0][0], f"copying {', '.join(copies)}: {linux.words_of(error)}")))
        return
    for spec in specs:
        try:
            child = linux.clone(linux.CLONE_NEWPID)
        except OSError as error:
            report.send(marshal.dumps((spec[0], linux.words_of(error))))
            return
        if child == 0:
            _become(spec, label, init, stage, {"etc": lower_etc, "var": lower_var}, report)


def _cover_by_copies(stage: str, paths: tuple[str, ...]) -> None:
    """Gives all VMs copies of files and directories of the machine that are this process's own.

    On a file system of this namespace's own, where the setuid bit counts.
    """
    if not paths:
        return
    import shutil

    linux.mount("tmpfs", stage, "tmpfs", linux.MS_NODEV, "mode=755")
    for number, path in enumerate(paths):
        copy = f"{stage}/{number}"
        if os.path.isdir(path):  # noqa: PTH112
            shutil.copytree(path, copy, symlinks=True)
        else:
            shutil.copy(path, copy)
        linux.mount(copy, path, None, linux.MS_BIND)
    linux.unmount(stage)


def _become(
    spec: Spec, label: str, init: str, stage: str, lowers: dict[str, str], report: socket.socket
) -> NoReturn:
    """The child: turns this process into the VM's pid 1."""
    name, hostname, files, sysctls = spec
    try:
        linux.die_with_parent()
        linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS | linux.CLONE_NEWUTS)
        socket.sethostname(hostname)
        _mount(stage, lowers, files)
        for key, value in sysctls:
            _write(f"/proc/sys/{key}", value)
        os.chdir("/")
        os.setsid()
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # the receiver learns the pid from the credentials that the kernel adds
        report.send(marshal.dumps((name, "")))
        os.execve(init, [f"azreach:{label}/{hostname}", "-P"], {})
    except BaseException as error:  # noqa: BLE001 - whatever it was, this process must not go on as the parent
        report.send(marshal.dumps((name, linux.words_of(error))))
    os._exit(1)


# pathlib would be the larger part of what a thousand VMs cost here
def _mount(stage: str, lowers: dict[str, str], files: tuple[File, ...]) -> None:
    linux.mount("tmpfs", stage, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
    # relative paths from here on: /run and /tmp, which may hold the stage, are about to be covered
    os.chdir(stage)
    for name in _PRIVATE:
        os.mkdir(name)  # noqa: PTH102
        os.chmod(name, _MODES.get(name, 0o755))  # noqa: PTH101
    for file in files:
        _lay(file)
    for name, lower in lowers.items():
        os.mkdir(f".{name}")  # noqa: PTH102
        data = f"lowerdir={lower},upperdir={name},workdir=.{name}"
        linux.mount("overlay", f"/{name}", "overlay", 0, data)
    for name in _PRIVATE:
        if name not in lowers:
            linux.mount(name, f"/{name}", None, linux.MS_BIND)
    silent = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("proc", "/proc", "proc", silent | linux.MS_NODEV)
    linux.mount("sysfs", "/sys", "sysfs", silent | linux.MS_NODEV)
    linux.mount("devpts", "/dev/pts", "devpts", silent, "newinstance,ptmxmode=0666,mode=620,gid=5")


def _lay(file: File) -> None:
    path, content, link, mode, uid, gid = file
    path = path.lstrip("/")
    os.makedirs(path.rpartition("/")[0], exist_ok=True)  # noqa: PTH103
    if link is not None:
        os.symlink(link, path)  # noqa: PTH211
        return
    if content is None:
        os.mkdir(path)  # noqa: PTH102
    else:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, content)
        os.close(fd)
    os.chmod(path, mode)  # noqa: PTH101
    if uid or gid:
        os.chown(path, uid, gid)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


if __name__ == "__main__":
    main()
