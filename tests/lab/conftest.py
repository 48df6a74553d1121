"""Running labs for tests: each test module has a state root of its own, empty again at its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import state
from lab.client import Lab, raise_lab, take_down

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def state_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty state root, which commands of this module find; whatever labs are left in it go at the end."""
    root = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZREACH_STATE", str(root))
        yield root
        for directory in state.directories():
            take_down(directory.name)
        assert processes_of(root) == []


@pytest.fixture(scope="module")
def lab_command(state_root: Path) -> Command:
    """Runs ``azreach lab`` with the given words."""

    def run(*words: str, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002
        return subprocess.run(
            [sys.executable, "-m", "lab", *words],
            capture_output=True,
            text=True,
            check=False,
            # an empty input rather than this test run's own
            input=input or "",
        )

    return run


@pytest.fixture(scope="module")
def three_tier(state_root: Path) -> Lab:
    """A running lab of the topology three-tier."""
    return raise_lab("three-tier")


def processes_of(root: Path) -> list[str]:
    """Command lines of processes (zombies apart) that a lab of this state root has or had."""
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or int(directory.name) == os.getpid():
            continue
        try:
            words = (directory / "cmdline").read_bytes()
            environment = (directory / "environ").read_bytes()
        except OSError:
            continue
        is_ours = f"AZREACH_STATE={root}\0".encode() in environment and b"lab" in words
        if words and is_ours and b"pytest" not in words:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits until ``condition`` holds; for what the kernel does by itself after a process has died."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
