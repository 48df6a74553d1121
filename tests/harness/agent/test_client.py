"""Answers of a sweep: columns become typed results, and whatever does not fit is one clear error."""

from __future__ import annotations

import base64
import struct
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.agent.client import Agent
from harness.agent.contract_sweep import SWEEP_OUTCOMES, SweepGroup
from harness.agent.linux.sweep import SWEEP_CODES
from harness.errors import AgentError
from harness.model import Outcome


class Answering:
    """Carries every request to nobody and answers with what it was given."""

    machine = "box"

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def submit(self, op: str, **params: Any) -> Future[dict[str, Any]]:
        self.asked.append({"op": op, **params})
        future: Future[dict[str, Any]] = Future()
        future.set_result(self.answer)
        return future

    def request(self, op: str, *, timeout: float = 0.0, **params: Any) -> dict[str, Any]:
        del timeout
        return self.submit(op, **params).result()


def answer(outcomes: str, times: list[int], **more: Any) -> dict[str, Any]:
    packed = base64.b64encode(struct.pack(f"<{len(times)}I", *times)).decode()
    return {"outcomes": outcomes, "rtt_us": packed, "started": 1.0, "ms": 2.0, "processes": 1, **more}


def group(count: int) -> list[SweepGroup]:
    return [SweepGroup(("10.0.0.4",), tuple(range(1, count + 1)))]


def test_both_sides_know_the_same_letters() -> None:
    assert {code: Outcome(name) for name, code in SWEEP_CODES.items()} == SWEEP_OUTCOMES


def test_columns_become_results() -> None:
    details = {
        "2": {"errno": "EHOSTUNREACH", "icmp": {"version": 4, "type": 3, "code": 13, "from": "10.0.0.1"}}
    }
    carrier = Answering(answer("ctp", [1500, 0, 0], details=details, tries={"1": 3}))
    found = Agent(carrier).sweep(group(3), timeout=1.0, retries=2)
    assert found.outcomes == (Outcome.CONNECTED, Outcome.TIMEOUT, Outcome.PROHIBITED)
    assert found.rtt_ms == (1.5, None, None)
    assert str(found.details[2].icmp) == "ICMP type 3 code 13 from 10.0.0.1"
    assert found.tries == {1: 3}
    (asked,) = carrier.asked
    assert asked["groups"] == [{"addresses": ["10.0.0.4"], "ports": [1, 2, 3]}]
    assert (asked["timeout_ms"], asked["retries"]) == (1000.0, 2)
    assert "rate" not in asked


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (answer("ct", [0, 0]), "2 results for 3 targets"),
        (answer("ct?", [0, 0, 0]), "outcomes"),
        (answer("ctr", [0, 0]), "2 times for 3 outcomes"),
        (answer("ctr", [0, 0, 0]) | {"rtt_us": "=not base64="}, "rtt_us"),
        (answer("ctr", [0, 0, 0]) | {"details": {"x": {}}}, "details"),
        (answer("ctr", [0, 0, 0]) | {"details": [1]}, "details"),
        ({}, "outcomes"),
    ],
)
def test_what_does_not_fit_is_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(AgentError, match=r"box: .*'sweep'") as caught:
        Agent(Answering(wrong)).sweep(group(3))
    assert said in str(caught.value)


@given(st.lists(st.tuples(st.sampled_from(sorted(SWEEP_OUTCOMES)), st.integers(0, 2**32 - 1)), max_size=50))
def test_any_columns(rows: list[tuple[str, int]]) -> None:
    sent = answer("".join(code for code, _ in rows), [time for _, time in rows])
    found = Agent(Answering(sent)).sweep(group(len(rows)))
    assert list(found.outcomes) == [SWEEP_OUTCOMES[code] for code, _ in rows]
    assert [round((time or 0) * 1000) for time in found.rtt_ms] == [time for _, time in rows]


def test_groups_in_order() -> None:
    one = SweepGroup(("a", "b"), (1, 2))
    assert (len(one), list(one)) == (4, [("a", 1), ("a", 2), ("b", 1), ("b", 2)])
