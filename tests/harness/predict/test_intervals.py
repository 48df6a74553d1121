"""Intervals of many sets at once are those of each set."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model import Protocol
from harness.policy.portmasks import PortMasks
from harness.policy.portset import EVERYTHING, NOTHING, PortSet
from harness.predict.intervals import Intervals
from harness.predict.portwords import size

PORTS = st.sampled_from((0, 1, 21, 22, 23, 443, 1024, 65534, 65535))
RANGES = st.lists(st.tuples(PORTS, PORTS).map(sorted), max_size=4)
ROWS = st.lists(st.tuples(st.sampled_from(Protocol), RANGES), max_size=6)


def sets_of(intervals: Intervals, count: int) -> list[list[tuple[Protocol, int, int]]]:
    protocols = list(Protocol)
    owners, places = intervals.of(np.arange(count, dtype=np.int32))
    found: list[list[tuple[Protocol, int, int]]] = [[] for _ in range(count)]
    for owner, place in zip(owners.tolist(), places.tolist(), strict=True):
        found[owner].append(
            (protocols[intervals.protocol[place]], int(intervals.first[place]), int(intervals.last[place]))
        )
    return found


@settings(deadline=None)
@given(st.lists(ROWS, max_size=6))
def test_of_masks_and_of_sets(rows: list[list[tuple[Protocol, list[list[int]]]]]) -> None:
    edges = {edge for row in rows for _, ranges in row for a, b in ranges for edge in (a, b + 1)}
    masks = PortMasks(edges)
    for row in rows:
        mask = 0
        for protocol, ranges in row:
            mask |= masks.ports(protocol, [(a, b) for a, b in ranges])
        masks.number(mask)
    expected = [masks.portset(number) for number in range(len(masks))]
    for intervals in (Intervals.of_masks(masks), Intervals.of_sets(expected)):
        assert sets_of(intervals, len(masks)) == [list(ports) for ports in expected]
        assert intervals.sizes().tolist() == [*map(size, expected), 0]


def test_the_number_of_no_set_has_no_intervals() -> None:
    intervals = Intervals.of_sets([NOTHING, EVERYTHING, PortSet(icmp=True)])
    owners, places = intervals.of(np.array([-1, 2, -1, 0], dtype=np.int32))
    assert (owners.tolist(), intervals.protocol[places].tolist()) == (
        [1],
        [list(Protocol).index(Protocol.ICMP)],
    )
