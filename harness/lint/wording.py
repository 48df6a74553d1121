"""How findings name several things: enough to act on, never a page."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN = 4


def listed(names: Iterable[str], shown: int = SHOWN, quote: str = "'") -> str:
    """``'a', 'b' and 3 more``."""
    found = list(names)
    quoted = [f"{quote}{name}{quote}" for name in found[:shown]]
    if len(found) > shown:
        return f"{', '.join(quoted)} and {len(found) - shown} more"
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def count(number: int, noun: str) -> str:
    """``1 subnet``, ``3 subnets``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
