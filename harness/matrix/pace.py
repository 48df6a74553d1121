"""How fast flows may be sent: so many a second, evenly, however they are bundled. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable

PORTIONS = 4
"""Requests a second at the full rate: live progress, and a dead agent loses a quarter of a second."""

MAX_CHUNK = 1000
"""Flows in one request at most."""


def chunk_size(rate: float) -> int:
    """How many flows one request holds at ``rate`` flows a second."""
    return max(1, min(MAX_CHUNK, int(rate / PORTIONS)))


class Pace:
    """Books flows at ``rate`` a second; time that passed unused is not saved up."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = clock()

    def delay(self, flows: int) -> float:
        """Books ``flows`` that go out together; the seconds to wait before they may."""
        now = self._clock()
        start = max(now, self._free_at)
        self._free_at = start + flows / self._rate
        return start - now
