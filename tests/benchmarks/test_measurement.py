"""What benchmarks return becomes measurements with units and judged targets."""

from __future__ import annotations

import pytest

from tests.benchmarks.measurement import Measurement, adapt, against, at_least, at_most


def test_targets_are_judged() -> None:
    assert at_most("request", 1.5, 2, "ms").met is True
    assert at_most("request", 2.5, 2, "ms").met is False
    assert at_least("rate", 10, 20, "1/s").met is False


def test_peer_is_compared_by_ratio() -> None:
    up = against("up", 0.5, "s", peer="mininet", peer_value=2.5, at_most=0.25)
    assert (up.ratio, up.met, up.target) == (0.2, True, "<= 0.25 x mininet")
    assert up.peer == "mininet: 2.5 s"
    assert against("up", 1.0, "s", peer="mininet", peer_value=2.5, at_most=0.25).met is False
    assert against("up", 1.0, "s", peer="mininet", peer_value=2.5).met is None


def test_plain_results_are_adapted() -> None:
    results = {
        "request_ms": 0.4,
        "connects_per_s": 9000,
        "rounds_ms": [3.0, 1.0, 2.0],
        "group": {"up_s": 1.0},
        "given": Measurement("any", 2.0, "s"),
        "record": {"value": 7, "unit": "VM"},
        "all_connected": True,
    }
    assert adapt("lab", results) == [
        Measurement("lab.request_ms", 0.4, "ms"),
        Measurement("lab.connects_per_s", 9000.0, "1/s"),
        Measurement("lab.rounds_ms (median)", 2.0, "ms"),
        Measurement("lab.group.up_s", 1.0, "s"),
        Measurement("lab.given", 2.0, "s"),
        Measurement("lab.record", 7, "VM"),
        Measurement("lab.all_connected", 1.0, target="true", met=True),
    ]


def test_anything_else_is_named() -> None:
    with pytest.raises(TypeError, match=r"lab\.note: .*'fast'"):
        adapt("lab", {"note": "fast"})
