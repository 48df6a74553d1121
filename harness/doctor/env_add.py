"""``azreach env add``: asks machines about themselves and adds them to an environment file.

A host key is recorded only after somebody approved of it; what is there already is neither
changed nor overwritten; a machine that fails is one message, and the others go on. Not for what
the entries say (:mod:`harness.doctor.env_entry`) nor for editing text
(:mod:`harness.doctor.yaml_insert`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.doctor import rounds
from harness.doctor.doctor import limit_of
from harness.doctor.env_entry import Interview, entry, interview
from harness.doctor.env_schema import MODELINE
from harness.doctor.host_keys import record, unknown_key
from harness.doctor.references import LogIn, jump_problem, problems_of
from harness.doctor.yaml_insert import insert_machines
from harness.environment import Azure, Environment, Machine, Ssh, load_environment
from harness.errors import AzreachError, HostKeyError, InputError, SnapshotError, TransportError
from harness.network.load import load_network
from harness.network.model import Network
from harness.transport.known_hosts import ShownKey, fingerprint
from harness.transport.session import Sessions

Approve = Callable[[str, ShownKey], bool]
"""Whether a key that a host showed is the right one: (target, key) -> yes or no."""

KEYS_ON_THE_WAY = 3
"""So many host keys may be unknown on the way to one machine: its own, and those of jump hosts."""

_HEAD = f"""\
# The machines that azreach may log in to, and the flows that are expected between them.
# For an editor that completes and checks: `azreach env schema > azreach-env.schema.json`, and this line:
#   {MODELINE}azreach-env.schema.json
# Check it with `azreach env check`, and the machines with `azreach doctor`.
version: 1
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One machine to add. ``name`` None: its hostname. Paths are absolute."""

    text: str
    log_in: LogIn
    key_file: Path | None = None
    jump: str | None = None
    known_hosts: Path | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """A machine that is in the file now."""

    text: str
    name: str
    entry: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NotAdded:
    """A machine that is not, and why (message and hint)."""

    text: str
    why: str


def add_machines(path: Path, wanted: Sequence[Wanted], approve: Approve) -> list[Added | NotAdded]:
    """Adds what can be added to the file at ``path``, which need not exist; in the order of ``wanted``.

    Raises InputError for a file that cannot be used or written, before any machine is asked where
    that can be known.
    """
    # the file that a link leads to is replaced, not the link
    path = Path(os.path.realpath(path))
    old = _read(path)
    present, azure = _present(path, old)
    network = _network(azure)
    # whoever cannot be added anyway is not even asked
    said = _ask_all(present, [item for item in wanted if item.name not in present], approve)
    results: list[Added | NotAdded] = []
    taken = set(present)
    for item in wanted:
        if item.name in taken:
            results.append(_taken(item, item.name, path))
            continue
        answer = said[item.text]
        if isinstance(answer, AzreachError):
            results.append(NotAdded(item.text, str(answer)))
            continue
        name = item.name or answer.hostname
        if name in taken:
            results.append(_taken(item, name, path))
            continue
        taken.add(name)
        results.append(Added(item.text, name, entry(answer, _ssh_of(item), path.parent, network)))
    entries = {result.name: result.entry for result in results if isinstance(result, Added)}
    if entries:
        text = old.decode("utf-8") if old is not None and old.strip() else (old or b"").decode() + _HEAD
        _write(path, old, _edited(path, text, entries))
    return results


def _taken(item: Wanted, name: str | None, path: Path) -> NotAdded:
    why = f"there is a machine '{name}' in {path} already; it stays as it is\n  give this one --name NAME"
    return NotAdded(item.text, why)


# the machines


def _ask_all(
    present: dict[str, Machine], wanted: Sequence[Wanted], approve: Approve
) -> dict[str, Interview | AzreachError]:
    """What every machine said, or why it said nothing."""
    found: dict[str, Interview | AzreachError] = {}
    machines = dict(present)
    for item in wanted:
        try:
            machines[item.text] = Machine(ssh=_ssh_of(item))
        except ValidationError as error:
            found[item.text] = InputError(f"{item.text}: {error.errors()[0]['msg']}")
    waiting = [item.text for item in wanted if item.text not in found]
    if not waiting:
        return found
    environment = Environment(machines=machines)
    for text in list(waiting):
        broken = jump_problem(environment, text) or next(iter(problems_of(text, machines[text])), None)
        # a known_hosts file that is not there yet will be
        if broken is not None and "known_hosts" not in broken.location:
            found[text] = InputError(f"{text}: {broken.summary}", hint=broken.cure.command)
            waiting.remove(text)
    decided: dict[str, bool] = {}
    with Sessions(environment) as sessions:
        for _ in range(KEYS_ON_THE_WAY + 1):
            found |= rounds.each(
                waiting,
                lambda text: _ask(sessions, text),
                limit=lambda text: limit_of(environment, text),
                late=lambda text, seconds: TransportError(text, f"nothing came of it within {seconds:g} s"),
            )
            waiting = [text for text in waiting if _approved(text, found, decided, approve)]
            if not waiting:
                break
            for text in waiting:
                sessions.forget(text)
    return found


def _ask(sessions: Sessions, text: str) -> Interview | AzreachError:
    try:
        return interview(sessions.agent(text))
    except AzreachError as error:
        return error


def _approved(
    text: str, found: dict[str, Interview | AzreachError], decided: dict[str, bool], approve: Approve
) -> bool:
    """Whether the machine's unknown key is recorded now, so that it is worth asking again."""
    answer = found[text]
    shown = unknown_key(answer) if isinstance(answer, AzreachError) else None
    if shown is None:
        return False
    if shown.line not in decided:
        decided[shown.line] = approve(text, shown)
        if decided[shown.line]:
            try:
                record(shown)
            except InputError as error:
                found[text] = error
                decided[shown.line] = False
                return False
    if not decided[shown.line]:
        found[text] = HostKeyError(
            text,
            f"the host key of {shown.name} is unknown and was not accepted: "
            f"{shown.key_type} {fingerprint(shown.key)}",
            hint="compare it with the machine's own (on its console: ssh-keygen -lf"
            " /etc/ssh/ssh_host_ed25519_key.pub), then give --accept-host-keys",
        )
    return decided[shown.line]


def _ssh_of(item: Wanted) -> Ssh:
    return Ssh(
        host=item.log_in.host,
        port=item.log_in.port,
        user=item.log_in.user,
        key_file=item.key_file,
        known_hosts=item.known_hosts,
        jump=item.jump,
    )


# the file


def _read(path: Path) -> bytes | None:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file")
        found = path.read_bytes()
        found.decode("utf-8")
        return found
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _present(path: Path, old: bytes | None) -> tuple[dict[str, Machine], Azure]:
    """The machines that the file has; a file that is wrong is refused before any machine is asked."""
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: there is no such directory to write {path.name} to")
    if old is None or not old.strip():
        return {}, Azure()
    try:
        environment = load_environment(path)
    except InputError as error:
        if _lacks_only_machines(path, old):
            return {}, Azure()
        raise InputError(f"{path} must be in order before machines are added to it\n{error}") from error
    return dict(environment.machines), environment.azure


def _lacks_only_machines(path: Path, old: bytes) -> bool:
    """Whether the file is in order once there is a machine in it."""
    example = {"example": {"ssh": {"host": "example", "user": "example"}}}
    try:
        _edited(path, old.decode("utf-8"), example)
    except InputError:
        return False
    return True


def _network(azure: Azure) -> Network | None:
    try:
        return load_network(azure.snapshot) if azure.snapshot is not None else None
    except SnapshotError:
        return None  # without it no ARM id is found; `azreach env check` says what is wrong with it


def _edited(path: Path, text: str, entries: dict[str, Any]) -> bytes:
    """The new content, which is known to be a valid environment file."""
    try:
        new = insert_machines(text, entries)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error
    with _beside(path, new.encode("utf-8")) as draft:
        try:
            load_environment(draft)
        except InputError as error:
            raise InputError(str(error).replace(str(draft), str(path))) from error
    return new.encode("utf-8")


def _write(path: Path, old: bytes | None, new: bytes) -> None:
    """Replaces the file at once, or not at all; refuses where somebody else changed it meanwhile."""
    with _beside(path, new) as draft:
        if _read(path) != old:
            raise InputError(f"{path}: somebody changed it meanwhile; nothing was written", hint="try again")
        try:
            # a file of ours is as readable as any other; one that is there keeps its mode
            draft.chmod(path.stat().st_mode & 0o7777 if old is not None else 0o666 & ~_umask())
            draft.replace(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _beside(path: Path, content: bytes) -> Iterator[Path]:
    """A file next to ``path``, so that relative paths in it mean the same; gone afterwards."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".yaml")
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be written to: {error.strerror or error}") from error
    draft = Path(name)
    try:
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
