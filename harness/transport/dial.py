"""The byte stream under an SSH connection: a TCP socket, or a proxy command's input and output.

Every failure is one TransportError that says what was tried and what came of it. Not for SSH
itself (:mod:`harness.transport.ssh`).
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import IO, Any

from harness.errors import TransportError

USER_TIMEOUT = 30.0
"""Seconds without an acknowledgement after which the kernel gives an established connection up."""


def dial(machine: str, host: str, port: int, timeout: float) -> socket.socket:
    """A connected TCP socket; tries every address of the name within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    failure: OSError | None = None
    where = f"{host} port {port}"
    for family, address in _resolve(machine, host, port, timeout):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(0.05, deadline - time.monotonic()))
            sock.connect(address)
            # paramiko writes small packets and never sets this; every request would cost 40 ms.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(USER_TIMEOUT * 1000))
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise TransportError(machine, _why(failure, where, timeout), hint=_hint(failure, where)) from failure


def _resolve(machine: str, host: str, port: int, timeout: float) -> list[tuple[int, Any]]:
    """Addresses of ``host``; the resolver has no time-out of its own, so a thread waits for it."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return _addresses(host, port)
    found: list[list[tuple[int, Any]] | OSError | UnicodeError] = []

    def ask() -> None:
        try:
            found.append(_addresses(host, port))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=ask, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(timeout)
    hint = f"check 'ssh.host' of {machine} in the environment file, and this machine's DNS"
    if not found:
        raise TransportError(machine, f"the name {host} did not resolve within {timeout:g} s", hint=hint)
    if isinstance(found[0], Exception):
        reason = getattr(found[0], "strerror", None) or found[0]
        raise TransportError(machine, f"the name {host} does not resolve: {reason}", hint=hint) from found[0]
    return found[0]


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    return [(entry[0], entry[4]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _why(error: OSError | None, where: str, timeout: float) -> str:
    if isinstance(error, TimeoutError) or (error is not None and error.errno == errno.ETIMEDOUT):
        return f"{where} did not answer within {timeout:g} s"
    number = error.errno if error is not None else None
    if number == errno.ECONNREFUSED:
        return f"{where} refused the connection"
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return f"{where} cannot be reached: {os.strerror(number)}"
    return f"cannot connect to {where}: {(error.strerror or error) if error else 'no address'}"


def _hint(error: OSError | None, where: str) -> str:
    if error is not None and error.errno == errno.ECONNREFUSED:
        return "the machine answers, but no sshd listens there: is the port right, is sshd running?"
    return (
        f"nothing between here and {where} may block it: network security groups, firewalls, VPN, jump host"
    )


def _nameless_file() -> IO[bytes]:
    """In memory where the system can, so that a full disk does not matter."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("azreach"), "w+b")
    return tempfile.TemporaryFile()


class ProxyCommand:
    """A command whose standard input and output are the connection: one end of a socket pair.

    A real socket on our side is several times faster than paramiko's own ProxyCommand, which
    passes every byte through a pipe and a polling loop. Standard error goes to a file
    without a name, so that a talkative command can neither block nor be lost.
    """

    def __init__(self, machine: str, argv: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self._errors = _nameless_file()
        self.sock, theirs = socket.socketpair()
        try:
            self._child = subprocess.Popen(
                self.argv,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            self.sock.close()
            self._errors.close()
            raise TransportError(
                machine, f"the proxy command '{self.argv[0]}' cannot run: {error.strerror or error}"
            ) from error
        finally:
            theirs.close()

    def complaint(self, wait: float = 0.5) -> str:
        """What the command said and how it ended, for an error message; waits shortly for its end."""
        try:
            status: int | None = self._child.wait(wait)
        except subprocess.TimeoutExpired:
            status = None
        if self._errors.closed:
            return ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 2000))
        text = self._errors.read().decode("utf-8", "replace").strip()
        ended = f"proxy command '{self.argv[0]}' ended with status {status}" if status else ""
        return ": ".join(part for part in (ended, text) if part)

    def close(self) -> None:
        self.sock.close()
        for last_word in (signal.SIGTERM, signal.SIGKILL, None):
            try:
                self._child.wait(1.0)
                break
            except subprocess.TimeoutExpired:
                if last_word is not None:
                    self._child.send_signal(last_word)
        self._errors.close()
