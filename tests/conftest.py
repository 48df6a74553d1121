"""What the project's own tests share: the gate of tests that need namespaces, and hypothesis' settings."""

from __future__ import annotations

import functools
import os
import subprocess

import pytest
from hypothesis import HealthCheck, settings

from lab import requirements
from lab.errors import RequirementError

# No test asserts a time: a slow machine is not a fault. With CI=true the examples are always the same.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@functools.cache
def no_namespaces() -> str | None:
    """Why this process itself cannot make network and mount namespaces; None if it can."""
    try:
        done = subprocess.run(
            ["unshare", "--net", "--mount", "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.strip() + (" (run the tests as root)" if os.geteuid() != 0 else "")


@functools.cache
def no_lab() -> str | None:
    """Why no lab can be raised here; None if it can. Without root a lab makes a user namespace of its own."""
    try:
        requirements.check()
    except RequirementError as error:
        return str(error)
    return no_namespaces() if os.geteuid() == 0 else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is marked ``lab`` where it cannot work, with the reason.

    ``lab`` says that the test itself makes namespaces, ``lab(rootless=True)`` that it only raises labs.
    """
    marker = item.get_closest_marker("lab")
    if marker is not None:
        reason = no_lab() if marker.kwargs.get("rootless") else no_namespaces()
        if reason:
            pytest.skip(f"needs namespaces: {reason}")
