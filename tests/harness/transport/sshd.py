"""A real sshd of the tests' own: its keys, its configuration, its directory; nothing outside it.

Runs per connection (``sshd -i`` as a proxy command) or as a daemon on a free loopback port.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environment import Environment, Ssh

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
PRIVILEGE_SEPARATION = Path("/run/sshd")


def why_not() -> str | None:
    """Why no sshd can be started here, or None."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        return "no sshd on this machine (apt-get install openssh-server)"
    if os.geteuid() == 0 and not PRIVILEGE_SEPARATION.is_dir() and not os.access("/run", os.W_OK):
        return f"{PRIVILEGE_SEPARATION} is missing and cannot be made"
    return None


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


@dataclass(frozen=True, slots=True)
class Sshd:
    """Host and user keys in ``directory``; ``options`` are further lines of sshd_config."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> Sshd:
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        make_key(directory / "host_key")
        make_key(directory / "user_key")
        shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
        # A home without the profiles of whoever runs the tests.
        (directory / "home").mkdir()
        return cls(directory)

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def host_key(self) -> str:
        """Type and key, as known_hosts has them."""
        return " ".join((self.directory / "host_key.pub").read_text().split()[:2])

    def known_hosts(self, *names: str, key: str | None = None) -> Path:
        path = self.directory / f"known_hosts-{abs(hash((names, key)))}"
        path.write_text("".join(f"{name} {key or self.host_key}\n" for name in names))
        return path

    def config(self, name: str = "sshd_config", **options: str) -> Path:
        lines = {
            "HostKey": str(self.directory / "host_key"),
            "AuthorizedKeysFile": str(self.directory / "authorized_keys"),
            "StrictModes": "no",
            "UsePAM": "no",
            "PidFile": "none",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "SetEnv": f"HOME={self.directory / 'home'}",
            "LogLevel": "ERROR",
            **options,
        }
        path = self.directory / name
        path.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        return path

    def proxy_command(self, config: Path | None = None) -> tuple[str, ...]:
        assert SSHD is not None
        return (SSHD, "-i", "-f", str(config or self.config()))

    def ssh(self, **changes: Any) -> Ssh:
        """A log-in by proxy command; keyword arguments replace its fields."""
        fields: dict[str, Any] = {
            "host": "box",
            "user": self.user,
            "key_file": self.directory / "user_key",
            "known_hosts": self.known_hosts("box"),
            "proxy_command": self.proxy_command(),
            **changes,
        }
        return Ssh.model_validate({name: value for name, value in fields.items() if value is not None})

    def environment(self, **machines: Ssh) -> Environment:
        return Environment.model_validate(
            {"machines": {name: {"ssh": ssh} for name, ssh in machines.items()}}
        )

    @contextmanager
    def daemon(
        self, config: Path | None = None, port: int | None = None
    ) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
        """A listening sshd on loopback: its port (default: a free one) and its process."""
        assert SSHD is not None
        if port is None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
        command = [SSHD, "-D", "-e", "-f", str(config or self.config()), "-p", str(port)]
        command += ["-o", "ListenAddress=127.0.0.1"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                wait_for_port(port, process)
                yield port, process
            finally:
                process.terminate()


def wait_for_port(port: int, process: subprocess.Popen[bytes], limit: float = 20.0) -> None:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"sshd ended with status {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError("sshd did not start")
