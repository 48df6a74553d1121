"""Flows that were established before the configuration changed: what their ports still know of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import InputError
from harness.model import Cause, Flow, Protocol
from harness.network.model import Network, key
from harness.policy.decision import Explanation, Options
from harness.policy.explain import explain_established
from tests.harness.network.builders import nsg, route, rule, table, vnet_id
from tests.harness.policy.networks import DENY_IN, tiers

FLOW = Flow("web-01", "db-01", Protocol.TCP, 1433)
ALLOW = rule("sql", 150, "Allow", protocol="Tcp", ports="1433")


def guarded(*rules: Any) -> Network:
    return tiers(nsg("n", *rules), nsgs={"db": "n"})


def then(before: Network, after: Network, **more: Any) -> Explanation:
    return explain_established(before, after, FLOW, **more)


def test_rule_changes_affect_new_flows_only() -> None:
    assert then(guarded(), guarded(DENY_IN)).allowed


def test_routes_are_asked_anew() -> None:
    hole = tiers(table("t", route("no", "10.0.2.0/24", "None")), tables={"web": "t"})
    assert then(tiers(), hole).cause is Cause.ROUTE_TO_NONE


def test_inbound_tcp_without_state_is_judged_anew() -> None:
    """The flow log documents: custom inbound TCP rules are stateless unless a flow timeout is set."""
    stateless = Options(inbound_tcp="stateless")
    before, after = guarded(ALLOW), guarded(DENY_IN)
    assert then(before, after).allowed
    assert then(before, after, options=stateless).cause is Cause.SUBNET_NSG_INBOUND
    # a default rule let it in
    assert then(guarded(), after, options=stateless).allowed
    name = key(vnet_id("v"))
    timed = replace(after, vnets={name: replace(after.vnets[name], flow_timeout=10)})
    assert then(before, timed, options=stateless).allowed


def test_a_flow_that_never_was() -> None:
    with pytest.raises(InputError, match="not allowed before"):
        then(guarded(DENY_IN), guarded())
