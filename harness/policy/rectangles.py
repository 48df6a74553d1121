"""Pairs of ends as rectangles, sources times targets: how to count them, and how to need few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from harness.network.addresses import Ranges, merged
from harness.policy.classes import Endpoint
from harness.policy.places import Place, place_of
from harness.policy.reachability import machine_of

End = Endpoint | Place
"""One end of a flow: an endpoint, or public addresses that nothing tells apart."""

Ends = tuple[End, ...]
Rectangle = tuple[Ends, Ends]
"""Every source to every target."""


def count_pairs(sources: Ends, targets: Ends) -> int:
    """Ordered pairs; a machine with itself is none."""
    whole = len(sources) * len(targets)
    mine, theirs = (
        Counter(machine_of(end) for end in ends if isinstance(end, Endpoint)) for ends in (sources, targets)
    )
    return whole - sum(count * theirs[machine] for machine, count in mine.items())


def fewer(rectangles: Sequence[Rectangle]) -> tuple[Rectangle, ...]:
    """The same pairs in fewer rectangles: equal targets together, then equal sources."""
    by_targets: dict[Hashable, tuple[list[End], Ends]] = {}
    for sources, targets in rectangles:
        by_targets.setdefault(_identity(targets), ([], targets))[0].extend(sources)
    by_sources: dict[Hashable, tuple[list[End], list[End]]] = {}
    for mine, targets in by_targets.values():
        by_sources.setdefault(_identity(mine), (mine, []))[1].extend(targets)
    return tuple((tuple(sources), tuple(theirs)) for sources, theirs in by_sources.values())


def _identity(ends: Sequence[End]) -> frozenset[Hashable]:
    # an endpoint is one object in the whole comparison, and a large one to compare
    return frozenset(end if isinstance(end, Place) else id(end) for end in ends)


def with_one_place(ends: Ends, internet: Mapping[tuple[int, bool], Ranges], *, inward: bool) -> Ends:
    """The ends with all public addresses of a family as one."""
    places = [end for end in ends if isinstance(end, Place)]
    found: list[End] = [end for end in ends if not isinstance(end, Place)]
    for family in (4, 6):
        mine = [place for place in places if place.address.version == family]
        if mine:
            ranges = merged(span for place in mine for span in place.ranges)
            own, everywhere = all(place.own for place in mine), ranges == internet[family, inward]
            found.append(place_of(family, ranges, own=own, everywhere=everywhere))
    return tuple(found)
