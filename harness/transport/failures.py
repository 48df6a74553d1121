"""What a pool remembers of log-ins and agents that failed, so that many who want one pay once.

Nobody who asked before a failure was found has to find it again; whoever asks later gets a new
attempt, since what was in the way may be mended, but a short one: a machine that was just silent
for the whole of its time-out is given two seconds. Not for connecting
(:mod:`harness.transport.session`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from harness.environment import Ssh
from harness.errors import AuthenticationError, AzreachError, HostKeyError

RETRY_AFTER = 30.0
"""Seconds after which a machine that failed is given the whole of its connect_timeout again."""

SHORT = 2.0
"""Seconds for each phase of an attempt before that: time for a SYN to be sent again once."""


@dataclass(frozen=True, slots=True)
class _Failure:
    error: AzreachError
    found: float
    patient: float
    """When the last attempt that had all its time began to be remembered."""


class Failures:
    """By any key, one failure each; whoever uses a key holds a lock of its own for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[Hashable, _Failure] = {}

    def hurry(self, key: Hashable, asked: float) -> bool:
        """Whether a new attempt is to be a short one; raises what is remembered where there must be none.

        ``asked``: when the caller began to ask, on the monotonic clock. Refused log-ins and host
        keys are remembered for good: each attempt counts towards an account's lock.
        """
        known = self._failures.get(key)
        if known is None:
            return False
        if isinstance(known.error, AuthenticationError | HostKeyError) or asked <= known.found:
            raise known.error.with_traceback(None)
        return self._clock() - known.patient < RETRY_AFTER

    def remember(self, key: Hashable, error: AzreachError, *, hurried: bool) -> None:
        now = self._clock()
        known = self._failures.get(key)
        self._failures[key] = _Failure(error, now, known.patient if known and hurried else now)

    def forget(self, key: Hashable) -> None:
        self._failures.pop(key, None)


def short(ssh: Ssh) -> Ssh:
    """The same log-in with little patience."""
    return ssh.model_copy(update={"connect_timeout": min(ssh.connect_timeout, SHORT)})
