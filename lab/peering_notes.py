"""How new flows are kept from a peering without virtual network access unless a rule names the other end.

The verdict needs what was decided at the sending port, on the way and at the receiving port, so it is noted
in the packet's priority: a packet arrives with 0 and loses it when it leaves. Words of nft, pure; used by
``ruleset`` and ``program`` where a network has such a peering, and not at all elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag

from harness.network.model import Direction
from lab.plan_model import PlannedRule, RouteTarget


class PeeringNote(IntFlag):
    """What is noted of a packet."""

    NEW = 1
    """Its sender's port did not know the flow."""
    IMPLICIT_OUT = 2
    EXPLICIT = 4
    IMPLICIT_IN = 8
    """A rule that let it out or in names (EXPLICIT) or does not name the other end."""
    CROSSED = 16
    CLOSED_THERE = 32
    """It crossed such a peering; the receiving side has closed it."""


def _add(added: PeeringNote) -> str:
    return f"meta priority set meta priority | {added:#x}"


def _noted(of: PeeringNote, wanted: PeeringNote) -> str:
    return f"meta priority & {of:#x} == {wanted:#x}"


_IMPLICITLY_OUT = PeeringNote.NEW | PeeringNote.IMPLICIT_OUT
_IMPLICITLY_IN = PeeringNote.CLOSED_THERE | PeeringNote.IMPLICIT_IN

NEW_FLOW = f"meta priority set {PeeringNote.NEW:#x}"
"""The statement before the sending port's NSGs are asked."""

REFUSED_IN = (
    _noted(_IMPLICITLY_IN, _IMPLICITLY_IN),
    _noted(PeeringNote.CROSSED | PeeringNote.EXPLICIT, PeeringNote.CROSSED),
)
"""The conditions, after the receiving port's NSGs have let a packet in, under which it is refused."""


def rule_note(rule: PlannedRule, direction: Direction) -> str:
    """The statement of a rule that allows."""
    if rule.explicit:
        return _add(PeeringNote.EXPLICIT)
    return _add(PeeringNote.IMPLICIT_IN if direction is Direction.INBOUND else PeeringNote.IMPLICIT_OUT)


def crossing(target: RouteTarget, refuse: str) -> Iterator[str]:
    """The rules on the way over a closed peering, none over others; ``refuse`` drops. Known flows pass."""
    if target.closed_here:
        yield f"{_noted(_IMPLICITLY_OUT, _IMPLICITLY_OUT)} {refuse}"
    if target.closed:
        seen = PeeringNote.CROSSED | (PeeringNote.CLOSED_THERE if target.closed_there else 0)
        yield f"{_noted(PeeringNote.NEW, PeeringNote.NEW)} {_add(seen)}"
