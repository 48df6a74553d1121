"""Who may log in to a VM and become root there: accounts, passwords, sudo's rules, PAM.

A VM knows the machine's system accounts (programs drop privileges to them) and one human,
``azureuser``; no human, group membership or sudo rule of the machine shows through. Not for SSH
(``sshd``).
"""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from lab.errors import LabError
from lab.namespaces import GuestFile
from lab.requirements import SEARCH_PATH

LOGIN_USER = "azureuser"
LOGIN_UID = 1000
SUDOERS_FILE = f"/etc/sudoers.d/90-{LOGIN_USER}"

_FIRST_HUMAN_UID = 1000
_NOBODY = 65534

_SUDOERS = f"""\
Defaults env_reset
Defaults secure_path="{SEARCH_PATH}"
root ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
# the machine's own may ask a directory service or a second factor, which no VM has
_PAM = """\
auth required pam_unix.so
account required pam_unix.so
session required pam_permit.so
"""


class Sudo(StrEnum):
    """What ``azureuser`` may do with sudo."""

    NOPASSWD = "nopasswd"
    """As on a VM of an Azure image."""
    PASSWORD = "password"
    NONE = "none"


_RULES = {
    Sudo.NOPASSWD: f"{LOGIN_USER} ALL=(ALL) NOPASSWD:ALL\n",
    Sudo.PASSWORD: f"{LOGIN_USER} ALL=(ALL) ALL\n",
    Sudo.NONE: f"# {LOGIN_USER} may do nothing\n",
}


def common_files() -> tuple[GuestFile, ...]:
    """The accounts that every VM of a lab has, and sudo's rules where a VM has none of its own."""
    account = f"{LOGIN_USER}:x:{LOGIN_UID}:{LOGIN_UID}::/home/{LOGIN_USER}:/bin/bash"
    return (
        GuestFile("/etc/passwd", _text(*_users(), account)),
        GuestFile("/etc/group", _text(*_groups(), f"{LOGIN_USER}:x:{LOGIN_UID}:")),
        GuestFile("/etc/shadow", _shadow("*"), mode=0o600),
        GuestFile("/etc/gshadow", b"", mode=0o600),
        GuestFile("/etc/sudoers", _SUDOERS.encode(), mode=0o440),
        *(GuestFile(f"/etc/sudoers.d/{name}", b"", mode=0o440) for name in _machines_rules()),
        GuestFile(SUDOERS_FILE, _RULES[Sudo.NOPASSWD].encode(), mode=0o440),
        GuestFile("/etc/pam.d/sudo", _PAM.encode()),
        GuestFile("/etc/pam.d/sudo-i", _PAM.encode()),
    )


def own_files(sudo: Sudo, password_hash: str) -> tuple[GuestFile, ...]:
    """What a VM has in place of the common files. ``password_hash``: of Sudo.PASSWORD's password."""
    if sudo is Sudo.NOPASSWD:
        return ()
    rule = GuestFile(SUDOERS_FILE, _RULES[sudo].encode(), mode=0o440)
    if sudo is Sudo.NONE:
        return (rule,)
    return (rule, GuestFile("/etc/shadow", _shadow(password_hash), mode=0o600))


def new_password() -> str:
    """A password that nobody guesses."""
    return secrets.token_urlsafe(18)


def hashed(password: str) -> str:
    """As /etc/shadow has it (SHA-512), made in this process by crypt(3), which PAM asks too."""
    salt = secrets.token_hex(8)
    for library in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            crypt = ctypes.CDLL(library).crypt
        except (OSError, AttributeError):
            continue
        crypt.restype = ctypes.c_char_p
        result: bytes | None = crypt(password.encode(), f"$6${salt}".encode())
        if result is not None and result.startswith(b"$6$"):
            return result.decode("ascii")
    raise LabError("no library here makes the hash of a password", hint="sudo apt-get install libcrypt1")


def _text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def _entries(file: str) -> Iterator[list[str]]:
    for line in Path(file).read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            number = int(fields[2])
            if number < _FIRST_HUMAN_UID or number == _NOBODY:
                yield [fields[0], "x", *fields[2:]]


def _users() -> Iterator[str]:
    for fields in _entries("/etc/passwd"):
        # root's shell and home are a VM's own
        yield "root:x:0:0:root:/root:/bin/bash" if fields[2] == "0" else ":".join(fields)


def _groups() -> Iterator[str]:
    system = {fields[0] for fields in _entries("/etc/passwd")}
    for name, password, number, *members in _entries("/etc/group"):
        kept = [member for member in "".join(members[:1]).split(",") if member in system]
        yield ":".join((name, password, number, ",".join(kept)))


def _shadow(password_hash: str) -> bytes:
    # "*" has no password but, unlike "!", is not locked: sshd without PAM refuses locked accounts
    names = [fields[0] for fields in _entries("/etc/passwd")]
    hashes = [(name, "*") for name in names] + [(LOGIN_USER, password_hash)]
    return _text(*(f"{name}:{value}:19000:0:99999:7:::" for name, value in hashes))


def _machines_rules() -> list[str]:
    try:
        return sorted(os.listdir("/etc/sudoers.d"))  # noqa: PTH208 - names are wanted
    except OSError:
        return []
