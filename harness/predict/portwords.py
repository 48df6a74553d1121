"""Sets of protocols and ports in words: what was asked, how large a set is, how it is told briefly."""

from __future__ import annotations

from collections.abc import Iterable

from harness.matrix.question import Ask
from harness.model import Protocol
from harness.network.addresses import Ranges, merged
from harness.policy.portset import EVERYTHING, PortSet


def asked_ports(asks: Iterable[Ask], icmp: bool) -> PortSet | None:
    """What ``--ports`` and ``--icmp`` ask for; None if that is everything."""
    ranges: dict[Protocol, list[tuple[int, int]]] = {}
    for ask in asks:
        assert ask.port is not None  # ports are parsed from text that names them
        ranges.setdefault(ask.protocol, []).append((ask.port, ask.port))
    if not ranges and not icmp:
        return None

    def ports(protocol: Protocol) -> Ranges:
        return merged(ranges.get(protocol, ()))

    return PortSet(ports(Protocol.TCP), ports(Protocol.UDP), icmp=icmp)


def size(ports: PortSet) -> int:
    """How many ports of TCP and UDP; each protocol without ports counts as one."""
    ranged = sum(last - first + 1 for first, last in (*ports.tcp, *ports.udp))
    return ranged + ports.icmp + ports.esp + ports.ah


def words(ports: PortSet) -> str:
    """``tcp/443``, or ``all but tcp/25`` where that is shorter."""
    if ports == EVERYTHING:
        return "everything"
    text = str(ports)
    complement = f"all but {EVERYTHING - ports}"
    return complement if len(complement) < len(text) else text


def brief(ports: PortSet, limit: int) -> str:
    """As :func:`words`; what is longer than ``limit`` characters is cut, and its size told."""
    text = words(ports)
    if len(text) <= limit:
        return text
    # never in the middle of a number
    cut = max(text.rfind(",", 0, limit), text.rfind(" ", 0, limit))
    return f"{text[:cut]} ... ({size(ports):,} ports)"
