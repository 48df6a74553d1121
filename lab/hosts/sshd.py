"""A VM's sshd: keys, configuration, and the proxy command that reaches it.

No daemon waits in the VM: whoever connects runs ``sshd -i`` in it by nsenter, so that management
never crosses the data plane. Where it is to cross it, ``resident_sshd`` runs one too. Not for
connecting (``harness.transport``).
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.namespaces import Guest, GuestFile
from lab.requirements import tool

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
CONFIG = "/etc/ssh/sshd_config"
AUTHORIZED_KEYS = "/etc/ssh/authorized_keys"
PID_FILE = "/run/sshd.pid"

_CONFIG_TEXT = f"""\
HostKey {HOST_KEY}
AuthorizedKeysFile {AUTHORIZED_KEYS}
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
# costs more than all the rest of a log-in; whoever prefers it takes the next one
KexAlgorithms -sntrup761*
PrintMotd no
X11Forwarding no
AcceptEnv LANG LC_*
LogLevel ERROR
LoginGraceTime 30
MaxAuthTries 20
MaxSessions 1000
MaxStartups 1000
PidFile {PID_FILE}
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ed25519 key pair in OpenSSH's formats. The private half never shows in a repr."""

    private: bytes
    public: str

    def __repr__(self) -> str:
        return f"KeyPair({self.public})"

    @classmethod
    def generate(cls) -> KeyPair:
        """A new pair, made in this process: a fork of ssh-keygen for each VM would cost seconds."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
        )

        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return cls(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), public)


def common_files(user_key: KeyPair) -> tuple[GuestFile, ...]:
    """What is the same in every VM of a lab."""
    return (
        GuestFile(CONFIG, _CONFIG_TEXT.encode()),
        GuestFile(AUTHORIZED_KEYS, f"{user_key.public}\n".encode()),
    )


def own_files(host_key: KeyPair, token: str) -> tuple[GuestFile, ...]:
    """What one VM has alone. ``token`` is unique to the VM and to this life of it."""
    return (
        GuestFile(HOST_KEY, host_key.private, mode=0o600),
        GuestFile(f"{HOST_KEY}.pub", f"{host_key.public}\n".encode()),
        GuestFile(entry_config(token), link=CONFIG),
        GuestFile("/run/sshd", mode=0o755),
    )


def entry_config(token: str) -> str:
    """The name under which only this VM has sshd's configuration."""
    return f"{CONFIG}.{token}"


def proxy_command(guest: Guest, token: str, *, rootless: bool) -> tuple[str, ...]:
    """The words of a command whose standard input and output are a connection to the VM's sshd.

    Should the VM be gone and its pid be another process's by now, sshd does not find the
    configuration of that name and ends: nobody is ever connected to something else.
    """
    return (*enter_command(guest.pid, rootless=rootless), tool("sshd"), "-i", "-e", "-f", entry_config(token))


def enter_command(pid: int, *, rootless: bool) -> tuple[str, ...]:
    """The words that run what follows them as root of the VM whose pid 1 is ``pid``."""
    user = ("-U", "--preserve-credentials") if rootless else ()
    return (tool("nsenter"), "-t", str(pid), *user, "-m", "-n", "-p", "-u", "--wdns=/root", "--")


def known_hosts_line(host: str, key: KeyPair) -> str:
    return f"{host} {key.public}\n"
