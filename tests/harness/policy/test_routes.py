"""Where routes lead a flow and its answer: None, appliances, loops, dead ends."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import Network, NextHopType
from harness.network.snapshot import network_from_resources
from harness.policy.decision import DecisionKind, Way
from harness.policy.routing import effective_routes
from lab.labfile import LabFile
from lab.resources import to_resources
from tests.harness.network.builders import (
    machine,
    network,
    nic_id,
    nsg,
    peering,
    route,
    rule,
    table,
    vnet,
)
from tests.harness.policy.networks import ask, tiers

# -- routes ---------------------------------------------------------------------------------


def routed(*routes: Any, **more: Any) -> Network:
    return tiers(table("t", *routes), tables={"web": "t"}, **more)


def test_route_to_none() -> None:
    found = ask(routed(route("hole", "10.0.2.0/24", "None")), "web-01", "db-01")
    assert found.cause is Cause.ROUTE_TO_NONE
    assert found.route is not None
    assert (str(found.route.prefix), found.route.next_hop_type, found.route.source) == (
        "10.0.2.0/24",
        "None",
        "User",
    )
    assert found.rule is None
    assert found.fix == (
        "az network route-table route delete --resource-group rg --route-table-name t --name hole",
    )


def test_longest_prefix_wins_and_user_route_wins_a_tie() -> None:
    long = routed(route("hole", "10.0.0.0/8", "None"))
    assert ask(long, "web-01", "db-01").allowed
    tie = routed(route("hole", "10.0.0.0/16", "None"))
    assert ask(tie, "web-01", "db-01").cause is Cause.ROUTE_TO_NONE
    longer = routed(route("hole", "10.0.0.0/16", "None"), route("back", "10.0.2.4/32", "VnetLocal"))
    found = ask(longer, "web-01", "db-01")
    assert found.allowed
    assert found.route is not None
    assert (str(found.route.prefix), found.route.source) == ("10.0.2.4/32", "User")


def test_route_to_none_on_the_way_back() -> None:
    net = tiers(table("t", route("hole", "10.0.1.0/24", "None")), tables={"db": "t"})
    found = ask(net, "web-01", "db-01")
    assert found.cause is Cause.ROUTE_TO_NONE
    assert found.deciding is not None
    assert found.deciding.way is Way.RETURN


def test_private_addresses_outside_go_to_none() -> None:
    found = ask(tiers(), "web-01", "192.168.7.7")
    assert found.cause is Cause.ROUTE_TO_NONE
    assert found.route is not None
    assert (str(found.route.prefix), found.route.source) == ("192.168.0.0/16", "Default")


def test_internet_route_for_a_private_address_is_a_dead_end() -> None:
    found = ask(routed(route("out", "10.0.2.0/24", "Internet")), "web-01", "db-01")
    assert found.cause is Cause.ROUTE_TO_NONE


def test_unused_address_is_silent() -> None:
    found = ask(tiers(), "web-01", "10.0.2.99")
    assert (found.verdict, found.cause) == ("deny", None)
    assert "10.0.2.99" in (found.deciding.why if found.deciding else "")


def test_route_to_a_gateway_that_is_not_there() -> None:
    found = ask(routed(route("vpn", "192.168.0.0/16", "VirtualNetworkGateway")), "web-01", "192.168.1.1")
    assert found.cause is Cause.NO_GATEWAY


def test_service_tag_routes_cannot_be_told_without_a_tags_file() -> None:
    tagged = routed(route("storage", "Storage.WestEurope", "Internet"))
    with pytest.raises(InputError, match=r"Storage\.WestEurope"):
        ask(tagged, "web-01", "198.51.100.1", 443)
    assert ask(tagged, "web-01", "db-01").allowed


# -- appliances -----------------------------------------------------------------------------


def hub(
    *,
    forwarding: bool = True,
    back: bool = True,
    there: bool = True,
    nva_nsg: list[Any] | None = None,
    hop: str = "10.0.9.4",
) -> Network:
    """web -> nva -> db in one VNet; ``back`` routes db's answers over the appliance as well."""
    forth = [route("to-db", "10.0.2.0/24", "VirtualAppliance", hop)] if there else []
    home = [route("to-web", "10.0.1.0/24", "VirtualAppliance", hop)] if back else []
    return network(
        vnet(
            "v",
            "10.0.0.0/16",
            {"web": "10.0.1.0/24", "db": "10.0.2.0/24", "nva": "10.0.9.0/24"},
            tables={"web": "forth", "db": "back"},
        ),
        table("forth", *forth),
        table("back", *home),
        machine("web-01", "v/web", "10.0.1.4"),
        machine("db-01", "v/db", "10.0.2.4"),
        machine(
            "nva-01", "v/nva", "10.0.9.4", forwarding=forwarding, nsg="nva" if nva_nsg is not None else None
        ),
        *([nsg("nva", *nva_nsg)] if nva_nsg is not None else []),
    )


def test_appliance_forwards_both_ways() -> None:
    found = ask(hub(), "web-01", "db-01")
    assert found.allowed
    appliances = [d for d in found.decisions if d.kind is DecisionKind.APPLIANCE]
    assert [(d.way, d.nic_id) for d in appliances] == [
        (Way.FORWARD, nic_id("nic-nva-01")),
        (Way.RETURN, nic_id("nic-nva-01")),
    ]
    assert found.route is not None
    assert str(found.route.next_hop_ip) == "10.0.9.4"


def test_appliance_that_is_gone() -> None:
    found = ask(hub(hop="10.0.9.77"), "web-01", "db-01")
    assert found.cause is Cause.APPLIANCE_UNREACHABLE
    assert found.route is not None
    assert found.route.name == "to-db"


def test_appliance_without_forwarding() -> None:
    found = ask(hub(forwarding=False), "web-01", "db-01")
    assert found.cause is Cause.APPLIANCE_NOT_FORWARDING
    assert found.fix == (f"az network nic update --ids {nic_id('nic-nva-01')} --ip-forwarding true",)


@pytest.mark.parametrize("direction", ["Inbound", "Outbound"])
def test_appliances_own_nsg(direction: str) -> None:
    found = ask(hub(nva_nsg=[rule("no", 100, "Deny", direction, ports="1433")]), "web-01", "db-01")
    assert (found.cause, found.rule) == (Cause.APPLIANCE_NSG, "nva/no")


def test_asymmetric_return_through_a_port_that_never_saw_the_syn() -> None:
    found = ask(hub(there=False, nva_nsg=[rule("no", 100, "Deny")]), "web-01", "db-01")
    assert (found.cause, found.rule) == (Cause.ASYMMETRIC_RETURN, "nva/no")
    assert found.fix[0].endswith("--route-table-name back --name to-web")
    open_port = ask(hub(there=False, nva_nsg=[]), "web-01", "db-01")
    assert open_port.allowed


def test_answer_may_come_back_directly() -> None:
    """The source's own port saw the SYN leave; that the answer skips the appliance is no denial."""
    assert ask(
        hub(back=False, nva_nsg=[rule("no-answers", 100, "Deny", source="10.0.2.0/24")]), "web-01", "db-01"
    ).allowed


def test_the_return_appliance_must_live() -> None:
    gone = hub(there=False, hop="10.0.9.77")
    assert ask(gone, "web-01", "db-01").cause is Cause.APPLIANCE_UNREACHABLE
    assert ask(hub(there=False, forwarding=False), "web-01", "db-01").cause is Cause.APPLIANCE_NOT_FORWARDING


def test_appliance_that_is_the_target_receives() -> None:
    net = routed(route("to-db", "10.0.2.0/24", "VirtualAppliance", "10.0.2.4"))
    assert ask(net, "web-01", "db-01").allowed


def test_routing_loop() -> None:
    net = network(
        vnet(
            "v",
            "10.0.0.0/16",
            {"web": "10.0.1.0/24", "db": "10.0.2.0/24", "a": "10.0.8.0/24", "b": "10.0.9.0/24"},
            tables={"web": "ta", "a": "tb", "b": "ta"},
        ),
        table("ta", route("x", "10.0.2.0/24", "VirtualAppliance", "10.0.8.4")),
        table("tb", route("x", "10.0.2.0/24", "VirtualAppliance", "10.0.9.4")),
        machine("web-01", "v/web", "10.0.1.4"),
        machine("db-01", "v/db", "10.0.2.4"),
        machine("nva-a", "v/a", "10.0.8.4", forwarding=True),
        machine("nva-b", "v/b", "10.0.9.4", forwarding=True),
    )
    found = ask(net, "web-01", "db-01")
    assert found.cause is Cause.APPLIANCE_UNREACHABLE
    assert "loop" in (found.deciding.why if found.deciding else "")


@pytest.mark.parametrize(("prefix", "listed"), [("0.0.0.0/0", False), ("0.0.0.0/1", True)])
def test_a_users_own_default_route_takes_the_reserved_ranges_too(prefix: str, listed: bool) -> None:
    """As every published effective route table with a user's 0.0.0.0/0 shows: no route to None in it."""
    lab = {
        "vnets": {
            "v": {
                "address_space": "10.1.0.0/16",
                "subnets": {"s": {"prefix": "10.1.0.0/24", "route_table": "r"}},
            }
        },
        "route_tables": {"r": [{"name": "all", "prefix": prefix, "next_hop": "10.1.0.9"}]},
        "vms": {"a": {"subnet": "s"}},
    }
    known = network_from_resources(to_resources(LabFile.model_validate(lab)), "test")
    (nic,) = known.nics.values()
    none = {
        str(route.prefix) for route in effective_routes(known, nic) if route.next_hop_type is NextHopType.NONE
    }
    assert ("10.0.0.0/8" in none) is listed


def test_a_route_table_can_do_without_the_routes_of_peerings() -> None:
    net = network(
        vnet("a", "10.1.0.0/16", {"s": "10.1.0.0/24"}, [peering("a", "b", "10.2.0.0/16")], tables={"s": "t"}),
        vnet("b", "10.2.0.0/16", {"s": "10.2.0.0/24"}, [peering("b", "a", "10.1.0.0/16")]),
        table("t", disablePeeringRoute="All"),
        machine("a1", "a/s", "10.1.0.4"),
        machine("b1", "b/s", "10.2.0.4"),
    )
    found = ask(net, "a1", "b1")
    assert (found.cause, found.route.next_hop_type if found.route else None) == (
        Cause.ROUTE_TO_NONE,
        NextHopType.NONE,
    )
