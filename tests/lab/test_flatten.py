from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from lab.flatten import AddressRange, flatten, merge, range_of, subtract

SMALL = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(0, (1 << 32) - 1) | st.integers(0x0A000000, 0x0A0000FF),
    st.integers(0, 32),
)
TABLES = st.lists(st.tuples(SMALL, st.integers(0, 4)), max_size=25)
RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda pair: AddressRange(pair[0], sum(pair))),
    max_size=12,
)


def longest_prefix(table: list[tuple[IPv4Network, int]], address: int) -> int | None:
    best: tuple[int, int] | None = None
    for prefix, value in table:
        if IPv4Address(address) in prefix and (best is None or prefix.prefixlen > best[0]):
            best = prefix.prefixlen, value
    return None if best is None else best[1]


@given(TABLES, st.lists(st.integers(0, (1 << 32) - 1), max_size=5))
def test_flattened_routes_equal_a_longest_prefix_lookup(
    table: list[tuple[IPv4Network, int]], others: list[int]
) -> None:
    flat = flatten(table)

    edges = {
        edge
        for prefix, _ in table
        for bound in range_of(prefix)
        for edge in (bound - 1, bound, bound + 1)
        if 0 <= edge < 1 << 32
    }
    for address in (*edges, *others):
        found = [value for item, value in flat if item.first <= address <= item.last]
        assert found == [value for value in [longest_prefix(table, address)] if value is not None]


@given(TABLES)
def test_flattened_ranges_are_ordered_disjoint_and_joined(table: list[tuple[IPv4Network, int]]) -> None:
    flat = flatten(table)

    for (before, value), (after, other) in itertools.pairwise(flat):
        assert before.first <= before.last < after.first
        assert before.last + 1 < after.first or value != other


def test_of_two_equal_prefixes_the_first_wins() -> None:
    prefix = IPv6Network("fd00::/8")

    assert flatten([(prefix, "user"), (prefix, "system")]) == ((range_of(prefix), "user"),)


@given(RANGES, RANGES)
def test_subtract_and_merge_are_set_operations(ranges: list[AddressRange], holes: list[AddressRange]) -> None:
    def members(items: tuple[AddressRange, ...] | list[AddressRange]) -> set[int]:
        return {number for item in items for number in range(item.first, item.last + 1)}

    assert members(merge(ranges)) == members(ranges)
    assert members(subtract(ranges, holes)) == members(ranges) - members(holes)
    for result in (merge(ranges), subtract(ranges, holes)):
        assert all(a.last + 1 < b.first for a, b in itertools.pairwise(result))
