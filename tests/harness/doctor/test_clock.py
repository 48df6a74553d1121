"""The clock's offset from a request's round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.doctor.clock import ClockReading, best, common_offset, reading

NOW = 1_790_000_000.0


@given(
    offset=st.floats(-1e6, 1e6),
    there=st.floats(0, 10),
    back=st.floats(0, 10),
)
def test_the_true_offset_is_within_the_error(offset: float, there: float, back: float) -> None:
    found = reading(NOW, NOW + there + offset, NOW + there + back)
    assert abs(found.offset - offset) <= found.error + 1e-3


@pytest.mark.parametrize(
    ("offset", "error", "off"),
    [
        (0.0, 0.0, False),
        (59.9, 0.0, False),
        (60.0, 0.0, True),
        (-86_400.0, 0.2, True),
        (61.0, 2.0, False),  # it may as well be 59 s
        (-3600.0, 9.0, True),
    ],
)
def test_a_minute_is_worth_a_warning(offset: float, error: float, off: bool) -> None:
    assert ClockReading(offset, error).off is off


def test_the_shortest_round_trip_counts() -> None:
    assert best([ClockReading(5.0, 4.0), ClockReading(0.1, 0.2), ClockReading(1.0, 1.0)]).offset == 0.1


def test_our_own_clock_is_the_odd_one_when_all_others_agree() -> None:
    day = [ClockReading(86_400.0 + jitter, 0.1) for jitter in (-0.2, 0.0, 0.3)]
    assert common_offset(day) == pytest.approx(86_400.0, abs=1)
    assert common_offset(day[:1]) is None
    assert common_offset([*day, ClockReading(0.0, 0.1)]) is None
    assert common_offset([*day, ClockReading(-86_400.0, 0.1)]) is None
    assert common_offset([]) is None


@pytest.mark.parametrize(
    ("offset", "text"),
    [(0.0, "0 ms"), (-0.0001, "0 ms"), (0.012, "+12 ms"), (-61.5, "-61.5 s"), (86_400.0, "+86400 s")],
)
def test_as_people_read_it(offset: float, text: str) -> None:
    assert str(ClockReading(offset, 0.0)) == text
