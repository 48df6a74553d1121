"""The applier's socket: one JSON document per line, a request and its answer.

``{"op": NAME, ...}`` is answered by ``{"ok": true, "result": ...}`` or ``{"ok": false, "error": TEXT,
"hint": TEXT}``. One request at a time; no request, however wrong, ends the server. Who may connect
is decided by the directory that the socket lies in. Not for what requests do (``lab.machine``).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import AzreachError

Operation = Callable[[Mapping[str, Any]], Any]

_SOCKET = "control"
_MAX_REQUEST = 64 << 20
_ANSWER_SECONDS = 30.0


class Stop(Exception):
    """Raised by an operation: answer it, then stop serving."""


def _address(directory: int) -> str:
    # a socket's path has at most 107 bytes, a state directory may be deeper
    return f"/proc/self/fd/{directory}/{_SOCKET}"


def connect(directory: Path) -> socket.socket:
    """A connection to the applier of the lab in ``directory``; raises OSError."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(_address(fd))
        except OSError:
            connection.close()
            raise
        return connection
    finally:
        os.close(fd)


class Server:
    """Serves operations by name, and watches file descriptors, until one says to stop."""

    def __init__(self, directory: Path, operations: Mapping[str, Operation]) -> None:
        self._operations = operations
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[socket.socket, bytearray] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._listener.bind(_address(fd))
        finally:
            os.close(fd)
        self._listener.listen(128)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Calls ``on_readable`` (which may raise Stop) when ``fd`` becomes readable."""
        self._selector.register(fd, selectors.EVENT_READ, on_readable)

    def serve(self) -> None:
        """Returns when an operation or a watcher raised Stop."""
        with contextlib.suppress(Stop):
            while True:
                for key, _ in self._selector.select():
                    if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._listener:
                        self._read(key.fileobj)
                    else:
                        key.data()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(_ANSWER_SECONDS)
        self._buffers[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        buffer = self._buffers[connection]
        try:
            data = connection.recv(1 << 16)
            buffer += data
            while b"\n" in buffer:
                line, _, rest = bytes(buffer).partition(b"\n")
                buffer[:] = rest
                self._answer(connection, line)
        except OSError:
            data = b""
        if not data or len(buffer) > _MAX_REQUEST:
            self._selector.unregister(connection)
            del self._buffers[connection]
            connection.close()

    def _answer(self, connection: socket.socket, line: bytes) -> None:
        stop = False
        try:
            answer = {"ok": True, "result": self._perform(line)}
        except Stop:
            answer, stop = {"ok": True, "result": None}, True
        except AzreachError as error:
            answer = {"ok": False, "error": error.message, "hint": error.hint}
        except Exception:  # noqa: BLE001 - a bug of ours must not take the lab down; the log has it
            traceback.print_exc()
            answer = {"ok": False, "error": "the lab's applier failed at this; its log says more", "hint": ""}
        connection.sendall(json.dumps(answer).encode() + b"\n")
        if stop:
            raise Stop

    def _perform(self, line: bytes) -> Any:
        try:
            request = json.loads(line)
            operation = self._operations[request["op"]]
        except (ValueError, TypeError, KeyError):
            raise AzreachError("not a request that the applier knows") from None
        try:
            return operation(request)
        except (KeyError, TypeError) as error:
            raise AzreachError(f"request '{request['op']}' lacks or garbles {error}") from error
