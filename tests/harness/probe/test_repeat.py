"""The pace of repeated probes, by a clock of the tests' own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.model import Outcome
from harness.probe.repeat import Schedule, repeat
from harness.probe.result import Attempt, ProbeResult, outages, summarize


class Clock:
    """Time passes only when somebody waits or an attempt takes some."""

    def __init__(self, takes: float = 0.0) -> None:
        self.now = 1000.0
        self.takes = takes
        self.starts: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def once(self, outcome: Callable[[int], Outcome] = lambda number: Outcome.CONNECTED) -> ProbeResult:
        self.starts.append(round(self.now - 1000.0, 6))
        attempt = Attempt(outcome(len(self.starts)), self.now, 1.0)
        self.now += self.takes
        return summarize([attempt])


@pytest.mark.parametrize(
    ("schedule", "takes", "starts"),
    [
        (Schedule(), 0.5, [0.0]),
        (Schedule(count=3), 0.5, [0.0, 0.5, 1.0]),
        (Schedule(count=3, interval=2.0), 0.5, [0.0, 2.0, 4.0]),
        (Schedule(count=3, interval=2.0), 3.0, [0.0, 3.0, 6.0]),
        (Schedule(duration=3.0), 0.25, [0.0, 1.0, 2.0]),
        (Schedule(duration=1.0, interval=0.25), 0.1, [0.0, 0.25, 0.5, 0.75]),
        (Schedule(duration=10.0, count=2), 0.0, [0.0, 1.0]),
        (Schedule(duration=1.0), 60.0, [0.0]),
        (Schedule(duration=1.0, interval=0.0), 0.4, [0.0, 0.4, 0.8]),
    ],
)
def test_when_attempts_begin(schedule: Schedule, takes: float, starts: list[float]) -> None:
    clock = Clock(takes)
    result = repeat(clock.once, schedule, clock=clock, wait=clock.wait)
    assert clock.starts == starts
    assert (result.attempts, result.outcome) == (len(starts), Outcome.CONNECTED)


def test_intermittent_and_when() -> None:
    clock = Clock()
    heard: list[int] = []
    result = repeat(
        lambda: clock.once(lambda number: Outcome.TIMEOUT if number in (2, 5, 6) else Outcome.CONNECTED),
        Schedule(count=7, interval=1.0),
        heard=lambda attempt, number: heard.append(number),
        clock=clock,
        wait=clock.wait,
    )
    assert (result.outcome, result.successes, result.attempts) == (Outcome.INTERMITTENT, 4, 7)
    assert [(one.first - 1000, one.last - 1000, one.count) for one in outages(result.tries)] == [
        (1.0, 1.0, 1),
        (4.0, 5.0, 2),
    ]
    assert heard == [1, 2, 3, 4, 5, 6, 7]


def test_an_interrupt_keeps_what_is_there() -> None:
    clock = Clock()

    def interrupted() -> ProbeResult:
        if len(clock.starts) == 2:
            raise KeyboardInterrupt
        return clock.once()

    result = repeat(interrupted, Schedule(count=9), clock=clock, wait=clock.wait)
    assert result.attempts == 2
    with pytest.raises(KeyboardInterrupt):
        repeat(interrupted, Schedule(count=9), clock=clock, wait=clock.wait)


def test_outages_name_every_kind_of_failure() -> None:
    kinds = [Outcome.REFUSED, Outcome.TIMEOUT, Outcome.REFUSED, Outcome.CONNECTED]
    (found,) = outages([Attempt(kind, float(number)) for number, kind in enumerate(kinds)])
    assert (found.count, found.outcomes) == (3, (Outcome.REFUSED, Outcome.TIMEOUT))
    assert outages([]) == ()
