"""Interval arithmetic on addresses: union, difference, and prefixes flattened by longest match.

Addresses are plain integers here, of one family at a time. Not for parsing, and not for
deciding what an interval means (``plan_routes``, ``plan_rules``).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple, TypeVar

from harness.network.model import IPNetwork


class AddressRange(NamedTuple):
    """An inclusive range of addresses as integers."""

    first: int
    last: int


Value = TypeVar("Value", bound=Hashable)


def range_of(network: IPNetwork) -> AddressRange:
    """All addresses of a prefix."""
    return AddressRange(int(network.network_address), int(network.broadcast_address))


def merge(ranges: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    """The same addresses as disjoint, ordered ranges; neighbours are joined."""
    merged: list[AddressRange] = []
    for item in sorted(ranges):
        if merged and item.first <= merged[-1].last + 1:
            merged[-1] = AddressRange(merged[-1].first, max(merged[-1].last, item.last))
        else:
            merged.append(item)
    return tuple(merged)


def subtract(ranges: Iterable[AddressRange], holes: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    """The addresses of ``ranges`` that are in no hole, as disjoint, ordered ranges."""
    gaps = merge(holes)
    left: list[AddressRange] = []
    for item in merge(ranges):
        first = item.first
        for gap in gaps:
            if gap.last < first:
                continue
            if gap.first > item.last:
                break
            if gap.first > first:
                left.append(AddressRange(first, gap.first - 1))
            first = gap.last + 1
        if first <= item.last:
            left.append(AddressRange(first, item.last))
    return tuple(left)


def flatten(routes: Iterable[tuple[IPNetwork, Value]]) -> tuple[tuple[AddressRange, Value], ...]:
    """Disjoint, ordered ranges that give every address the value of its longest prefix.

    All prefixes are of one family. Of two equal prefixes the first one given wins. Addresses
    under no prefix are in no range; neighbours of equal value are joined.
    """
    unique: dict[AddressRange, Value] = {}
    for prefix, value in routes:
        unique.setdefault(range_of(prefix), value)

    pieces: list[tuple[AddressRange, Value]] = []
    enclosing: list[tuple[int, Value]] = []  # (last address, value) of the open prefixes, outermost first
    position = 0

    def emit(until: int) -> None:
        nonlocal position
        if enclosing and position <= until:
            piece, value = AddressRange(position, until), enclosing[-1][1]
            if pieces and pieces[-1][1] == value and pieces[-1][0].last + 1 == piece.first:
                piece = AddressRange(pieces.pop()[0].first, piece.last)
            pieces.append((piece, value))
        position = until + 1

    # prefixes nest or are disjoint, so a stack of open ones always has the longest on top
    for item, value in sorted(unique.items(), key=lambda entry: (entry[0].first, -entry[0].last)):
        while enclosing and enclosing[-1][0] < item.first:
            emit(enclosing[-1][0])
            enclosing.pop()
        emit(item.first - 1)
        enclosing.append((item.last, value))
    while enclosing:
        emit(enclosing[-1][0])
        enclosing.pop()
    return tuple(pieces)
