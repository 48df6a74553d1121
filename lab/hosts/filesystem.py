"""What a VM's private directories hold: the part that all VMs of a lab have in common, laid once
into the lab's directory and shown through by every VM, and the part that is a VM's own.

With root, the machine's own /etc and /var show through below. Without, most of their files belong
to users that do not exist in the user namespace and so could not be changed; a copy takes their place.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from lab.hosts import accounts, service, sshd
from lab.hosts.accounts import LOGIN_UID, LOGIN_USER
from lab.namespaces import GuestFile, GuestSpec, Lowers

SERVICE_PROGRAM = "/etc/azreach/service.py"
_VAR_SKELETON = (
    "backups",
    "cache",
    "lib",
    "lib/nftables",
    "lib/sudo",
    "local",
    "log",
    "mail",
    "opt",
    "spool",
    "tmp",
)


def common_files(user_key: sshd.KeyPair) -> tuple[GuestFile, ...]:
    """The files that are the same in every VM of a lab, all of them under /etc."""
    return (
        *accounts.common_files(),
        # no name server: an answer "refused" at once, where a wrong one would cost every lookup seconds
        GuestFile("/etc/resolv.conf", b"# this lab has no name server\n"),
        GuestFile(SERVICE_PROGRAM, Path(service.__file__).read_bytes(), mode=0o755),
        *sshd.common_files(user_key),
    )


def own_files(
    hostname: str, addresses: Iterable[str], host_key: sshd.KeyPair, token: str
) -> tuple[GuestFile, ...]:
    """The files that are one VM's own."""
    names = "".join(f"{address} {hostname}\n" for address in addresses) or f"127.0.1.1 {hostname}\n"
    home = f"/home/{LOGIN_USER}"
    return (
        GuestFile("/etc/hostname", f"{hostname}\n".encode()),
        GuestFile("/etc/hosts", f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{names}".encode()),
        GuestFile("/run/lock", mode=0o1777),
        GuestFile(home, mode=0o750, uid=LOGIN_UID, gid=LOGIN_UID),
        *sshd.own_files(host_key, token),
    )


def lay_common(directory: Path, user_key: sshd.KeyPair, *, rootless: bool) -> Lowers:
    """Writes the common files below ``directory``; what shows through a VM's /etc and /var."""
    etc, var = directory / "etc", directory / "var"
    if rootless:
        _copy_readable(Path("/etc"), etc)
        for name in _VAR_SKELETON:
            (var / name).mkdir(parents=True, exist_ok=True)
        (var / "tmp").chmod(0o1777)
        (var / "run").symlink_to("/run")
        (var / "lock").symlink_to("/run/lock")
    for file in common_files(user_key):
        path = directory / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(file.content or b"")
        path.chmod(file.mode)
    return Lowers((etc,), (var,)) if rootless else Lowers((etc, Path("/etc")), (Path("/var"),))


def guest_sysctls(*, forwarding: bool) -> tuple[tuple[str, str], ...]:
    """A guest's settings; a new network namespace may have those of the machine, so each is set."""
    value = "1" if forwarding else "0"
    return (
        ("net/ipv4/ip_forward", value),
        ("net/ipv6/conf/all/forwarding", value),
        ("net/ipv4/conf/all/rp_filter", "2"),
        ("net/ipv4/conf/default/rp_filter", "2"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
    )


def hostnames(names: Iterable[str]) -> dict[str, str]:
    """VM name -> a host name that is safe in a shell, a path and known_hosts, unique in the lab."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:60] or "vm"
        candidate, number = base, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{base[:55]}-{number}"
        taken.add(candidate.lower())
        result[name] = candidate
    return result


def guest_spec(
    name: str,
    hostname: str,
    addresses: Iterable[str],
    host_key: sshd.KeyPair,
    token: str,
    *,
    forwarding: bool,
    more: tuple[GuestFile, ...] = (),
) -> GuestSpec:
    """A VM to make; ``more`` are files of its own beside those that each VM has."""
    files = (*own_files(hostname, addresses, host_key, token), *more)
    return GuestSpec(name, hostname, files, guest_sysctls(forwarding=forwarding))


def _copy_readable(source: Path, target: Path) -> None:
    """Copies a tree, leaving out what this user may not read and what is neither file nor directory."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        entries = list(os.scandir(source))
    except PermissionError:
        return
    for entry in entries:
        path = target / entry.name
        try:
            if entry.is_symlink():
                path.symlink_to(os.readlink(entry.path))  # noqa: PTH115 - a DirEntry has no readlink
            elif entry.is_dir():
                _copy_readable(Path(entry.path), path)
            elif entry.is_file():
                shutil.copyfile(entry.path, path)
                path.chmod(entry.stat().st_mode & 0o755 | 0o600)
        except PermissionError:
            continue
