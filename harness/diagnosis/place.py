"""Where on a packet's way a fault stands: what puts several findings in order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from harness.model import Finding


class Place(IntEnum):
    """The way of a packet, there and back."""

    NAME = 0
    SOURCE_GUEST = 1
    SOURCE_NETWORK = 2
    """NSGs, routes, peerings, appliances from NIC to NIC: the engine orders these itself."""
    TARGET_GUEST = 3
    LISTENER = 4
    ANSWER_TARGET_GUEST = 5
    ANSWER_NETWORK = 6
    ANSWER_SOURCE_GUEST = 7


@dataclass(frozen=True, slots=True)
class Located:
    """A finding and its place."""

    place: Place
    finding: Finding
