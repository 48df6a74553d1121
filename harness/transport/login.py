"""The log-in of an SSH connection: the host proves who it is, then the user does.

Host keys are judged by :mod:`harness.transport.known_hosts`; an unknown or a changed one ends the
connection before any secret is sent. Secrets appear in no message. Not for opening sockets
(:mod:`harness.transport.dial`).
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environment import Ssh
from harness.errors import AuthenticationError, HostKeyError, TransportError
from harness.transport import known_hosts
from harness.transport.known_hosts import KnownHosts, ShownKey, Trust

if TYPE_CHECKING:
    import paramiko

_HOST_KEY_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


def host_name(ssh: Ssh) -> tuple[str, int]:
    """Name and port under which known_hosts has the key. An alias stands for itself, without a port."""
    return (ssh.host_key_alias, known_hosts.SSH_PORT) if ssh.host_key_alias else (ssh.host, ssh.port)


def read_known_hosts(machine: str, ssh: Ssh) -> KnownHosts:
    files = (ssh.known_hosts,) if ssh.known_hosts else known_hosts.DEFAULT_FILES
    try:
        return known_hosts.load(files)
    except OSError as error:
        raise HostKeyError(machine, f"{error.filename}: {error.strerror}") from error


def prefer_known_types(transport: paramiko.Transport, known: KnownHosts, ssh: Ssh) -> None:
    """Asks the host for a key of a type that known_hosts has, as OpenSSH does.

    Otherwise a host with several keys may show one that nobody recorded.
    """
    options = transport.get_security_options()
    types = known.key_types(*host_name(ssh))
    wanted = [name for kind in types for name in _HOST_KEY_ALGORITHMS.get(kind, (kind,))]
    first = [name for name in wanted if name in options.key_types]
    options.key_types = (*first, *(name for name in options.key_types if name not in first))


def check_host_key(machine: str, ssh: Ssh, known: KnownHosts, key: paramiko.PKey) -> None:
    """Raises HostKeyError unless known_hosts has this key for the host."""
    host, port = host_name(ssh)
    kind, wire = key.get_name(), key.asbytes()
    judgement = known.judge(host, port, kind, wire)
    name = known_hosts.names(host, port)[0]
    file = ssh.known_hosts or known_hosts.DEFAULT_FILES[0]
    shown = f"{kind} {known_hosts.fingerprint(wire)}"
    refused = ShownKey(name, kind, wire, file, judgement.trust)
    if judgement.trust is Trust.KNOWN:
        return
    if judgement.trust is Trust.UNKNOWN:
        raise HostKeyError(
            machine,
            f"the host key of {name} is not in {file}; the host shows {shown}",
            hint=_how_to_add(ssh, name, file, f"{kind} {base64.b64encode(wire).decode('ascii')}"),
            shown=refused,
        )
    place = judgement.entry.place if judgement.entry else str(file)
    if judgement.trust is Trust.REVOKED:
        raise HostKeyError(machine, f"THE HOST KEY OF {name} IS REVOKED ({place}): {shown}", shown=refused)
    recorded = (
        f"{judgement.entry.key_type} {known_hosts.fingerprint(judgement.entry.key)}"
        if judgement.entry
        else ""
    )
    raise HostKeyError(
        machine,
        f"THE HOST KEY OF {name} HAS CHANGED: the host shows {shown}, {place} has {recorded}",
        hint="someone may be in the middle. If the machine was really set up anew: "
        f"ssh-keygen -f {shlex.quote(str(file))} -R {shlex.quote(name)}, then record the new key",
        shown=refused,
    )


def _how_to_add(ssh: Ssh, name: str, file: Path, key: str) -> str:
    if ssh.proxy_command or ssh.jump or ssh.host_key_alias:
        return f"compare the fingerprint with the machine's own, then add this line to {file}: {name} {key}"
    port = f"-p {ssh.port} " if ssh.port != known_hosts.SSH_PORT else ""
    return (
        f"ssh-keyscan {port}{shlex.quote(ssh.host)} >> {shlex.quote(str(file))}, "
        "after comparing the fingerprint with the machine's own (ssh-keygen -lf on its console)"
    )


def log_in(machine: str, ssh: Ssh, transport: paramiko.Transport) -> None:
    """Authenticates; raises AuthenticationError naming user, host, what was tried and what is offered."""
    import paramiko

    tried: list[str] = []
    offered: list[str] = []
    for method, attempt in _attempts(machine, ssh, transport):
        tried.append(method)
        try:
            attempt()
        except paramiko.BadAuthenticationType as error:
            offered = list(error.allowed_types)
        except paramiko.AuthenticationException as error:
            if "timeout" in str(error).lower():
                raise TransportError(
                    machine, f"{ssh.host} did not answer the log-in within {ssh.connect_timeout:g} s"
                ) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise AuthenticationError(
                machine,
                f"{ssh.host} closed the connection while {ssh.user} logged in with {', '.join(tried)}",
                hint="too many failed attempts, an account without a valid shell, or a limit in sshd_config",
            ) from error
        if transport.is_authenticated():
            return
    raise AuthenticationError(
        machine,
        f"{ssh.host} refused {ssh.user}: tried {', '.join(tried)}; "
        f"the host offers {', '.join(offered or _offered(ssh, transport)) or 'nothing more'}",
        hint="check user, key_file and password of this machine; on the host, `journalctl -u ssh` says why",
    )


def _attempts(
    machine: str, ssh: Ssh, transport: paramiko.Transport
) -> Iterator[tuple[str, Callable[[], object]]]:
    if ssh.key_file is not None:
        key = load_key(machine, ssh, ssh.key_file)
        yield f"key {ssh.key_file}", lambda: transport.auth_publickey(ssh.user, key)
    if ssh.password is not None:
        secret = ssh.password.resolve()
        yield "password", lambda: transport.auth_password(ssh.user, secret)
    if ssh.key_file is None and ssh.password is None:
        yield from _agent_keys(machine, ssh, transport)


def _agent_keys(
    machine: str, ssh: Ssh, transport: paramiko.Transport
) -> Iterator[tuple[str, Callable[[], object]]]:
    import paramiko

    agent = paramiko.Agent()
    try:
        keys = agent.get_keys()
        if not keys:
            raise AuthenticationError(
                machine,
                f"no key_file and no password for {ssh.user} at {ssh.host}, and the SSH agent has no key",
                hint="start one and add a key (eval $(ssh-agent); ssh-add), or set ssh.key_file",
            )
        for key in keys:
            label = f"agent key {getattr(key, 'comment', '') or key.get_name()}"

            def attempt(key: paramiko.AgentKey = key) -> object:
                return transport.auth_publickey(ssh.user, key)

            yield label, attempt
    finally:
        agent.close()


def load_key(machine: str, ssh: Ssh, path: Path) -> paramiko.PKey:
    """The private key at ``path``; raises AuthenticationError, InputError for its passphrase."""
    import paramiko
    from cryptography.exceptions import UnsupportedAlgorithm

    passphrase = ssh.key_passphrase.resolve() if ssh.key_passphrase is not None else None
    try:
        # PKey.from_path wants bytes in places and text in others; each class is asked by itself.
        path.read_bytes()
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            try:
                key: paramiko.PKey = kind.from_private_key_file(str(path), passphrase)
            except paramiko.PasswordRequiredException:
                raise
            except (paramiko.SSHException, ValueError, IndexError, TypeError, UnsupportedAlgorithm):
                continue
            certificate = path.with_name(path.name + "-cert.pub")
            if certificate.exists():
                key.load_certificate(str(certificate))
            return key
    except paramiko.PasswordRequiredException:
        raise AuthenticationError(
            machine,
            f"the key {path} is encrypted",
            hint="set ssh.key_passphrase to {env: NAME} or {file: PATH}, or use the SSH agent",
        ) from None
    except OSError as error:
        raise AuthenticationError(machine, f"the key {path} cannot be read: {error.strerror}") from error
    wrong = (
        "or the passphrase is wrong" if passphrase is not None else "(RSA, ECDSA or Ed25519, PEM or OpenSSH)"
    )
    raise AuthenticationError(machine, f"{path} is not a private key that can be used {wrong}")


def _offered(ssh: Ssh, transport: paramiko.Transport) -> list[str]:
    """The methods that the host offers: it tells when asked to let the user in without any."""
    import paramiko

    try:
        transport.auth_none(ssh.user)
    except paramiko.BadAuthenticationType as error:
        return list(error.allowed_types)
    except (paramiko.SSHException, EOFError, OSError):
        pass
    return []
