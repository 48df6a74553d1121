"""The way to a machine: the log-ins that follow each other, jump hosts first. Pure.

Not for connecting (:mod:`harness.transport.session`).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.environment import Environment, Ssh
from harness.errors import InputError


@dataclass(frozen=True, slots=True)
class Hop:
    """A log-in: a machine of the file by its name, or an ad-hoc jump host as ``user@host[:port]``.

    Equal hops are one log-in: the same place, user and secrets by reference.
    """

    name: str
    ssh: Ssh


def way(environment: Environment, name: str) -> tuple[Hop, ...]:
    """The jump hosts on the way to the machine ``name``, in the order of the way, and the machine.

    Raises UnknownNameError, and InputError for a jump that leads nowhere or into a circle.
    """
    hops = [Hop(name, environment.machine(name).ssh)]
    while (jump := hops[-1].ssh.jump) is not None:
        names = [hop.name for hop in hops]
        if jump in names:
            # Environment refuses circles; this is for those that were made without its checks.
            raise InputError(f"{name}: the jump hosts form a circle: {' -> '.join((*names, jump))}")
        hops.append(Hop(jump, _log_in(environment, hops[-1], jump)))
    return tuple(reversed(hops))


def _log_in(environment: Environment, behind: Hop, jump: str) -> Ssh:
    """The log-in of a jump host: another machine's, or user@host[:port] with the keys of who is behind."""
    if jump in environment.machines:
        return environment.machines[jump].ssh
    user, at, rest = jump.rpartition("@")
    host, colon, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = rest, "22"
    if not at or not user or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(
            f"machines.{behind.name}.ssh.jump: '{jump}' is neither a machine of this file "
            "nor user@host[:port]"
        )
    changes = {
        "host": host.strip("[]"),
        "port": int(port),
        "user": user,
        "jump": None,
        "host_key_alias": None,
    }
    return behind.ssh.model_copy(update=changes)
