"""The algebra of boxes against the plain meaning of a box: which points are in it."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from harness.lint.boxes import (
    Box,
    Pile,
    Symbol,
    contains,
    difference,
    intersection,
    left_over,
    overlap,
    uncovered,
)
from harness.network.addresses import merged

SIZE = 4
SYMBOLS: tuple[Symbol, ...] = (("source", "/a"), ("destination", "/b"))
POINTS = [
    (numbers, frozenset(symbol for symbol, has in zip(SYMBOLS, members, strict=True) if has))
    for numbers in product(range(SIZE), repeat=3)
    for members in product((False, True), repeat=len(SYMBOLS))
]

axes = st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=SIZE).map(
    lambda numbers: merged((number, number) for number in numbers)
)
some_symbols = st.frozensets(st.sampled_from(SYMBOLS))
boxes = st.builds(lambda *sides: Box(sides[:3], sides[3]), axes, axes, axes, some_symbols)
pieces = st.builds(
    lambda box, outside: Box(box.axes, box.inside, outside - box.inside),
    boxes,
    some_symbols,
)


def points(box: Box) -> set[tuple[tuple[int, ...], frozenset[Symbol]]]:
    return {
        (numbers, members)
        for numbers, members in POINTS
        if box.inside <= members and not box.outside & members
        if all(
            any(first <= number <= last for first, last in ranges)
            for number, ranges in zip(numbers, box.axes, strict=True)
        )
    }


@given(pieces, pieces)
def test_overlap_and_intersection(one: Box, other: Box) -> None:
    assert overlap(one, other) == bool(points(one) & points(other))
    if overlap(one, other):
        assert points(intersection(one, other)) == points(one) & points(other)


@given(pieces, pieces)
def test_contains(big: Box, small: Box) -> None:
    assert contains(big, small) == (points(small) <= points(big))


@given(pieces, boxes)
def test_difference_is_disjoint_and_exact(box: Box, other: Box) -> None:
    if not overlap(box, other):
        return
    found = [points(piece) for piece in difference(box, other)]
    assert set().union(*found) == points(box) - points(other)
    assert sum(map(len, found)) == len(points(box) - points(other))


@given(pieces, st.lists(boxes, max_size=5))
def test_uncovered_finds_a_part_exactly_if_there_is_one(box: Box, others: list[Box]) -> None:
    rest = points(box).difference(*map(points, others))
    found = uncovered(box, [other for other in others if overlap(box, other)])
    assert (found is None) == (not rest)
    if found is not None:
        assert points(found)
        assert points(found) <= rest


@given(pieces, st.lists(boxes, max_size=8))
def test_a_pile_finds_what_touches(box: Box, others: list[Box]) -> None:
    pile: Pile[int] = Pile()
    for number, other in enumerate(others):
        pile.add(other, number)
    expected = [(other, number) for number, other in enumerate(others) if overlap(box, other)]
    assert pile.touching(box) == expected


@given(pieces, st.lists(boxes, max_size=4))
def test_left_over(box: Box, others: list[Box]) -> None:
    left = [box]
    for other in others:
        left = left_over(left, other)
    assert set().union(*map(points, left)) == points(box).difference(*map(points, others))
    assert sum(len(points(piece)) for piece in left) == len(set().union(*map(points, left)))
