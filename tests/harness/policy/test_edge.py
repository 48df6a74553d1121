"""The internet, public addresses, addresses that no NIC has, IPv6, and the fixes that are proposed."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import Network
from harness.policy.decision import Way
from tests.harness.network.builders import (
    arm_id,
    machine,
    network,
    nsg,
    public_ip,
    resource,
    route,
    rule,
    table,
    vnet,
)
from tests.harness.policy.networks import CLOSED_IN, DENY_IN, ICMP, ask, tiers

# -- internet -------------------------------------------------------------------------------


def test_outbound_to_the_internet() -> None:
    found = ask(tiers(nsg("n"), web={"nsg": "n"}), "web-01", "198.51.100.9", 443)
    assert (found.verdict, found.rule) == ("allow", "n/AllowInternetOutBound")
    assert found.route is not None
    assert found.route.next_hop_type == "Internet"
    denied = nsg("n", rule("no-internet", 4000, "Deny", "Outbound", destination="Internet"))
    found = ask(tiers(denied, web={"nsg": "n"}), "web-01", "198.51.100.9", 443)
    assert (found.cause, found.rule) == (Cause.NIC_NSG_OUTBOUND, "n/no-internet")


def test_inbound_from_the_internet_needs_a_public_ip_and_a_rule() -> None:
    bare = ask(tiers(), "198.51.100.9", "db-01")
    assert (bare.verdict, bare.cause) == ("deny", Cause.NO_INBOUND_RULE)
    open_in = nsg("n", rule("sql", 100, "Allow", source="Internet", ports="1433"))
    found = ask(
        tiers(open_in, public_ip("p", "203.0.113.7"), db={"nsg": "n", "public_ip": "p"}),
        "198.51.100.9",
        "db-01",
    )
    assert (found.verdict, found.rule) == ("allow", "n/sql")
    by_address = ask(
        tiers(open_in, public_ip("p", "203.0.113.7"), db={"nsg": "n", "public_ip": "p"}),
        "198.51.100.9",
        "203.0.113.7",
    )
    assert by_address.allowed


@pytest.mark.parametrize(("sku", "cause"), [("Standard", Cause.DEFAULT_DENY), ("Basic", None)])
def test_public_ip_without_any_nsg_by_sku(sku: str, cause: Cause | None) -> None:
    net = tiers(public_ip("p", "203.0.113.7", sku), db={"public_ip": "p"})
    assert ask(net, "198.51.100.9", "db-01").cause is cause


def test_answer_to_the_internet_through_an_appliance_is_asymmetric() -> None:
    net = tiers(
        nsg("n", rule("sql", 100, "Allow", ports="1433")),
        public_ip("p", "203.0.113.7"),
        table("t", route("out", "0.0.0.0/0", "VirtualAppliance", "10.0.1.4")),
        tables={"db": "t"},
        web={"forwarding": True},
        db={"nsg": "n", "public_ip": "p"},
    )
    assert ask(net, "198.51.100.9", "db-01").cause is Cause.ASYMMETRIC_RETURN


def test_vm_to_anothers_public_address() -> None:
    net = tiers(
        nsg("n", rule("web-only", 100, "Allow", source="203.0.113.8"), CLOSED_IN),
        public_ip("p", "203.0.113.7"),
        public_ip("q", "203.0.113.8"),
        web={"public_ip": "q"},
        db={"nsg": "n", "public_ip": "p"},
    )
    found = ask(net, "web-01", "203.0.113.7")
    assert (found.verdict, found.rule) == ("allow", "n/web-only")
    alone = tiers(nsg("n"), public_ip("p", "203.0.113.7"), db={"nsg": "n", "public_ip": "p"})
    with pytest.raises(InputError, match="which public address"):
        ask(alone, "web-01", "203.0.113.7")


def test_unknown_private_sender() -> None:
    """Judged as if it existed: an address in the VNet may come in, one that nothing leads back to may not."""
    net = tiers(nsg("n"), nsgs={"db": "n"})
    assert ask(net, "10.0.1.99", "db-01").allowed
    assert ask(net, "192.168.1.1", "db-01").rule == "n/DenyAllInBound"
    back = ask(tiers(), "192.168.1.1", "db-01")
    assert back.cause is Cause.ROUTE_TO_NONE
    assert back.deciding is not None
    assert back.deciding.way is Way.RETURN


# -- IPv6 -----------------------------------------------------------------------------------


def dual(*extra: Any, **more: Any) -> Network:
    return network(
        vnet(
            "v",
            ["10.0.0.0/16", "fd00:1::/48"],
            {"web": ["10.0.1.0/24", "fd00:1:0:1::/64"], "db": ["10.0.2.0/24", "fd00:1:0:2::/64"]},
            **more,
        ),
        machine("web-01", "v/web", "10.0.1.4", "fd00:1:0:1::4"),
        machine("db-01", "v/db", "10.0.2.4", "fd00:1:0:2::4"),
        machine("six", "v/db", "10.0.2.6", "fd00:1:0:2::6"),
        *extra,
    )


def test_ipv6() -> None:
    net = dual(nsg("n", rule("no6", 100, "Deny", source="::/0")), nsgs={"db": "n"})
    assert ask(net, "web-01", "db-01").allowed
    assert ask(net, "web-01", "db-01", family=6).rule == "n/no6"
    assert ask(net, "web-01", "fd00:1:0:2::4").rule == "n/no6"
    plain = dual(nsg("n"), nsgs={"db": "n", "web": "n"})
    found = ask(plain, "web-01", "db-01", None, ICMP, family=6)
    assert (found.verdict, found.rule) == ("allow", "n/AllowVnetInBound")
    assert str(found.target_address) == "fd00:1:0:2::4"
    hole = dual(table("t", route("hole", "fd00:1:0:2::/64", "None")), tables={"web": "t"})
    assert ask(hole, "web-01", "db-01", family=6).cause is Cause.ROUTE_TO_NONE
    assert ask(hole, "web-01", "db-01").allowed
    # no method of leaving without a public address of one's own is documented for IPv6
    assert ask(dual(), "web-01", "2001:db8::1").cause is Cause.NO_OUTBOUND
    assert ask(dual(), "web-01", "fd99::1").cause is Cause.ROUTE_TO_NONE


# -- fixes ----------------------------------------------------------------------------------


def test_fix_for_a_rule_allows_this_flow_just_before_the_denial() -> None:
    net = tiers(nsg("n", DENY_IN, rule("other", 199, "Allow", ports="80")), nsgs={"db": "n"})
    assert ask(net, "web-01", "db-01").fix == (
        "az network nsg rule create --resource-group rg --nsg-name n --name allow-tcp-1433-198 --priority 198"
        " --direction Inbound --access Allow --protocol Tcp --source-address-prefixes 10.0.1.4"
        " --source-port-ranges '*' --destination-address-prefixes 10.0.2.4 --destination-port-ranges 1433",
    )


def test_fix_works() -> None:
    """The proposed rule, put into the network, lets the flow through."""
    net = tiers(nsg("n", DENY_IN), nsgs={"db": "n"})
    priority = int(ask(net, "web-01", "db-01").fix[0].split("--priority ")[1].split()[0])
    fixed = rule(
        "fix", priority, "Allow", protocol="Tcp", source="10.0.1.4", destination="10.0.2.4", ports="1433"
    )
    assert ask(tiers(nsg("n", DENY_IN, fixed), nsgs={"db": "n"}), "web-01", "db-01").allowed


def test_fix_goes_on_to_what_would_deny_next() -> None:
    inner = nsg("inner", rule("also", 300, "Deny", protocol="Tcp", ports="1433"))
    net = tiers(nsg("n", DENY_IN), inner, nsgs={"db": "n"}, db={"nsg": "inner"})
    fix = ask(net, "web-01", "db-01").fix
    assert [command.split("--nsg-name ")[1].split()[0] for command in fix] == ["n", "inner"]


def test_names_in_fixes_are_quoted_for_the_shell() -> None:
    net = tiers(table("t", route("x; rm -rf $HOME", "10.0.2.0/24", "None")), tables={"web": "t"})
    assert "--name 'x; rm -rf $HOME'" in ask(net, "web-01", "db-01").fix[0]


def test_unmodelled_resources_are_named_where_they_might_answer() -> None:
    balancer = resource(arm_id("privateEndpoints", "lb"), "Microsoft.Network/privateEndpoints", {})
    found = ask(tiers(balancer), "web-01", "10.0.2.99")
    assert "privateEndpoints" in (found.deciding.why if found.deciding else "")
