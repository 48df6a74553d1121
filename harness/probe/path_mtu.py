"""The path MTU towards an address, and whether somebody says so or big packets just vanish.

Azure's network carries 1,500 bytes between VMs; tunnels, appliances and VPN gateways carry less.
Where the "fragmentation needed" error is filtered, connections open and then hang: a black hole.
Not for repairing it (clamp the MSS, or lower the guests' MTU).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.agent.client import Agent
from harness.agent.contract import RequestError
from harness.agent.contract_path import MtuReport, PathMtuResult
from harness.model import Protocol
from harness.probe.listener import Lease

TIMEOUT = 1.0
LEASE = 120.0


class Verdict(StrEnum):
    """What the path does to big packets."""

    FULL = "full"
    """The source's interface is the narrowest place."""
    NARROWED = "narrowed"
    """The path is narrower, and the source is told so: connections adapt."""
    BLACK_HOLE = "black-hole"
    """The path is narrower and nobody says so: connections with big packets hang."""
    UNKNOWN = "unknown"
    """Not even small packets were answered."""


@dataclass(frozen=True, slots=True)
class PathMtu:
    """Sizes are those of IP packets, header included. ``mtu`` None: nothing is known."""

    source: str
    address: str
    verdict: Verdict
    mtu: int | None
    method: str
    interface: str
    interface_mtu: int
    kernel_mtu: int | None
    said: tuple[MtuReport, ...]
    probes: int

    @property
    def text(self) -> str:
        """The verdict as one line for people."""
        where = f"{self.interface} of {self.source} has {self.interface_mtu}"
        if self.mtu is None:
            return f"unknown: {self.address} answers neither echo requests nor datagrams; {where}"
        size = f"{self.mtu} bytes by {'ICMP echo' if self.method == 'icmp' else 'UDP'}; {where}"
        tellers = [one for one in self.said if not one.local and one.sender]
        if self.verdict is Verdict.BLACK_HOLE:
            return f"{size}; bigger packets vanish and nobody says so: a black hole"
        if tellers:
            return f"{size}; {', '.join(f'{one.sender} says {one.mtu}' for one in tellers)}"
        return size


def path_mtu(
    source: Agent,
    address: str,
    *,
    port: int | None = None,
    target: Agent | None = None,
    source_address: str | None = None,
    timeout: float = TIMEOUT,
    methods: Sequence[str] | None = None,
    allow_disruptive: bool = False,
) -> PathMtu:
    """Measures from ``source``; ``timeout`` is what one packet may take, in seconds.

    Where nothing answers, and with a ``target`` agent and disruption allowed, a listener of ours
    on a free UDP port is asked instead.
    """
    found = source.path_mtu(address, port=port, timeout=timeout, source=source_address, methods=methods)
    if (
        not found.answered
        and target is not None
        and allow_disruptive
        and (methods is None or "udp" in methods)
    ):
        with contextlib.suppress(RequestError):
            lease = Lease(target, Protocol.UDP, allow_disruptive=True, address=address, lease=LEASE)
            with lease:
                found = source.path_mtu(
                    address, port=lease.port, timeout=timeout, source=source_address, methods=["udp"]
                )
    return PathMtu(
        source=source.machine,
        address=address,
        verdict=_verdict(found),
        mtu=found.mtu,
        method=found.method,
        interface=found.interface,
        interface_mtu=found.interface_mtu,
        kernel_mtu=found.kernel_mtu,
        said=found.said,
        probes=found.probes,
    )


def _verdict(found: PathMtuResult) -> Verdict:
    if found.mtu is None:
        return Verdict.UNKNOWN
    if found.black_hole:
        return Verdict.BLACK_HOLE
    return Verdict.FULL if found.mtu >= found.interface_mtu else Verdict.NARROWED
