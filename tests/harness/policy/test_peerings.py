"""Peerings: state, access, forwarded traffic, and what is not transitive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import AdminAccess, Network, key
from harness.policy.compiled import DOCUMENTED
from harness.policy.decision import Explanation, Options, Way
from harness.policy.reachability import reachability
from tests.harness.network.builders import (
    machine,
    network,
    nsg,
    peering,
    route,
    rule,
    table,
    vnet,
    vnet_id,
)
from tests.harness.policy.networks import TCP, ask
from tests.harness.policy.test_admin_rules import admin

# -- peerings -------------------------------------------------------------------------------


def spokes(*peerings: Any, nsgs: bool = False, extra: tuple[Any, ...] = (), **more: Any) -> Network:
    """VNets a (10.1/16) and b (10.2/16) with a VM each."""
    groups = {"nsgs": {"s": "n"}} if nsgs else {}
    mine = [p for p in peerings if "/a/" in p["id"].lower().replace("virtualnetworks/a/", "/a/")]
    theirs = [p for p in peerings if p not in mine]
    return network(
        vnet("a", "10.1.0.0/16", {"s": "10.1.0.0/24"}, mine, **groups),
        vnet("b", "10.2.0.0/16", {"s": "10.2.0.0/24"}, theirs, **groups),
        *([nsg("n", *more.pop("rules", ()))] if nsgs else []),
        machine("a1", "a/s", "10.1.0.4"),
        machine("b1", "b/s", "10.2.0.4"),
        *extra,
    )


def ab(**more: Any) -> Any:
    return peering("a", "b", "10.2.0.0/16", **more)


def ba(**more: Any) -> Any:
    return peering("b", "a", "10.1.0.0/16", **more)


@pytest.mark.parametrize("nsgs", [False, True], ids=["no-nsg", "default-nsgs"])
@pytest.mark.parametrize(
    ("peerings", "cause"),
    [
        ((), Cause.NO_PEERING),
        ((ab(), ba()), None),
        ((ab(state="Initiated"),), Cause.PEERING_NOT_CONNECTED),
        ((ab(state="Disconnected"), ba(state="Disconnected")), Cause.PEERING_NOT_CONNECTED),
        ((ab(),), Cause.NO_PEERING),
        ((ab(), ba(state="Initiated")), Cause.PEERING_NOT_CONNECTED),
        ((ab(access=False), ba(access=False)), Cause.PEERING_ACCESS_DISABLED),
        ((ab(access=False), ba()), Cause.PEERING_ACCESS_DISABLED),
        ((ab(), ba(access=False)), Cause.PEERING_ACCESS_DISABLED),
    ],
    ids=[
        "none",
        "both",
        "initiated",
        "disconnected",
        "one-sided",
        "other-initiated",
        "access-off",
        "access-off-a",
        "access-off-b",
    ],
)
def test_peerings(peerings: tuple[Any, ...], cause: Cause | None, nsgs: bool) -> None:
    found = ask(spokes(*peerings, nsgs=nsgs), "a1", "b1")
    assert found.cause is cause
    assert found.allowed is (cause is None)
    if cause is not None:
        assert found.fix
        assert all(command.startswith("az network vnet peering ") for command in found.fix)


def test_one_sided_peering_is_denied_on_the_way_back() -> None:
    found = ask(spokes(ab()), "a1", "b1")
    assert found.deciding is not None
    assert found.deciding.way is Way.RETURN


def test_access_off_lets_explicit_rules_through() -> None:
    """Azure-facts, "Routing": the flag takes the peer's space out of VirtualNetwork, nothing else."""
    explicit = [
        rule("out", 100, "Allow", "Outbound", source="10.0.0.0/8", destination="10.0.0.0/8"),
        rule("in", 100, "Allow", source="10.0.0.0/8", destination="10.0.0.0/8"),
    ]
    closed = (ab(access=False), ba(access=False))
    assert ask(spokes(*closed, nsgs=True, rules=explicit), "a1", "b1").allowed
    wildcard = [rule("out", 100, "Allow", "Outbound"), rule("in", 100, "Allow")]
    found = ask(spokes(*closed, nsgs=True, rules=wildcard), "a1", "b1")
    assert found.cause is Cause.PEERING_ACCESS_DISABLED
    strict = ask(
        spokes(*closed, nsgs=True, rules=explicit), "a1", "b1", options=Options(peering_access="no-traffic")
    )
    assert strict.cause is Cause.PEERING_ACCESS_DISABLED


def star(*, forwarded: bool = True, routes: bool = True, hub_forwarding: bool = True) -> Network:
    """Hub with an appliance, spokes a and b that are peered with the hub only."""
    spoke_routes = {"tables": {"s": "ta"}}, {"tables": {"s": "tb"}}
    return network(
        vnet(
            "hub",
            "10.0.0.0/16",
            {"nva": "10.0.0.0/24"},
            [
                peering("hub", "a", "10.1.0.0/16", forwarded=forwarded),
                peering("hub", "b", "10.2.0.0/16", forwarded=forwarded),
            ],
        ),
        vnet(
            "a",
            "10.1.0.0/16",
            {"s": "10.1.0.0/24"},
            [peering("a", "hub", "10.0.0.0/16", forwarded=forwarded)],
            **(spoke_routes[0] if routes else {}),
        ),
        vnet(
            "b",
            "10.2.0.0/16",
            {"s": "10.2.0.0/24"},
            [peering("b", "hub", "10.0.0.0/16", forwarded=forwarded)],
            **(spoke_routes[1] if routes else {}),
        ),
        table("ta", route("to-b", "10.2.0.0/16", "VirtualAppliance", "10.0.0.4")),
        table("tb", route("to-a", "10.1.0.0/16", "VirtualAppliance", "10.0.0.4")),
        machine("nva", "hub/nva", "10.0.0.4", forwarding=hub_forwarding),
        machine("a1", "a/s", "10.1.0.4"),
        machine("b1", "b/s", "10.2.0.4"),
    )


def test_spoke_to_spoke_through_the_hubs_appliance() -> None:
    assert ask(star(), "a1", "b1").allowed
    assert ask(star(), "a1", "nva").allowed


def test_peering_is_not_transitive() -> None:
    assert ask(star(routes=False), "a1", "b1").cause is Cause.NOT_TRANSITIVE


def test_forwarded_traffic_refused() -> None:
    found = ask(star(forwarded=False), "a1", "b1")
    assert found.cause is Cause.FORWARDED_TRAFFIC_REFUSED
    assert found.fix == (
        "az network vnet peering update --resource-group rg --vnet-name b --name b-hub"
        " --set allowForwardedTraffic=true",
    )
    assert ask(star(forwarded=False), "a1", "nva").allowed
    assert ask(star(forwarded=False), "a1", "b1", options=Options(forwarded_traffic="not-enforced")).allowed


def test_an_admin_rule_does_not_open_a_closed_peering_and_neither_does_a_denial() -> None:
    """AlwaysAllow skips the NSGs, not the peering: a Deny that is never asked opens nothing."""

    def asked(*rules: Any, options: Options = DOCUMENTED) -> Explanation:
        net = network(
            vnet("a", "10.1.0.0/16", {"s": "10.1.0.0/24"}, [peering("a", "b", "10.2.0.0/16", access=False)]),
            vnet("b", "10.2.0.0/16", {"s": "10.2.0.0/24"}, [peering("b", "a", "10.1.0.0/16", access=False)],
                 nsgs={"s": "n"}),
            nsg("n", *rules),
            machine("a1", "a/s", "10.1.0.4"),
            machine("b1", "b/s", "10.2.0.4"),
        )  # fmt: skip
        always = admin("always", 1, AdminAccess.ALWAYS_ALLOW)
        net = replace(net, admin_rules={key(vnet_id("b")): (always,)})
        found = ask(net, "a1", "b1", 80, options=options)
        assert reachability(net, options=options).ports(0, 1).holds(TCP, 80) is found.allowed
        return found

    deny = rule("deny", 100, "Deny", ports="80")
    explicit = rule("allow", 100, "Allow", ports="80", source="10.1.0.4")
    assert asked().cause is Cause.PEERING_ACCESS_DISABLED
    assert asked(deny).cause is Cause.PEERING_ACCESS_DISABLED
    assert asked(explicit).allowed
    assert not asked(explicit, options=Options(peering_access="no-traffic")).allowed


def test_appliance_in_a_vnet_that_is_not_peered() -> None:
    net = network(
        vnet("a", "10.1.0.0/16", {"s": "10.1.0.0/24"}, tables={"s": "t"}),
        vnet("b", "10.2.0.0/16", {"s": "10.2.0.0/24"}),
        table("t", route("x", "10.1.0.9/32", "VirtualAppliance", "10.2.0.4")),
        machine("a1", "a/s", "10.1.0.4"),
        machine("a2", "a/s", "10.1.0.9"),
        machine("b1", "b/s", "10.2.0.4", forwarding=True),
    )
    assert ask(net, "a1", "a2").cause is Cause.APPLIANCE_UNREACHABLE


def test_peer_outside_the_snapshot_cannot_be_told() -> None:
    net = network(
        vnet("a", "10.1.0.0/16", {"s": "10.1.0.0/24"}, [ab()]),
        machine("a1", "a/s", "10.1.0.4"),
    )
    with pytest.raises(InputError, match="not in the snapshot"):
        ask(net, "a1", "10.2.0.4")
