"""Every declared flow does what is declared.

Allowed ones work and have no finding, denied ones are denied by what must deny them.

In the lab these are the flows of the topologies, healthy throughout: a diagnosis that finds a
fault in them is wrong. Against live machines they are the environment file's.
"""

from collections.abc import Callable
from typing import Any

from scenarios.rows import Healthy

SCENARIOS = (Healthy("three-tier"), Healthy("hub-spoke"), Healthy("dual-stack"))


def test_declared_flows(case: Any, check: Callable[[Any], None]) -> None:
    check(case)
