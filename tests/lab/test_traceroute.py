"""A traceroute through the lab's fabric, in a lab where nobody else has opened or cut connections."""

from __future__ import annotations

import pytest

from harness.environment import load_environment
from harness.model import Outcome
from harness.probe.traceroute import traceroute
from harness.transport.session import Sessions
from lab.client import Lab

pytestmark = pytest.mark.lab


def test_traceroute_through_the_fabric(three_tier: Lab) -> None:
    with Sessions(load_environment(three_tier.environment_path)) as sessions:
        trace = traceroute(sessions.agent("web-01"), "10.0.3.4", port=1433)
    # Azure's fabric is no hop
    assert [(hop.address, hop.outcome) for hop in trace.hops] == [("10.0.3.4", Outcome.CONNECTED)]
