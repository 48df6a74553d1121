"""What the rest of azreach needs of a connection to a machine, whichever way it is made.

A connection starts a resident process; the process takes bytes and gives lines. Two small
protocols, so that SSH (:mod:`harness.transport.ssh`), a local command
(:mod:`harness.transport.process`) and others can stand behind one session
(:mod:`harness.transport.session`). Not for agents: nothing here knows what is said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Process(Protocol):
    """A process on the machine, its standard input and output."""

    def send(self, data: bytes, timeout: float) -> None:
        """Writes everything; raises OSError or TimeoutError where that is not possible in time."""

    def receive(self, timeout: float) -> bytes | None:
        """The next bytes of its output; empty at its end, None where none came in about ``timeout`` seconds.

        Only one thread calls this.
        """

    def stderr_tail(self) -> str:
        """The end of what it wrote to standard error so far (a few kilobytes)."""

    def watch_stderr(self, hear: Callable[[bytes], None]) -> None:
        """From now on ``hear`` gets all that it writes to standard error, at once, in some thread."""

    def exit_status(self, timeout: float) -> int | None:
        """Its exit status once it has ended, or None (not ended, killed, or not told) in time."""

    def close(self) -> None:
        """Closes its input, which ends a resident agent. May be called from any thread, repeatedly."""


class Connection(Protocol):
    """A log-in to one machine, kept open."""

    def start(self, command: str) -> Process:
        """Starts ``command`` in the machine's login shell; raises TransportError."""

    def close(self) -> None:
        """Ends the connection and everything started over it. May be called repeatedly."""


def reason(error: BaseException) -> str:
    """What an exception says, or its kind where it says nothing (paramiko's often do not)."""
    return str(error) or type(error).__name__


class Tail:
    """Keeps the last bytes of a stream, for error messages; passes all of them on to who watches."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._data = b""
        self._hear: Callable[[bytes], None] | None = None

    def add(self, data: bytes) -> None:
        with self._lock:
            self._data = (self._data + data)[-self._limit :]
            hear = self._hear
        if hear is not None:
            hear(data)

    def watch(self, hear: Callable[[bytes], None]) -> None:
        """``hear`` gets what is kept so far and all that follows."""
        with self._lock:
            self._hear = hear
            so_far = self._data
        if so_far:
            hear(so_far)

    @property
    def text(self) -> str:
        return self._data.decode("utf-8", "replace").strip()
