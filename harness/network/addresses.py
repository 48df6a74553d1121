"""Sets of IP addresses as sorted, disjoint ranges of numbers, one list a family.

What prefixes, service tags and routes become where many addresses are asked: membership is one
bisection. Not for parsing (:mod:`harness.network.fields`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from harness.network.words import IPAddress, IPNetwork

Ranges = tuple[tuple[int, int], ...]
"""(first, last), inclusive, ascending, disjoint and not adjacent."""

LAST = {4: (1 << 32) - 1, 6: (1 << 128) - 1}


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Any ranges, in order and joined where they touch."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            if last > found[-1][1]:
                found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return tuple(found)


def complement(ranges: Ranges, family: int) -> Ranges:
    """The addresses of the family that are not in ``ranges``."""
    found, start = [], 0
    for first, last in ranges:
        if start < first:
            found.append((start, first - 1))
        start = last + 1
    if start <= LAST[family]:
        found.append((start, LAST[family]))
    return tuple(found)


def common(one: Ranges, other: Ranges) -> Ranges:
    """What both hold."""
    found, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        first, last = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if first <= last:
            found.append((first, last))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def range_of(prefix: IPNetwork) -> tuple[int, int]:
    first = int(prefix.network_address)
    return first, first | int(prefix.hostmask)


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Addresses of both families. ``ipaddress`` objects are compared as numbers."""

    v4: Ranges = ()
    v6: Ranges = ()
    _starts: tuple[tuple[int, ...], tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = (tuple(first for first, _ in self.v4), tuple(first for first, _ in self.v6))
        object.__setattr__(self, "_starts", starts)

    @classmethod
    def of(cls, prefixes: Iterable[IPNetwork]) -> AddressSet:
        ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for prefix in prefixes:
            ranges[prefix.version].append(range_of(prefix))
        return cls(merged(ranges[4]), merged(ranges[6]))

    def of_family(self, family: int) -> Ranges:
        return self.v4 if family == 4 else self.v6

    def holds(self, family: int, number: int) -> bool:
        ranges, starts = (self.v4, self._starts[0]) if family == 4 else (self.v6, self._starts[1])
        place = bisect_right(starts, number)
        return place > 0 and number <= ranges[place - 1][1]

    def __contains__(self, address: IPAddress) -> bool:
        return self.holds(address.version, int(address))

    def __or__(self, other: AddressSet) -> AddressSet:
        return AddressSet(merged(chain(self.v4, other.v4)), merged(chain(self.v6, other.v6)))

    def __sub__(self, other: AddressSet) -> AddressSet:
        return AddressSet(common(self.v4, complement(other.v4, 4)), common(self.v6, complement(other.v6, 6)))

    def __and__(self, other: AddressSet) -> AddressSet:
        return AddressSet(common(self.v4, other.v4), common(self.v6, other.v6))

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(family, first, last)."""
        yield from ((4, first, last) for first, last in self.v4)
        yield from ((6, first, last) for first, last in self.v6)


NOWHERE = AddressSet()
