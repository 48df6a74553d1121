"""Where labs keep their state: one directory for each, and a record of whose processes are theirs.

A record names processes by pid and start time, so that a process which got a dead one's pid is
never taken for it. Not for talking to a lab (``lab.client``).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import InputError, UnknownNameError
from lab import linux, neighbours
from lab.errors import LabError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
_REAPING_MS = 300
_TOKEN = "token"
_GONE = ".gone"


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process for ever: its pid, and when it started (clock ticks since boot)."""

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int) -> ProcessRecord:
        return cls(pid, linux.start_time(pid) or 0)

    @property
    def running(self) -> bool:
        return linux.is_running(self.pid, self.start_time)

    def kill(self) -> None:
        """SIGKILL, and returns when it is gone; never touches another process of that pid."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # after the pidfd is open: now the pid cannot pass to another process unseen
            if self.running:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                # a VM whose dead are not reaped outside stays for ever, though empty
                while not await_end(pidfd, _REAPING_MS) and self.running:
                    pass
        finally:
            os.close(pidfd)


def await_end(pidfd: int, timeout_ms: int | None) -> bool:
    """Whether the process of a pidfd ended within the time allowed."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_ms))


@dataclass(frozen=True, slots=True)
class NicRecord:
    """A machine's NIC: its interface in the guest, MAC, addresses with prefix length, ARM id.

    On the internet nothing has an ARM id: it is empty there, as the machine's own is.
    """

    interface: str
    mac: str
    addresses: tuple[str, ...]
    arm_id: str


@dataclass(frozen=True, slots=True)
class VmRecord:
    """A VM of a running lab; ``pid`` is its pid 1 as the machine sees it."""

    name: str
    hostname: str
    arm_id: str
    pid: int
    start_time: int
    nics: tuple[NicRecord, ...]
    services: tuple[str, ...] = ()

    @property
    def process(self) -> ProcessRecord:
        return ProcessRecord(self.pid, self.start_time)


@dataclass(frozen=True, slots=True)
class LabRecord:
    """What lab.json says. Without VMs the lab is still being raised (or never came up)."""

    name: str
    applier: ProcessRecord
    source: str
    rootless: bool
    complete: bool = False
    vms: tuple[VmRecord, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LabRecord:
        document: dict[str, Any] = json.loads(text)
        vms = tuple(
            VmRecord(
                **{
                    **vm,
                    "services": tuple(vm["services"]),
                    "nics": tuple(
                        NicRecord(**{**nic, "addresses": tuple(nic["addresses"])}) for nic in vm["nics"]
                    ),
                }
            )
            for vm in document.pop("vms")
        )
        return cls(**{**document, "applier": ProcessRecord(**document["applier"]), "vms": vms})


@dataclass(frozen=True, slots=True)
class LabDirectory:
    """The files of one lab."""

    path: Path
    token: str = ""
    """Says which life of a lab of this name is meant; empty: whichever is there."""
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.path.name)

    @property
    def record_path(self) -> Path:
        return self.path / "lab.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.yaml"

    @property
    def known_hosts(self) -> Path:
        return self.path / "known_hosts"

    @property
    def key(self) -> Path:
        return self.path / "id_ed25519"

    @property
    def password(self) -> Path:
        """azureuser's, in the VMs where sudo asks for one."""
        return self.path / "azureuser_password"

    @property
    def snapshot(self) -> Path:
        return self.path / "network.json"

    @property
    def is_current(self) -> bool:
        """Whether the directory is still that of the life of the lab which is meant."""
        try:
            return not self.token or (self.path / _TOKEN).read_text() == self.token
        except OSError:
            return False

    @property
    def log(self) -> Path:
        return self.path / "applier.log"

    @property
    def guest(self) -> Path:
        """What shows through in every VM."""
        return self.path / "guest"

    @property
    def stage(self) -> Path:
        """Where each VM mounts its memory; always empty to the machine."""
        return self.path / "stage"

    def record(self) -> LabRecord | None:
        """What lab.json says, None where there is none that can be read."""
        try:
            return LabRecord.from_json(self.record_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_record(self, record: LabRecord) -> None:
        write_atomically(self.record_path, record.to_json())


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces a file at once: a reader sees the old text or the new one."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def state_root() -> Path:
    """The directory of all labs of this user; AZREACH_STATE overrides it."""
    if given := os.environ.get("AZREACH_STATE"):
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/run/azreach")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "azreach"
    return Path(tempfile.gettempdir()) / f"azreach-{os.geteuid()}"


def check_name(name: str) -> str:
    """The name itself; raises InputError if it is no name of a lab."""
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"'{name}' is no name of a lab: it has 1 to 40 lower-case letters, digits and '-', no '-' first"
        )
    return name


def name_for(source: Path) -> str:
    """The name that a lab gets from its file."""
    name = re.sub(r"[^a-z0-9]+", "-", source.stem.lower()).strip("-")[:40]
    return name or "lab"


def claim(name: str, source: str) -> LabDirectory:
    """A new, empty directory for a lab of that name; what a dead lab left there is removed first.

    Raises LabError if a lab of that name runs.
    """
    check_name(name)
    with locked() as root:
        directory = LabDirectory(root / name, os.urandom(8).hex())
        record = directory.record()
        if record is not None and record.applier.running:
            raise LabError(
                f"lab '{name}' is running already",
                hint=f"azreach lab down {name}, or give another name with --name",
            )
        if directory.path.exists():
            _remove(directory)
        try:
            directory.path.mkdir(mode=0o700)
            directory.stage.mkdir(mode=0o700)
            (directory.path / _TOKEN).write_text(directory.token)
            write_first_record(directory, source, os.getpid())
        except OSError as error:
            shutil.rmtree(directory.path, ignore_errors=True)
            raise LabError(f"{directory.path}: {error.strerror or error}") from error
    return directory


def write_first_record(directory: LabDirectory, source: str, pid: int) -> None:
    """Says which process the lab depends on while it is being raised."""
    rootless = os.geteuid() != 0
    directory.write_record(LabRecord(directory.name, ProcessRecord.of(pid), source, rootless=rootless))


def find(name: str) -> LabDirectory:
    """The directory of a lab, running or not; raises UnknownNameError that lists the labs there are."""
    check_name(name)
    root = state_root()
    if root.exists():
        _refuse_foreign(root)
    directory = LabDirectory(root / name)
    if not directory.path.is_dir():
        known = ", ".join(known.name for known in directories()) or "none"
        raise UnknownNameError(f"no lab '{name}'", hint=f"labs: {known}")
    return directory


def directories() -> list[LabDirectory]:
    """Every lab's directory, running or not, by name."""
    root = state_root()
    if not root.exists():
        return []
    # what another user put there is never read: an environment file may name commands to run
    _refuse_foreign(root)
    return [
        LabDirectory(path) for path in sorted(root.iterdir()) if path.is_dir() and _NAME.fullmatch(path.name)
    ]


def environments() -> dict[str, Path]:
    """The environment files of the labs that stand, by name (entry point ``azreach.environments``)."""
    found = {}
    for directory in directories():
        record = directory.record()
        if record is not None and record.complete and record.applier.running:
            found[directory.name] = directory.environment
    return found


def remove(directory: LabDirectory) -> None:
    """Ends whatever of a lab still runs, and removes its directory, unless another has its name by now."""
    record = directory.record()
    if not directory.is_current:
        return
    if record is not None and record.applier.pid != os.getpid():
        record.applier.kill()
    with locked():
        if directory.is_current:
            _remove(directory)


@contextlib.contextmanager
def locked() -> Iterator[Path]:
    """The state root, made if need be, with no other command changing it meanwhile."""
    root = state_root()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(root)
        lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LabError(
            f"{root}: the directory for the state of labs cannot be used: {error.strerror}",
            hint="set AZREACH_STATE to a directory of your own",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for half_gone in root.glob(f".*{_GONE}"):
            shutil.rmtree(half_gone, ignore_errors=True)
        yield root
    finally:
        os.close(lock)


def _refuse_foreign(root: Path) -> None:
    # the fallback lies in /tmp, where anyone could have made it first
    owner = root.lstat()
    if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.geteuid():
        raise LabError(
            f"{root}: belongs to another user", hint="set AZREACH_STATE to a directory of your own"
        )


def _remove(directory: LabDirectory) -> None:
    record = directory.record()
    for vm in record.vms if record is not None else ():
        vm.process.kill()
    # under another name first: a removal that is cut off must not leave half a lab under its own
    gone: Path | None = directory.path.with_name(f".{directory.name}.{os.urandom(4).hex()}{_GONE}")
    try:
        directory.path.rename(str(gone))
    except FileNotFoundError:
        gone = None  # somebody else was quicker
    except OSError as error:
        hint = f"rm -r {directory.path}"
        raise LabError(f"{directory.path}: cannot be removed: {error.strerror}", hint=hint) from error
    if gone is not None:
        shutil.rmtree(gone, ignore_errors=True)
    if os.geteuid() == 0:
        neighbours.release(os.getpid())
