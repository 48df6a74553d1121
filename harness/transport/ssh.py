"""SSH connections with paramiko: one log-in per machine, kept open, processes started over it.

paramiko is imported at the first connection, since it costs a third of a second. Nothing of
it (exceptions, log lines) leaves this package. Not for what is said over a process
(:mod:`harness.transport.session`).
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.environment import Ssh
from harness.errors import TransportError
from harness.transport import login
from harness.transport.base import Tail, reason
from harness.transport.dial import ProxyCommand, dial

if TYPE_CHECKING:
    import paramiko

WINDOW = 8 << 20
"""Bytes a channel may have under way: a noisy profile must not fill it before anybody reads."""

KEEPALIVE = 60
"""Seconds between signs of life on a connection where nothing else happens: Azure's load balancers and
NAT forget a silent one after four minutes, without a word to either end."""

IDLE = 5.0
"""Seconds after which a waiting reader looks at standard error."""


class SshProcess:
    """A command over one channel (:class:`~harness.transport.base.Process`)."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._tail = Tail()
        channel.settimeout(IDLE)

    def send(self, data: bytes, timeout: float) -> None:
        left = data
        waited = 0.0
        while left:
            try:
                left = left[self._channel.send(left) :]
            except TimeoutError:
                waited += IDLE
                if waited >= timeout:
                    raise TimeoutError(f"it took no input for {waited:g} s") from None

    def receive(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                data = self._channel.recv(262144)
            except TimeoutError:
                data = None
            self._read_stderr()
            if data is not None or time.monotonic() >= deadline:
                return data

    def _read_stderr(self) -> None:
        while self._channel.recv_stderr_ready():
            data = self._channel.recv_stderr(65536)
            if not data:
                return
            self._tail.add(data)

    def stderr_tail(self) -> str:
        return self._tail.text

    def watch_stderr(self, hear: Callable[[bytes], None]) -> None:
        self._tail.watch(hear)

        def pump() -> None:
            while True:
                try:
                    data = self._channel.recv_stderr(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                self._tail.add(data)

        threading.Thread(target=pump, name="stderr", daemon=True).start()

    def exit_status(self, timeout: float) -> int | None:
        if not self._channel.status_event.wait(timeout):
            return None
        self._read_stderr()
        status = self._channel.exit_status
        return status if status >= 0 else None

    def close(self) -> None:
        self._channel.close()


class SshConnection:
    """One log-in (:class:`~harness.transport.base.Connection`); also the way to machines behind it."""

    def __init__(
        self, machine: str, ssh: Ssh, transport: paramiko.Transport, proxy: ProxyCommand | None
    ) -> None:
        self._machine = machine
        self._ssh = ssh
        self._transport = transport
        self._proxy = proxy

    @property
    def alive(self) -> bool:
        return bool(self._transport.is_active())

    def start(self, command: str) -> SshProcess:
        import paramiko

        # paramiko waits for the answer to "exec" without a limit; closing the connection ends that.
        watchdog = threading.Timer(self._ssh.connect_timeout, self._transport.close)
        watchdog.daemon = True
        watchdog.start()
        try:
            channel = self._transport.open_session(window_size=WINDOW, timeout=self._ssh.connect_timeout)
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise TransportError(
                self._machine,
                f"{self._ssh.host} starts no command for {self._ssh.user}: {reason(error)}",
                hint="see MaxSessions, ForceCommand and the user's shell on the host",
            ) from error
        finally:
            watchdog.cancel()
        return SshProcess(channel)

    def tunnel(self, machine: str, host: str, port: int, timeout: float) -> paramiko.Channel:
        """A stream from this machine to ``host`` (direct-tcpip), as a jump host gives it."""
        import paramiko

        try:
            return self._transport.open_channel(
                "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout
            )
        except paramiko.ChannelException as error:
            raise TransportError(
                machine,
                f"the jump host {self._ssh.host} cannot connect to {host} port {port}: {error.args[-1]}",
                hint="check routes and NSGs from the jump host on, and AllowTcpForwarding in its sshd_config",
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise TransportError(
                machine,
                f"the jump host {self._ssh.host} did not connect to {host} port {port} within {timeout:g} s",
            ) from error

    def close(self) -> None:
        self._transport.close()
        # The thread must be gone before the process may end or the socket's number is used again.
        if threading.current_thread() is not self._transport:
            self._transport.join(2.0)
        if self._proxy is not None:
            self._proxy.close()


def connect(machine: str, ssh: Ssh, *, via: SshConnection | None = None) -> SshConnection:
    """Logs in to ``machine``; ``via`` is the connection to its jump host, where it has one.

    Raises TransportError, HostKeyError or AuthenticationError. Each phase (stream, key
    exchange, log-in) takes at most ``ssh.connect_timeout`` seconds.
    """
    import paramiko

    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    known = login.read_known_hosts(machine, ssh)
    proxy: ProxyCommand | None = None
    stream: socket.socket | paramiko.Channel
    if via is not None:
        stream = via.tunnel(machine, ssh.host, ssh.port, ssh.connect_timeout)
    elif ssh.proxy_command is not None:
        proxy = ProxyCommand(machine, ssh.proxy_command)
        stream = proxy.sock
    else:
        stream = dial(machine, ssh.host, ssh.port, ssh.connect_timeout)
    transport: paramiko.Transport | None = None
    try:
        transport = paramiko.Transport(stream)
        transport.auth_timeout = ssh.connect_timeout
        # The wait for the key exchange is ours; paramiko's own limits must not be there first, since
        # its errors do not tell a time-out from a closed connection.
        transport.banner_timeout = transport.handshake_timeout = 2 * ssh.connect_timeout + 60
        login.prefer_known_types(transport, known, ssh)
        _exchange_keys(machine, ssh, transport, proxy)
        login.check_host_key(machine, ssh, known, transport.get_remote_server_key())
        login.log_in(machine, ssh, transport)
        transport.set_keepalive(KEEPALIVE)
    except BaseException:
        if transport is not None:
            transport.close()
            if transport.is_alive():
                transport.join(2.0)
        stream.close()
        if proxy is not None:
            proxy.close()
        raise
    return SshConnection(machine, ssh, transport, proxy)


def _exchange_keys(machine: str, ssh: Ssh, transport: paramiko.Transport, proxy: ProxyCommand | None) -> None:
    import paramiko

    done = threading.Event()
    transport.start_client(event=done)
    finished = done.wait(ssh.connect_timeout)
    failure = transport.get_exception()
    if finished and transport.is_active():
        return
    where = f"{ssh.host} port {ssh.port}"
    greeted = bool(transport.remote_version)
    if proxy is not None and (complaint := proxy.complaint()):
        raise TransportError(machine, complaint, hint="run the proxy command by hand to see what it says")
    text = str(failure or "")
    if isinstance(failure, paramiko.ssh_exception.IncompatiblePeer):
        raise TransportError(machine, f"{where} and azreach have no SSH algorithm in common: {text}")
    if "Indecipherable protocol version" in text or "Invalid SSH banner" in text:
        raise TransportError(
            machine, f"{where} does not speak SSH", hint="another service listens there: check ssh.port"
        )
    if not finished or "timed out" in text or isinstance(failure, TimeoutError):
        what = (
            "did not finish the SSH key exchange"
            if greeted
            else "accepted the connection but sent no SSH banner"
        )
        raise TransportError(
            machine,
            f"{where} {what} within {ssh.connect_timeout:g} s",
            hint="is the machine overloaded or stopped?",
        )
    what = "during the SSH key exchange" if greeted else "before the SSH banner"
    raise TransportError(
        machine,
        f"{where} closed the connection {what}",
        hint="see MaxStartups and the log of sshd on the machine",
    ) from failure
