"""epoll and timers: what everything in the agent hangs on."""

import heapq
import os
import select
import time

from harness.agent.linux.words import OpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from harness.agent.linux.request import Answer


class Timer:
    __slots__ = ("active", "callback", "owner")

    def __init__(self, callback: "Callable[[], None]", owner: "Answer | None") -> None:
        self.callback = callback
        self.owner = owner
        self.active = True

    def cancel(self) -> None:
        self.active = False


class Reactor:
    """epoll and timers. An error in a callback fails the request that owns it, nothing else."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.watched: "dict[int, tuple[Callable[[int], None], Answer | None]]" = {}
        self.timers: "list[tuple[float, int, Timer]]" = []
        self.counter = 0
        self.running = True

    def watch(
        self, fd: int, events: int, callback: "Callable[[int], None]", owner: "Answer | None" = None
    ) -> None:
        if fd in self.watched:
            self.epoll.modify(fd, events)
        else:
            self.epoll.register(fd, events)
        self.watched[fd] = (callback, owner)

    def unwatch(self, fd: int) -> None:
        if self.watched.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def after(self, delay: float, callback: "Callable[[], None]", owner: "Answer | None" = None) -> "Timer":
        timer = Timer(callback, owner)
        self.counter += 1
        heapq.heappush(self.timers, (time.monotonic() + delay, self.counter, timer))
        return timer

    def run(self) -> None:
        while self.running:
            while self.timers and not self.timers[0][2].active:
                heapq.heappop(self.timers)
            wait = max(0.0, self.timers[0][0] - time.monotonic()) if self.timers else -1
            for fd, events in self.epoll.poll(wait, 4096):
                entry = self.watched.get(fd)
                if entry is not None:
                    self.call(entry[1], entry[0], events)
            now = time.monotonic()
            # A timer set by these callbacks with no delay waits for the next turn: input is not starved.
            for _ in range(len(self.timers)):
                if not self.timers or self.timers[0][0] > now:
                    break
                timer = heapq.heappop(self.timers)[2]
                if timer.active:
                    timer.active = False
                    self.call(timer.owner, timer.callback)

    def call(self, owner: "Answer | None", callback: "Callable[..., Any]", *args: "Any") -> None:
        try:
            callback(*args)
        except OpError as error:
            if owner is not None:
                owner.fail(error.kind, error.message)
        except Exception as error:  # noqa: BLE001 - a bug of ours must fail one request, not the agent
            complain("internal error: %s: %s" % (type(error).__name__, error))
            if owner is not None:
                owner.fail("internal", "%s: %s" % (type(error).__name__, error))


def complain(text: str) -> None:
    try:
        os.write(2, ("azreach agent: %s\n" % text).encode("utf-8", "replace"))
    except OSError:
        pass
