"""A connection by a local command that runs a shell command somewhere else (or here).

For machines that are reached without a network: a container's ``exec``, a network namespace,
this machine itself. The command must pass its standard input and output through. Not for SSH.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from harness.errors import TransportError
from harness.transport.base import Tail


class LocalProcess:
    """A child process as :class:`~harness.transport.base.Process`."""

    def __init__(self, machine: str, argv: Sequence[str]) -> None:
        try:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise TransportError(machine, f"cannot run {argv[0]}: {error.strerror or error}") from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._input, self._output, self._error = self._child.stdin, self._child.stdout, self._child.stderr
        self._closed = False
        os.set_blocking(self._input.fileno(), False)
        os.set_blocking(self._error.fileno(), False)
        self._tail = Tail()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._selector.register(self._error, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        return self._child.pid

    def send(self, data: bytes, timeout: float) -> None:
        left = memoryview(data)
        with selectors.DefaultSelector() as writable:
            writable.register(self._input, selectors.EVENT_WRITE)
            while left:
                if not writable.select(timeout):
                    raise TimeoutError(f"it took no input for {timeout:g} s")
                left = left[self._input.write(left) or 0 :]

    def receive(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if key.fileobj is self._output:
                    data = os.read(self._output.fileno(), 262144)
                    if not data:
                        self._read_stderr()
                    return data
                if not self._read_stderr():
                    self._selector.unregister(self._error)
        return None

    def _read_stderr(self) -> bool:
        """Whether more may come."""
        try:
            while data := self._error.read(65536):
                self._tail.add(data)
        except (OSError, ValueError):
            return False
        return data is None

    def stderr_tail(self) -> str:
        return self._tail.text

    def watch_stderr(self, hear: Callable[[bytes], None]) -> None:
        self._tail.watch(hear)  # whoever is in receive() reads it as it comes

    def exit_status(self, timeout: float) -> int | None:
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._input.close()
        try:
            self._child.wait(2.0)
        except subprocess.TimeoutExpired:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def release(self) -> None:
        """Closes what the reader used; only when no thread is in :meth:`receive` any more."""
        self._selector.close()
        self._output.close()
        self._error.close()


class ProcessConnection:
    """Runs every command as ``prefix... sh -c COMMAND``; an empty prefix is this machine."""

    def __init__(self, machine: str, prefix: Sequence[str] = ()) -> None:
        self._machine = machine
        self._prefix = tuple(prefix)
        self._started: list[LocalProcess] = []

    def start(self, command: str) -> LocalProcess:
        process = LocalProcess(self._machine, (*self._prefix, "sh", "-c", f"exec {command}"))
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            process.close()
            process.release()
