"""Exact set algebra over boxes: products of one set of numbers per axis.

What a rule matches is a box (:mod:`harness.lint.matches`); whether earlier rules leave it
anything is a difference of boxes. Some conditions cannot be told by numbers (membership of an
application security group): a box holds them as opaque symbols that a packet has or has not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from harness.network.addresses import Ranges, common, complement

Symbol = tuple[str, str]
"""Side (``source``, ``destination``) and the name of what that end must be a member of."""

Owner = TypeVar("Owner")

NO_SYMBOLS: frozenset[Symbol] = frozenset()


@dataclass(frozen=True, slots=True)
class Box:
    """``axes`` are never empty; ``inside`` are symbols that every packet has, ``outside`` those it lacks."""

    axes: tuple[Ranges, ...]
    inside: frozenset[Symbol] = NO_SYMBOLS
    outside: frozenset[Symbol] = NO_SYMBOLS


def _meet(one: Ranges, other: Ranges) -> bool:
    """Whether two sets have a number in common."""
    if len(one) > len(other):
        one, other = other, one
    for first, last in one:
        place = bisect_right(other, (last, last)) - 1
        # the range before may reach into this one, the range at this place begin in it
        if place >= 0 and other[place][1] >= first:
            return True
        if place + 1 < len(other) and other[place + 1][0] <= last:
            return True
    return False


def _split(one: Ranges, other: Ranges) -> tuple[Ranges, Ranges]:
    """What of ``one`` is not in ``other``, and what is."""
    if len(other) == 1 and other[0][0] <= one[0][0] and one[-1][1] <= other[0][1]:
        return (), one
    # the widest family's complement serves every axis: `common` cuts it down again
    return common(one, complement(other, 6)), common(one, other)


def overlap(one: Box, other: Box) -> bool:
    for mine, theirs in zip(one.axes, other.axes, strict=True):
        if mine[-1][1] < theirs[0][0] or theirs[-1][1] < mine[0][0]:
            return False
        if (len(mine) > 1 or len(theirs) > 1) and not _meet(mine, theirs):
            return False
    if not (one.inside or other.inside):
        return True
    return one.inside.isdisjoint(other.outside) and one.outside.isdisjoint(other.inside)


def intersection(one: Box, other: Box) -> Box:
    """What both hold; they overlap."""
    axes = tuple(common(mine, theirs) for mine, theirs in zip(one.axes, other.axes, strict=True))
    return Box(axes, one.inside | other.inside, one.outside | other.outside)


def contains(big: Box, small: Box) -> bool:
    if not (big.inside <= small.inside and big.outside <= small.outside):
        return False
    return all(
        mine[0][0] <= theirs[0][0] and theirs[-1][1] <= mine[-1][1] and not _split(theirs, mine)[0]
        for mine, theirs in zip(big.axes, small.axes, strict=True)
    )


def difference(box: Box, other: Box) -> Iterator[Box]:
    """What of ``box`` is not in ``other``, disjoint. They overlap, and ``other`` excludes no symbol."""
    axes, inside = list(box.axes), box.inside
    for axis, (mine, theirs) in enumerate(zip(box.axes, other.axes, strict=True)):
        rest, both = _split(mine, theirs)
        if rest:
            yield Box((*axes[:axis], rest, *axes[axis + 1 :]), inside, box.outside)
            axes[axis] = both
    for symbol in sorted(other.inside - box.inside):
        yield Box(tuple(axes), inside, box.outside | {symbol})
        inside |= {symbol}


class Pile(Generic[Owner]):
    """Boxes with their owners, for finding the few that touch a given one.

    Three axes decide nearly always, so their outer bounds are compared before anything is called.
    """

    def __init__(self) -> None:
        self._bounds: list[tuple[int, int, int, int, int, int, Box, Owner]] = []

    def add(self, box: Box, owner: Owner) -> None:
        one, two, three = box.axes[:3]
        self._bounds.append(
            (one[0][0], one[-1][1], two[0][0], two[-1][1], three[0][0], three[-1][1], box, owner)
        )

    def touching(self, box: Box) -> list[tuple[Box, Owner]]:
        """Those that overlap ``box``, in the order in which they were added."""
        one, two, three = box.axes[:3]
        low1, high1, low2, high2, low3, high3 = (
            one[0][0], one[-1][1], two[0][0], two[-1][1], three[0][0], three[-1][1],
        )  # fmt: skip
        return [
            (other, owner)
            for first1, last1, first2, last2, first3, last3, other, owner in self._bounds
            if first1 <= high1 and low1 <= last1 and first2 <= high2 and low2 <= last2
            if first3 <= high3 and low3 <= last3 and overlap(box, other)
        ]


def uncovered(box: Box, touching: Sequence[Box]) -> Box | None:
    """A part of ``box`` that none of ``touching`` touches, or None where they cover it together."""
    # a box that covers it alone ends the search at once
    if any(contains(other, box) for other in touching):
        return None
    pending = [(box, 0)]
    while pending:
        piece, start = pending.pop()
        for number in range(start, len(touching)):
            if overlap(piece, touching[number]):
                pending.extend((rest, number + 1) for rest in difference(piece, touching[number]))
                break
        else:
            return piece
    return None


def left_over(boxes: Sequence[Box], other: Box) -> list[Box]:
    """What of disjoint ``boxes`` is not in ``other``."""
    left: list[Box] = []
    for box in boxes:
        if overlap(box, other):
            left.extend(difference(box, other))
        else:
            left.append(box)
    return left
