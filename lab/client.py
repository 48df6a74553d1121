"""A running lab as other processes see it: run commands in its VMs, change its resources and services.

Not for what goes through the network: that is done as in any environment, with the lab's
environment file (``harness``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from harness.errors import UnknownNameError
from lab import server, state
from lab.errors import LabError
from lab.hosts import sshd
from lab.hosts.services import Service
from lab.namespaces import ENVIRONMENT
from lab.state import LabDirectory, LabRecord, VmRecord

__all__ = ["Lab", "Service", "raise_lab", "take_down"]

_DOWN_MS = 30_000

_SHOWN = 120
"""Characters of a command that a message repeats."""


class Lab:
    """A lab that stands. Cheap to open; every request is a connection of its own."""

    def __init__(self, directory: LabDirectory, record: LabRecord) -> None:
        self._directory = directory
        self._record = record
        self._vms = {vm.name: vm for vm in record.vms}

    @classmethod
    def open(cls, name: str) -> Self:
        """The running lab of that name; raises UnknownNameError or LabError."""
        directory = state.find(name)
        record = directory.record()
        if record is None or not record.applier.running:
            raise LabError(f"lab '{name}' is dead: its applier is gone", hint=f"azreach lab down {name}")
        if not record.complete:
            raise LabError(f"lab '{name}' is still being raised")
        return cls(directory, record)

    @property
    def name(self) -> str:
        return self._directory.name

    @property
    def directory(self) -> Path:
        """Where the lab keeps its files; it goes with the lab."""
        return self._directory.path

    @property
    def environment_path(self) -> Path:
        return self._directory.environment

    @property
    def source(self) -> str:
        """What the lab was raised from, as it was named."""
        return self._record.source

    @property
    def vms(self) -> Mapping[str, VmRecord]:
        """VM name -> what is known of it (pid, NICs, declared services)."""
        return self._vms

    def vm(self, name: str) -> VmRecord:
        """One VM; raises UnknownNameError that lists the VMs there are."""
        try:
            return self._vms[name]
        except KeyError:
            known = ", ".join(list(self._vms)[:20])
            raise UnknownNameError(f"no VM '{name}' in lab '{self.name}'", hint=f"it has: {known}") from None

    # -- inside VMs

    def command(self, vm: str, argv: Sequence[str]) -> list[str]:
        """The command that runs ``argv`` as root of a VM when executed on this machine."""
        record = self.vm(vm)
        if not record.process.running:
            raise LabError(f"VM '{vm}' of lab '{self.name}' is dead", hint=f"azreach lab down {self.name}")
        return [*sshd.enter_command(record.pid, rootless=self._record.rootless), *argv]

    def run(
        self,
        vm: str,
        argv: Sequence[str],
        input: str | None = None,  # noqa: A002 - subprocess.run's word
        timeout: float | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as root of a VM.

        Raises LabError after ``timeout`` seconds, or if ``check`` and it fails.
        """
        shown = f"{vm}: `{shlex.join(argv)}`"
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}..."
        process = subprocess.Popen(
            self.command(vm, argv),
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=command_environment(),
            start_new_session=True,
        )
        try:
            output, problems = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{shown} took longer than {timeout:g} s") from None
        finally:
            if process.poll() is None:
                # the command too, not nsenter alone: they are one process group
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if check and process.returncode:
            # the last line says what happened, also under a program's traceback
            reason = (problems.strip() or output.strip() or "no output").splitlines()[-1]
            raise LabError(f"{shown} ended with status {process.returncode}: {reason}")
        return subprocess.CompletedProcess(list(argv), process.returncode, output, problems)

    def spawn(self, vm: str, argv: Sequence[str]) -> int:
        """Starts a process in a VM that lives until it ends or the lab does.

        Returns its pid as the machine sees it.
        """
        self.vm(vm)
        pid: int = self._request("spawn", vm=vm, argv=list(argv))
        return pid

    # -- services

    def services(self, vm: str) -> tuple[Service, ...]:
        """The services that run in a VM now."""
        self.vm(vm)
        return tuple(_service(item) for item in self._request("services", vm=vm))

    def start_service(self, vm: str, service: Service) -> None:
        """Returns when the service listens."""
        self.vm(vm)
        self._request("start_service", vm=vm, service=str(service))

    def stop_service(self, vm: str, service: Service) -> None:
        """Returns when nothing listens there any more."""
        self.vm(vm)
        self._request("stop_service", vm=vm, service=str(service))

    # -- resources

    def resources(self) -> list[dict[str, Any]]:
        """All ARM resources as they are now, children inside their parents."""
        resources: list[dict[str, Any]] = self._request("resources")
        return resources

    def get_resource(self, arm_id: str) -> dict[str, Any] | None:
        """One ARM resource, a child too; None if there is none."""
        resource: dict[str, Any] | None = self._request("get", id=arm_id)
        return resource

    def put_resource(self, arm_id: str, body: Mapping[str, Any]) -> None:
        """Creates or replaces; effective for new flows when it returns. Raises LabError if refused."""
        self._request("put", id=arm_id, body=dict(body))

    def delete_resource(self, arm_id: str) -> None:
        """Deletes; effective for new flows when it returns. Raises LabError where it is refused."""
        self._request("delete", id=arm_id)

    def counters(self) -> dict[str, int]:
        """Packets by security rule (its ARM id) and by reason of the fabric's own drops."""
        counters: dict[str, int] = self._request("counters")
        return counters

    def _request(self, operation: str, **parameters: Any) -> Any:
        request = json.dumps({"op": operation, **parameters}).encode() + b"\n"
        try:
            with server.connect(self.directory) as connection, connection.makefile("rb") as reader:
                connection.sendall(request)
                answer = json.loads(reader.readline() or b"null")
        except OSError as error:
            raise LabError(
                f"lab '{self.name}' does not answer: {error.strerror or error}",
                hint=f"azreach lab down {self.name}",
            ) from error
        if answer is None:
            raise LabError(f"lab '{self.name}' ended at this request", hint=f"azreach lab down {self.name}")
        if not answer["ok"]:
            raise LabError(answer["error"], hint=answer["hint"])
        return answer["result"]


def _service(item: Mapping[str, Any]) -> Service:
    service = Service.parse(item["service"])
    return Service(service.protocol, service.port, service.address, item["pid"])


def command_environment() -> dict[str, str]:
    """The environment of a command in a VM: the VM's own, with this terminal's type."""
    return {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}


def raise_lab(source: Path | str, name: str | None = None, owner_pid: int | None = None) -> Lab:
    """Raises a lab from any process, however many threads it has; raises LabError with the command's message.

    When the process ``owner_pid`` ends, the lab takes itself down.
    """
    words = [sys.executable, "-m", "lab", "up", str(source)]
    words += ["--name", name] if name is not None else []
    words += ["--owner", str(owner_pid)] if owner_pid is not None else []
    project = str(Path(__file__).resolve().parent.parent)
    paths = [project, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    result = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    if result.returncode:
        # what precedes it are notes
        message, _, hint = result.stderr.strip().rpartition("Error: ")[2].partition("\n")
        raise LabError(message or f"lab: status {result.returncode}", hint=hint.strip())
    return Lab.open(Path(result.stdout.strip()).parent.name)


def take_down(name: str) -> None:
    """Removes a lab, whatever state it is in; returns when nothing of it is left. Raises UnknownNameError."""
    directory = state.find(name)
    record = directory.record()
    if record is not None and record.applier.running:
        _ask_to_end(directory, record)
    state.remove(directory)


def _ask_to_end(directory: LabDirectory, record: LabRecord) -> None:
    """Gives the applier the time to end by itself; who does not take it is killed by ``state.remove``."""
    try:
        pidfd = os.pidfd_open(record.applier.pid)
    except ProcessLookupError:
        return
    try:
        if not record.complete:
            return
        with server.connect(directory.path) as connection:
            connection.sendall(b'{"op": "down"}\n')
            state.await_end(pidfd, _DOWN_MS)
    except OSError:
        return
    finally:
        os.close(pidfd)
