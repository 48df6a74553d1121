"""Does the same work for many machines at the same time, and waits for none longer than its limit.

Daemon threads, not an executor: one that hangs in somebody else's code must neither delay the
others nor the end of the process. Knows nothing of machines but their names.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Result = TypeVar("Result")

PARALLEL = 32


def each(
    names: Sequence[str],
    work: Callable[[str], Result],
    *,
    limit: Callable[[str], float],
    late: Callable[[str, float], Result],
    done: Callable[[int], None] = lambda count: None,  # noqa: ARG005 - nobody is watching
    parallel: int = PARALLEL,
) -> dict[str, Result]:
    """``work``'s result for every name, in the order of ``names``.

    Work that takes longer than ``limit`` (seconds) is given up, and ``late`` makes its result.
    ``done`` hears how many are finished. An exception of ``work`` is raised here.
    """
    found = _Round(names, work, limit, late, done).run(parallel)
    return {name: found[name] for name in names}


class _Round(Generic[Result]):
    def __init__(
        self,
        names: Sequence[str],
        work: Callable[[str], Result],
        limit: Callable[[str], float],
        late: Callable[[str, float], Result],
        done: Callable[[int], None],
    ) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._work, self._limit, self._late, self._done = work, limit, late, done
        self._waiting = deque(self._names)
        self._deadlines: dict[str, float] = {}
        self._results: dict[str, Result] = {}
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def run(self, parallel: int) -> dict[str, Result]:
        for _ in range(min(parallel, len(self._names))):
            self._start_worker()
        with self._changed:
            while len(self._results) < len(self._names) and self._failure is None:
                self._changed.wait(self._until_next_deadline())
                self._give_up_the_late()
                self._done(len(self._results))
            if self._failure is not None:
                raise self._failure
            self._done(len(self._results))
            return dict(self._results)

    def _start_worker(self) -> None:
        threading.Thread(target=self._serve, name="doctor", daemon=True).start()

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self._waiting or self._failure is not None:
                    return
                name = self._waiting.popleft()
                self._deadlines[name] = time.monotonic() + self._limit(name)
                self._changed.notify()  # whoever waits learns of the new deadline
            try:
                result = self._work(name)
            except BaseException as error:  # noqa: BLE001 - it is raised where the round was started
                with self._changed:
                    self._failure = error
                    self._changed.notify()
                return
            with self._changed:
                if self._deadlines.pop(name, None) is None:
                    return  # given up, and another worker has taken this one's place
                self._results[name] = result
                self._changed.notify()

    def _until_next_deadline(self) -> float | None:
        if not self._deadlines:
            return None
        return max(0.0, min(self._deadlines.values()) - time.monotonic())

    def _give_up_the_late(self) -> None:
        now = time.monotonic()
        for name in [name for name, deadline in self._deadlines.items() if deadline <= now]:
            del self._deadlines[name]
            self._results[name] = self._late(name, self._limit(name))
            self._start_worker()
