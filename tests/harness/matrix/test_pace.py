"""The rate is a bound, whatever the bundles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.matrix.pace import MAX_CHUNK, Pace, chunk_size


@given(st.floats(0.1, 100_000), st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 5)), min_size=1))
def test_never_more_than_the_rate(rate: float, steps: list[tuple[int, float]]) -> None:
    """Between any two bundles lies at least the time that the flows from the first on are due."""
    now = 1000.0
    pace = Pace(rate, lambda: now)
    sent: list[tuple[float, int]] = []
    for flows, idle in steps:
        delay = pace.delay(flows)
        assert delay >= 0
        now += delay
        sent.append((now, flows))
        now += idle
    for first in range(len(sent)):
        due = 0.0
        for last in range(first + 1, len(sent)):
            due += sent[last - 1][1] / rate
            assert sent[last][0] - sent[first][0] >= due - 1e-6 * max(1.0, due)


def test_the_first_goes_at_once_and_idle_time_is_not_saved_up() -> None:
    now = 0.0
    pace = Pace(100, lambda: now)
    assert pace.delay(50) == 0
    assert pace.delay(50) == pytest.approx(0.5)
    now = 10.0
    assert pace.delay(50) == 0
    assert pace.delay(50) == pytest.approx(0.5)


@given(st.floats(0.1, 100_000))
def test_chunks_are_a_quarter_of_a_second(rate: float) -> None:
    assert 1 <= chunk_size(rate) <= MAX_CHUNK
    assert chunk_size(rate) <= max(1.0, rate / 4)
