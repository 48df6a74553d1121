"""Work for many machines at once: order, limits, errors."""

from __future__ import annotations

import threading

import pytest

from harness.doctor.rounds import each


def test_the_order_is_that_of_the_names_and_everything_is_done_once() -> None:
    names = [f"m{number}" for number in range(100)]
    done: list[int] = []
    found = each(
        [*names, "m0"],
        str.upper,
        limit=lambda name: 60.0,
        late=lambda name, s: "late",
        done=done.append,
        parallel=7,
    )
    assert list(found.items()) == [(name, name.upper()) for name in names]
    assert done[-1] == 100


def test_who_hangs_is_given_up_and_holds_up_nobody() -> None:
    never = threading.Event()

    def work(name: str) -> str:
        if name.startswith("hangs"):
            never.wait()
        return "done"

    found = each(
        ["hangs-1", "hangs-2", "a", "b", "c"],
        work,
        limit=lambda name: 0.05 if name.startswith("hangs") else 60.0,
        late=lambda name, seconds: f"gave up after {seconds}",
        parallel=2,  # both workers hang, and others take their places
    )
    never.set()
    assert found["hangs-1"] == found["hangs-2"] == "gave up after 0.05"
    assert [found[name] for name in "abc"] == ["done"] * 3


def test_a_bug_is_not_a_row() -> None:
    def work(name: str) -> str:
        raise ZeroDivisionError(name)

    with pytest.raises(ZeroDivisionError):
        each(["a", "b"], work, limit=lambda name: 60.0, late=lambda name, s: "")


def test_nobody() -> None:
    assert each([], str, limit=lambda name: 1.0, late=lambda name, s: "") == {}
