"""Names for people: unambiguous short ones for ARM ids, and many names in few words (``web-01..web-40``)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.network.model import key, short_name
from harness.text import plain

_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)
_DIGITS = re.compile(r"([0-9]+)")
_GROUP = re.compile(r"/resourcegroups/([^/]+)/", re.IGNORECASE)

SHOWN_PARTS = 3
"""Names, runs or places that a summary spells out; the others are a number."""

NaturalKey = tuple[tuple[str | tuple[int, str], ...], str]


def unambiguous(arm_ids: Iterable[str]) -> Mapping[str, str]:
    """For each id's key its name; ``group/name`` where several have the name, the id as a last resort."""
    names: dict[str, str] = {}
    pending = {key(arm_id): arm_id for arm_id in arm_ids}
    for spelling in (short_name, _grouped):
        candidates = {identity: plain(spelling(arm_id)) for identity, arm_id in pending.items()}
        uses = Counter(name.lower() for name in candidates.values())
        unique = {identity: name for identity, name in candidates.items() if uses[name.lower()] == 1}
        names |= unique
        pending = {identity: arm_id for identity, arm_id in pending.items() if identity not in unique}
    return names | {identity: plain(arm_id) for identity, arm_id in pending.items()}


def _grouped(arm_id: str) -> str:
    group = _GROUP.search(arm_id)
    return f"{group[1]}/{short_name(arm_id)}" if group else arm_id


def natural_key(name: str) -> NaturalKey:
    """Sorts vm-9 before vm-10, without regard to case."""
    parts = _DIGITS.split(name.lower())
    return tuple(_magnitude(part) if place % 2 else part for place, part in enumerate(parts)), name


def _magnitude(digits: str) -> tuple[int, str]:
    # compared as text: a name may hold more digits than int() takes
    significant = digits.lstrip("0")
    return len(significant), significant


def listed(parts: Sequence[tuple[str, int]]) -> str:
    """The first few of (text, how many it stands for), how many the others stand for, and all together."""
    shown = ", ".join(text for text, _ in parts[:SHOWN_PARTS])
    hidden = sum(count for _, count in parts[SHOWN_PARTS:])
    more = f" +{hidden:,} more" if hidden else ""
    total = sum(count for _, count in parts)
    return f"{shown}{more} ({total:,})" if total > 1 else shown


class NameSummary:
    """Tells of many names in few words. A run ``a..b`` is every name *of this network* between the two."""

    def __init__(self, names: Iterable[str]) -> None:
        series: dict[tuple[str, str | None], list[str]] = {}
        for name in sorted(set(names), key=natural_key):
            series.setdefault(_series(name), []).append(name)
        self._places = {
            name: (number, rank)
            for number, members in enumerate(series.values())
            for rank, name in enumerate(members)
        }

    def parts(self, names: Collection[str]) -> list[tuple[str, int]]:
        """The names and runs of names, each with the number of names that it is; the longest run first."""
        found: list[tuple[str, str, int]] = []
        before: tuple[int, int] | None = None
        for name in sorted(set(names), key=lambda name: self._places[name]):
            series, rank = self._places[name]
            if before == (series, rank - 1):
                first, _, count = found[-1]
                found[-1] = (first, name, count + 1)
            else:
                found.append((name, name, 1))
            before = (series, rank)
        found.sort(key=lambda run: -run[2])
        return [(first if count == 1 else f"{first}..{last}", count) for first, last, count in found]


def _series(name: str) -> tuple[str, str | None]:
    """What is before and after the last number of a name; a name without a number is alone."""
    matched = _NUMBERED.fullmatch(name)
    return (matched[1], matched[3]) if matched else (name, None)
