"""What an environment file refers to: secrets, key files, known_hosts, commands, jump hosts. Do they exist?

Looks at this machine only, never at another one, and never repeats a secret. Every problem
names its place in the file by keys, so that whoever has the file can add the line.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from harness.doctor.model import ENVIRONMENT_FILE, HERE, Cure
from harness.environment import Environment, Machine, SecretRef, Ssh
from harness.errors import AzreachError, InputError

Location = tuple[str | int, ...]

_LOGIN = re.compile(
    r"(?P<user>[^@\s]+(?:@[^@\s]+)*)@(?:\[(?P<v6>[^\]\s]+)\]|(?P<host>[^@:\[\]\s]+)|(?P<bare>[0-9a-fA-F:.]+(?:%[\w.-]+)?))(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class LogIn:
    """``user@host[:port]``, taken apart."""

    user: str
    host: str
    port: int = 22


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference that leads nowhere, or to something that cannot be used."""

    location: Location
    summary: str
    cure: Cure


def parse_log_in(text: str) -> LogIn:
    """``user@host``, ``user@host:port`` or ``user@[v6]:port``; raises InputError."""
    found = _LOGIN.fullmatch(text)
    port = int(found["port"] or 22) if found else 0
    if found is None or not 0 < port < 65536 or not (found["v6"] or found["host"] or ":" in found["bare"]):
        raise InputError(
            f"'{text}' is no log-in",
            hint="write user@host or user@host:port; an IPv6 address with a port stands in brackets",
        )
    return LogIn(found["user"], found["v6"] or found["host"] or found["bare"], port)


def problems_of(name: str, machine: Machine) -> tuple[Reference, ...]:
    """What is wrong with one machine's references, apart from its jump host."""
    here: Location = ("machines", name)
    return (
        *(found for place, secret in secrets_of(machine, here) for found in _secret(secret, place)),
        *_ssh(name, machine.ssh, (*here, "ssh")),
    )


def endless(name: str, machine: Machine) -> Reference | None:
    """A file of the log-in that is a pipe or the like: reading it might never end."""
    files: list[tuple[Location, Path | None]] = [(("ssh", "key_file"), machine.ssh.key_file)]
    files += [((*place, "file"), secret.file) for place, secret in secrets_of(machine, ())]
    for place, path in files:
        if path is not None and path.exists() and not path.is_file():
            what = f"{path} is no regular file"
            return Reference(("machines", name, *place), what, Cure(HERE, f"ls -ld {shlex.quote(str(path))}"))
    return None


def jump_problem(environment: Environment, name: str) -> Reference | None:
    """What is wrong with the jump hosts of a machine; circles are refused with the file."""
    path = [name]
    while (jump := environment.machines[path[-1]].ssh.jump) is not None:
        location: Location = ("machines", path[-1], "ssh", "jump")
        if jump not in environment.machines:
            try:
                parse_log_in(jump)
            except InputError:
                return Reference(
                    location,
                    f"'{jump}' is neither a machine of this file nor user@host[:port]",
                    Cure(ENVIRONMENT_FILE, f"machines.{path[-1]}.ssh.jump: <machine, or user@host:port>"),
                )
            return None
        path.append(jump)
    return None


def secrets_of(model: BaseModel, location: Location) -> Iterator[tuple[Location, SecretRef]]:
    """Every secret that a part of the file refers to, with its place, however deep it stands."""
    for key in type(model).model_fields:
        value = getattr(model, key)
        if isinstance(value, SecretRef):
            yield (*location, key), value
        elif isinstance(value, BaseModel):
            yield from secrets_of(value, (*location, key))


def file_problem(path: Path, *, private: bool = False) -> tuple[str, str] | None:
    """Why ``path`` is not a file to read (or not kept from others' eyes), and the command that cures it."""
    quoted = shlex.quote(str(path))
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"{path} does not exist", f"ls -l {shlex.quote(str(path.parent))}"
    except OSError as error:
        return f"{path}: {error.strerror or error}", f"ls -ld {shlex.quote(str(path.parent))}"
    # first: opening a pipe that nobody writes to would never return
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is no regular file", f"ls -ld {quoted}"
    if not os.access(path, os.R_OK):
        return f"{path} cannot be read by this user", f"sudo chown $USER {quoted} && chmod 600 {quoted}"
    if private and status.st_mode & 0o077:
        return (
            f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"chmod 600 {quoted}",
        )
    return None


def _secret(secret: SecretRef, location: Location) -> Iterator[Reference]:
    if secret.file is not None:
        found = file_problem(secret.file, private=True)
        if found is not None:
            yield Reference((*location, "file"), found[0], Cure(HERE, found[1]))
            return
        cure = Cure(HERE, f"cat > {shlex.quote(str(secret.file))}")
    else:
        cure = Cure(HERE, f"read -rs {secret.env} && export {secret.env}")
    place = (*location, "env" if secret.env is not None else "file")
    try:
        empty = not secret.resolve()
    except InputError as error:
        yield Reference(place, error.message, cure)
        return
    if empty:
        what = f"the environment variable {secret.env}" if secret.env is not None else str(secret.file)
        yield Reference(place, f"{what} is empty", cure)


def _ssh(name: str, ssh: Ssh, location: Location) -> Iterator[Reference]:
    if ssh.key_file is not None:
        place = (*location, "key_file")
        found = file_problem(ssh.key_file, private=True)
        if found is not None:
            yield Reference(place, found[0], Cure(HERE, found[1]))
        elif (unusable := _unusable_key(name, ssh, ssh.key_file)) is not None:
            yield Reference(place, unusable, Cure(HERE, f"ssh-keygen -y -f {shlex.quote(str(ssh.key_file))}"))
    if ssh.known_hosts is not None and (found := file_problem(ssh.known_hosts)) is not None:
        cure = Cure(
            HERE, f"ssh-keyscan -p {ssh.port} {shlex.quote(ssh.host)} >> {shlex.quote(str(ssh.known_hosts))}"
        )
        yield Reference((*location, "known_hosts"), found[0], cure)
    if ssh.proxy_command is not None:
        yield from _proxy(ssh.proxy_command, (*location, "proxy_command"))


def _proxy(words: tuple[str, ...], location: Location) -> Iterator[Reference]:
    command = words[0] if words else ""
    if shutil.which(command) is None:
        what = f"the command '{command}' is not there" if command else "the command is empty"
        yield Reference(location, what, Cure(HERE, f"command -v {shlex.quote(command)}"))


def _unusable_key(name: str, ssh: Ssh, path: Path) -> str | None:
    """Why the log-in could not use this key. A passphrase that cannot be had is a problem of its own."""
    from harness.transport.login import load_key

    if ssh.key_passphrase is not None and any(_secret(ssh.key_passphrase, ())):
        return None
    try:
        load_key(name, ssh, path)
    except AzreachError as error:
        return error.message.removeprefix(f"{name}: ")
    return None
