"""One probe again and again: so many times, or for so long, at a steady pace.

Faults that come and go show only so. Not for retries after a failure, which every probe can do
by itself (:func:`harness.probe.result.attempts_of`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.probe.result import Attempt, ProbeResult, summarize

PACE = 1.0
"""Seconds between the starts of two attempts, where a duration is given and no interval."""

Wait = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often: ``count`` attempts, or as many as begin within ``duration`` seconds (or both: the less).

    ``interval``: seconds from the start of one attempt to that of the next; one that takes
    longer is followed at once. Durations are the controller's monotonic clock.
    """

    count: int | None = None
    duration: float | None = None
    interval: float | None = None

    @property
    def pace(self) -> float:
        if self.interval is not None:
            return self.interval
        return PACE if self.duration is not None else 0.0

    def wants_more(self, done: int, elapsed: float) -> bool:
        """Whether another attempt begins after ``done`` of them; ``elapsed`` since the first one began."""
        elapsed = max(elapsed, done * self.pace)
        count = self.count if self.count is not None else (1 if self.duration is None else None)
        return (count is None or done < count) and (self.duration is None or elapsed < self.duration)


def repeat(
    once: Callable[[], ProbeResult],
    schedule: Schedule,
    *,
    heard: Callable[[Attempt, int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    wait: Wait | None = None,
) -> ProbeResult:
    """All attempts together; ``heard`` is told of each as it comes, with its number.

    An interrupt (Ctrl-C) ends it early with what is there; before the first answer it is raised.
    """
    wait = wait or threading.Event().wait
    tries: list[Attempt] = []
    method = ""
    begun = clock()
    runs = 0
    try:
        while not runs or schedule.wants_more(runs, clock() - begun):
            if runs and (early := begun + runs * schedule.pace - clock()) > 0:
                wait(early)
            result = once()
            runs += 1
            method = result.method
            for attempt in result.tries:
                tries.append(attempt)
                if heard is not None:
                    heard(attempt, len(tries))
    except KeyboardInterrupt:
        if not tries:
            raise
    return summarize(tries, method=method)
