"""The contract of ``path_mtu`` and ``raw``: what is between two machines (:mod:`harness.agent.contract`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Base64Bytes, Field


@dataclass(frozen=True, slots=True)
class MtuReport:
    """Who said that a packet was too big, and for which size there would be room.

    ``local``: this guest itself, from what it learned before or knows of its interface.
    """

    mtu: int
    sender: Annotated[str | None, Field(validation_alias="from")] = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class PathMtuResult:
    """``path_mtu``: the largest IP packet (header included) that arrived unfragmented.

    ``mtu`` None: not even small packets were answered, so nothing is known. ``black_hole``: bigger
    ones vanish and nobody says so. ``kernel_mtu`` is what the guest's kernel believes of the path.
    By ``method`` ``icmp`` the way back counts too, since an echo's reply is as big.
    """

    method: str
    answered: bool
    interface: str
    interface_mtu: int
    probes: int
    mtu: int | None = None
    kernel_mtu: int | None = None
    said: tuple[MtuReport, ...] = ()
    black_hole: bool = False


@dataclass(frozen=True, slots=True)
class RawSent:
    """One crafted packet: when it was sent, or the errno of why it was not.

    ``ms`` here and in the answers: since the request began, by a clock that nobody can set.
    """

    time: float
    ms: float
    errno: str | None = None


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One packet as it came in (from the IP header on)."""

    time: float
    ms: float
    interface: str
    packet: Base64Bytes


@dataclass(frozen=True, slots=True)
class RawResult:
    """``raw``: what became of the packets in their order, and what came in that the filter wants."""

    sent: tuple[RawSent, ...]
    answers: tuple[RawAnswer, ...]
    dropped: int = 0
