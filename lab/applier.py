"""The resident process of a lab: comes to be by fork, makes the lab, serves requests, ends it.

It talks with the command that raises the lab over a channel (one JSON document per line) until
the lab stands, then with anybody over the socket of ``lab.server``. Whatever ends it ends its VMs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from harness.errors import AzreachError
from lab import linux, state
from lab.errors import LabError
from lab.requirements import SEARCH_PATH
from lab.state import LabDirectory

if TYPE_CHECKING:
    from lab.machine import LabMachine
    from lab.server import Operation


class Channel:
    """Messages to and from the process at the other end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader: BinaryIO = connection.makefile("rb")

    def send(self, message: Mapping[str, Any]) -> None:
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """The next message; raises EOFError if the other end is gone."""
        line = self._reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the other end is gone")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        self._reader.close()
        self._connection.close()


def run(connection: socket.socket, directory: LabDirectory, source: str, owner: int | None) -> NoReturn:
    """The whole life of an applier, in a freshly forked process; never returns.

    ``owner`` is a pidfd: when that process ends, so does the lab.
    """
    status = 1
    try:
        channel = Channel(connection)
        _detach(directory)
        status = _live(channel, directory, source, owner)
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run in this process; the log has it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _detach(directory: LabDirectory) -> None:
    os.setsid()
    # the root of the state as the command saw it: without root, user ids are others from here on
    os.environ["AZREACH_STATE"] = str(directory.path.parent)
    # an ordinary user's PATH has no nft
    os.environ["PATH"] = SEARCH_PATH
    os.chdir("/")
    os.umask(0o022)
    log = os.open(directory.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for fd, number in ((null, 0), (log, 1), (log, 2)):
        os.dup2(fd, number)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    linux.set_process_name("azreach-lab")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _terminate(signum: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    # once is enough: the cleaning-up that follows must not be cut short
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(f"signal {signum}")


def _live(channel: Channel, directory: LabDirectory, source: str, owner: int | None) -> int:
    rootless = os.geteuid() != 0
    machine: LabMachine | None = None
    try:
        if rootless:
            from lab import userns

            userns.enter(lambda: _wait_for_map(channel))
        # imported here, while the command that forked this process goes on and reads the lab file
        from lab.content import LabContent
        from lab.machine import LabMachine
        from lab.server import Server

        machine = LabMachine(directory, source, rootless=rootless)
        content = LabContent.from_json(channel.receive()["content"])
        machine.raise_all(
            content,
            lambda what, done, total: channel.send({"progress": what, "done": done, "total": total}),
            lambda text: channel.send({"note": text}),
        )
        server = Server(directory.path, _operations(machine))
        server.watch(machine.lifeline, _stop)
        if owner is not None:
            server.watch(owner, _stop)
        channel.send({"ready": str(directory.environment)})
        channel.close()
        server.serve()
        return 0
    except AzreachError as error:
        _tell(channel, error)
        return 1
    except EOFError:
        # the command that raises the lab is gone
        return 1
    except OSError as error:
        traceback.print_exc()
        _tell(channel, LabError(f"the lab could not be raised: {error}"))
        return 1
    except Exception as error:  # noqa: BLE001 - a bug of ours; whoever waits is to hear of it
        traceback.print_exc()
        _tell(channel, LabError(f"the lab's applier failed: {type(error).__name__}: {error}"))
        return 1
    except SystemExit:
        # this process was told to end
        return 1
    finally:
        if machine is not None:
            machine.close()
        state.remove(directory)


def _tell(channel: Channel, error: AzreachError) -> None:
    try:
        channel.send({"error": error.message, "hint": error.hint})
    except (OSError, ValueError):
        print(error, file=sys.stderr)


def _wait_for_map(channel: Channel) -> None:
    channel.send({"map_ids_of": os.getpid()})
    channel.receive()


def _stop(request: Mapping[str, Any] | None = None) -> NoReturn:  # noqa: ARG001 - one operation among others
    from lab.server import Stop

    raise Stop


def _operations(machine: LabMachine) -> dict[str, Operation]:
    from lab.hosts.services import Service

    def service(request: Mapping[str, Any]) -> Service:
        return Service.parse(request["service"])

    return {
        "resources": lambda request: machine.resources(),  # noqa: ARG005
        "get": lambda request: machine.get_resource(request["id"]),
        "put": lambda request: machine.put_resource(request["id"], request["body"]),
        "delete": lambda request: machine.delete_resource(request["id"]),
        "counters": lambda request: machine.counters(),  # noqa: ARG005
        "start_service": lambda request: machine.start_service(request["vm"], service(request)),
        "stop_service": lambda request: machine.stop_service(request["vm"], service(request)),
        "services": lambda request: [
            {"service": str(item), "pid": item.pid} for item in machine.services(request["vm"])
        ],
        "spawn": lambda request: machine.spawn(request["vm"], request["argv"]),
        "down": _stop,
    }
