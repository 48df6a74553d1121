"""A guest's clock against this machine's, from one request's round trip. Pure.

Captures and probes carry each machine's own time; two ends whose clocks differ by minutes tell a
story in the wrong order, and certificates and tickets are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

WARN_FROM = 60.0
"""Seconds of difference that are worth a warning."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """``offset``: seconds by which the guest is ahead; ``error``: it may be wrong by so many seconds."""

    offset: float
    error: float

    @property
    def off(self) -> bool:
        """Whether the clock is certainly off by at least :data:`WARN_FROM`."""
        return abs(self.offset) - self.error >= WARN_FROM

    def __str__(self) -> str:
        if abs(self.offset) < 0.0005:
            return "0 ms"
        if abs(self.offset) < 1.0:
            return f"{self.offset * 1000:+.0f} ms"
        return f"{self.offset:+.1f} s" if abs(self.offset) < 120 else f"{self.offset:+.0f} s"


def reading(sent: float, guest: float, received: float) -> ClockReading:
    """The guest said ``guest`` between ``sent`` and ``received`` of our clock: NTP's estimate."""
    return ClockReading(guest - (sent + received) / 2, max(0.0, received - sent) / 2)


def best(readings: Iterable[ClockReading]) -> ClockReading:
    """The reading with the shortest round trip is the most exact one."""
    return min(readings, key=lambda item: item.error)


def common_offset(readings: Iterable[ClockReading]) -> float | None:
    """The offset that several guests share, where it is large: then our own clock is off."""
    found = list(readings)
    if len(found) < 2 or not all(item.off for item in found):
        return None
    middle = median(item.offset for item in found)
    return middle if all(abs(item.offset - middle) <= item.error + 5.0 for item in found) else None
