"""The runner goes on after a benchmark that is broken or misses its peer, and its file says all of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks import run
from tests.benchmarks.machine import require
from tests.benchmarks.measurement import at_most


def _benchmark(monkeypatch: pytest.MonkeyPatch, name: str, function: object) -> None:
    module = ModuleType(f"tests.benchmarks.bench_{name}")
    vars(module)["run"] = function
    monkeypatch.setitem(sys.modules, module.__name__, module)


def _broken() -> dict[str, float]:
    raise RuntimeError("no link")


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Three benchmarks: one that works, one that breaks, one whose peer is not installed."""
    _benchmark(monkeypatch, "good", lambda: {"a[b]": at_most("a", 1.0, 2.0, "s")})
    _benchmark(monkeypatch, "broken", _broken)
    _benchmark(monkeypatch, "alone", lambda: {"a": require("no-such-tool", "some-package")})
    monkeypatch.setattr(run, "available", lambda: ["alone", "broken", "good"])
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_all_run_and_are_written(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([]) == 1
    out = capsys.readouterr().out
    assert "good.a[b]" in out
    assert "apt-get install some-package" in out
    assert "RuntimeError: no link" in out
    assert "1 of 1 targets met" in out
    (path,) = three.glob("bench-*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [item["name"] for item in document["runs"]] == ["alone", "broken", "good"]
    assert document["machine"]["cores"] > 0
    assert document["machine"]["kernel"]


def test_some_are_selected(three: Path) -> None:
    assert run.main(["good"]) == 0
    assert len(list(three.iterdir())) == 1


def test_unknown_name(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["fabrik"]) == 2
    assert "fabrik" in capsys.readouterr().out
    assert not three.exists()
