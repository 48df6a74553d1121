"""Security admin rules: before every NSG, by virtual network, in both directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.model import Cause
from harness.network.model import (
    ANY_PORT,
    AddressSelector,
    AdminAccess,
    Direction,
    Network,
    PortRange,
    RuleProtocol,
    SecurityAdminRule,
    key,
)
from harness.policy.decision import DecisionKind
from tests.harness.network.builders import arm_id, nsg, vnet_id
from tests.harness.policy.networks import DENY_IN, ask, tiers

COLLECTION = arm_id("networkManagers", "m") + "/securityAdminConfigurations/c/ruleCollections/rc"


def admin(name: str, priority: int, access: AdminAccess, **more: Any) -> SecurityAdminRule:
    return SecurityAdminRule(
        id=f"{COLLECTION}/rules/{name}",
        name=name,
        direction=more.get("direction", Direction.INBOUND),
        priority=priority,
        access=access,
        protocol=more.get("protocol", RuleProtocol.ANY),
        source=AddressSelector(any=True),
        source_ports=(ANY_PORT,),
        destination=AddressSelector(any=True),
        destination_ports=(more.get("ports", ANY_PORT),),
    )


def ruled(net: Network, *rules: SecurityAdminRule) -> Network:
    return replace(net, admin_rules={key(vnet_id("v")): rules})


SQL = PortRange(1433, 1433)


@pytest.mark.parametrize("direction", list(Direction))
def test_deny_comes_before_an_nsg_that_allows(direction: Direction) -> None:
    found = ask(ruled(tiers(nsg("n")), admin("no-sql", 10, AdminAccess.DENY, ports=SQL, direction=direction)),
                "web-01", "db-01")  # fmt: skip
    assert (found.cause, found.rule) == (Cause.ADMIN_RULE, "no-sql")
    assert found.fix == (
        "az network manager security-admin-config rule-collection rule delete --resource-group rg"
        " --network-manager-name m --configuration-name c --rule-collection-name rc --rule-name no-sql",
    )
    assert ask(
        ruled(tiers(), admin("no-sql", 10, AdminAccess.DENY, ports=SQL)), "web-01", "db-01", 80
    ).allowed


def test_always_allow_delivers_past_an_nsg_that_denies() -> None:
    net = tiers(nsg("n", DENY_IN), nsgs={"db": "n"})
    assert not ask(net, "web-01", "db-01").allowed
    found = ask(ruled(net, admin("must", 10, AdminAccess.ALWAYS_ALLOW)), "web-01", "db-01")
    assert found.allowed
    assert [d.rule for d in found.decisions if d.kind is DecisionKind.ADMIN_RULE] == ["must"]
    assert not any(d.kind is DecisionKind.NSG and d.rule for d in found.decisions)


def test_allow_leaves_the_verdict_to_the_nsgs() -> None:
    net = tiers(nsg("n", DENY_IN), nsgs={"db": "n"})
    found = ask(ruled(net, admin("may", 10, AdminAccess.ALLOW)), "web-01", "db-01")
    assert found.cause is Cause.SUBNET_NSG_INBOUND


def test_lowest_priority_number_decides() -> None:
    rules = (admin("first", 1, AdminAccess.ALWAYS_ALLOW), admin("second", 2, AdminAccess.DENY))
    assert ask(ruled(tiers(), *rules), "web-01", "db-01").allowed


def test_other_virtual_networks_are_not_touched() -> None:
    net = replace(tiers(), admin_rules={key(vnet_id("other")): (admin("no", 1, AdminAccess.DENY),)})
    assert ask(net, "web-01", "db-01").allowed
