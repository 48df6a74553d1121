"""Reads flows as people write them: ``db-01:1433/tcp``, ``[fd00::4]:53/udp``, ``db-01/icmp``."""

from __future__ import annotations

import re

from harness.errors import InputError
from harness.model import PROBED, Flow, Protocol

_TARGET = re.compile(
    r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<name>[^/\[\]]*?))(?::(?P<port>[0-9]+))?(?:/(?P<protocol>[A-Za-z]+))?",
    re.DOTALL,
)
_SHAPE = (
    "write NAME:PORT/tcp, NAME:PORT/udp or NAME/icmp; an IPv6 address stands in brackets: [fd00::4]:443/tcp"
)


def parse_flow(source: str, target: str, *, family: int | None = None) -> Flow:
    """The flow from ``source`` to ``target``; the protocol is tcp where none is given. Raises InputError."""
    if not source:
        raise InputError("the source's name is empty", hint=_SHAPE)
    found = _TARGET.fullmatch(target)
    name = (found["bracketed"] or found["name"]) if found else None
    if found is None or not name:
        raise InputError(f"'{target}' is no target", hint=_SHAPE)
    word = (found["protocol"] or "tcp").lower()
    if word not in {protocol.value for protocol in PROBED}:
        raise InputError(f"'{word}' is no protocol that azreach probes", hint=_SHAPE)
    protocol = Protocol(word)
    port = int(found["port"][:6]) if found["port"] else None
    if protocol is Protocol.ICMP:
        if port is not None:
            raise InputError(f"'{target}': icmp has no port", hint=_SHAPE)
    elif port is None:
        raise InputError(f"'{target}': {protocol} needs a port", hint=_SHAPE)
    elif not 1 <= port <= 65535:
        raise InputError(f"'{target}': a port is between 1 and 65535", hint=_SHAPE)
    return Flow(source, name, protocol, port, family)
