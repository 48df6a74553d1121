"""What is remembered of failures: for whom, for how long, and how patient the next attempt is."""

from __future__ import annotations

import pytest

from harness.environment import Ssh
from harness.errors import AgentError, AuthenticationError, AzreachError, HostKeyError, TransportError
from harness.transport.failures import RETRY_AFTER, SHORT, Failures, short


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def remembering(clock: Clock, error: AzreachError) -> Failures:
    failures = Failures(clock)
    failures.remember("box", error, hurried=False)
    return failures


def test_what_never_failed_has_all_its_time(clock: Clock) -> None:
    assert not Failures(clock).hurry("box", clock.now)


@pytest.mark.parametrize("kind", [TransportError, AgentError])
def test_whoever_asked_before_shares_the_failure_and_later_ones_try_again(
    clock: Clock, kind: type[TransportError | AgentError]
) -> None:
    error = kind("box", "silent")
    failures = remembering(clock, error)
    for asked in (90.0, 100.0):
        with pytest.raises(kind) as caught:
            failures.hurry("box", asked)
        assert caught.value is error
    clock.now += 0.1
    assert failures.hurry("box", clock.now)


@pytest.mark.parametrize("kind", [AuthenticationError, HostKeyError])
def test_a_refusal_is_for_good(clock: Clock, kind: type[TransportError]) -> None:
    failures = remembering(clock, kind("box", "no"))
    clock.now += 1e6
    with pytest.raises(kind):
        failures.hurry("box", clock.now)
    failures.forget("box")
    assert not failures.hurry("box", clock.now)


def test_short_attempts_do_not_put_off_a_long_one(clock: Clock) -> None:
    failures = remembering(clock, TransportError("box", "silent"))
    for _ in range(2):
        clock.now += RETRY_AFTER / 2 - 0.1
        assert failures.hurry("box", clock.now)
        failures.remember("box", TransportError("box", "silent"), hurried=True)
    clock.now += 0.2
    assert not failures.hurry("box", clock.now)
    failures.remember("box", TransportError("box", "silent"), hurried=False)
    clock.now += 1
    assert failures.hurry("box", clock.now)


@pytest.mark.parametrize(("given", "left"), [(10.0, SHORT), (0.5, 0.5)])
def test_little_patience(given: float, left: float) -> None:
    assert short(Ssh(host="box", user="u", connect_timeout=given)).connect_timeout == left
