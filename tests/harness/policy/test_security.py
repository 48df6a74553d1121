"""What network security groups and service tags do to a flow: network, flow, cause and rule."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import InputError
from harness.model import Cause
from harness.network.model import Access, Network
from harness.policy.decision import DecisionKind, Explanation, Options, Way
from tests.harness.network.builders import (
    arm_id,
    asg,
    machine,
    nsg,
    public_ip,
    ref,
    route,
    rule,
    table,
)
from tests.harness.policy.networks import CLOSED_IN, DENY_IN, DENY_OUT, ICMP, UDP, ask, tiers

# -- security groups ------------------------------------------------------------------------


NSG_CASES: dict[str, tuple[Network, Cause | None, str | None]] = {
    "no-nsg-anywhere": (tiers(), None, None),
    "default-rules-allow": (
        tiers(nsg("n"), nsgs={"db": "n"}),
        None,
        "n/AllowVnetInBound",
    ),
    "subnet-inbound": (tiers(nsg("n", DENY_IN), nsgs={"db": "n"}), Cause.SUBNET_NSG_INBOUND, "n/deny-sql"),
    "subnet-outbound": (
        tiers(nsg("n", DENY_OUT), nsgs={"web": "n"}),
        Cause.SUBNET_NSG_OUTBOUND,
        "n/deny-sql",
    ),
    "nic-inbound": (tiers(nsg("n", DENY_IN), db={"nsg": "n"}), Cause.NIC_NSG_INBOUND, "n/deny-sql"),
    "nic-outbound": (tiers(nsg("n", DENY_OUT), web={"nsg": "n"}), Cause.NIC_NSG_OUTBOUND, "n/deny-sql"),
    "inbound-rules-do-not-judge-outbound": (
        tiers(nsg("n", DENY_IN), nsgs={"web": "n"}),
        None,
        "n/AllowVnetOutBound",
    ),
    "both-levels-must-allow": (
        tiers(
            nsg("open", rule("allow", 100, "Allow")), nsg("n", DENY_IN), nsgs={"db": "open"}, db={"nsg": "n"}
        ),
        Cause.NIC_NSG_INBOUND,
        "n/deny-sql",
    ),
    "inbound-asks-subnet-before-nic": (
        tiers(nsg("s", DENY_IN), nsg("n", DENY_IN), nsgs={"db": "s"}, db={"nsg": "n"}),
        Cause.SUBNET_NSG_INBOUND,
        "s/deny-sql",
    ),
    "outbound-asks-nic-before-subnet": (
        tiers(nsg("s", DENY_OUT), nsg("n", DENY_OUT), nsgs={"web": "s"}, web={"nsg": "n"}),
        Cause.NIC_NSG_OUTBOUND,
        "n/deny-sql",
    ),
    "first-match-wins": (
        tiers(nsg("n", rule("allow-sql", 150, "Allow", ports="1433"), DENY_IN), nsgs={"db": "n"}),
        None,
        "n/allow-sql",
    ),
    "other-protocol-does-not-match": (
        tiers(nsg("n", rule("deny-udp", 100, "Deny", protocol="UDP", ports="1433")), nsgs={"db": "n"}),
        None,
        "n/AllowVnetInBound",
    ),
    "port-range": (
        tiers(nsg("n", rule("deny", 100, "Deny", ports=["80", "1400-1500"])), nsgs={"db": "n"}),
        Cause.SUBNET_NSG_INBOUND,
        "n/deny",
    ),
    "source-port-is-the-clients": (
        tiers(nsg("n", rule("deny", 100, "Deny", source_ports="49152")), nsgs={"db": "n"}),
        Cause.SUBNET_NSG_INBOUND,
        "n/deny",
    ),
    "source-prefix": (
        tiers(nsg("n", rule("deny", 100, "Deny", source="10.0.1.4")), nsgs={"db": "n"}),
        Cause.SUBNET_NSG_INBOUND,
        "n/deny",
    ),
    "source-prefix-of-others": (
        tiers(nsg("n", rule("deny", 100, "Deny", source=["10.0.1.5/32", "10.9.0.0/16"])), nsgs={"db": "n"}),
        None,
        "n/AllowVnetInBound",
    ),
    "any-ipv4": (
        tiers(nsg("n", rule("deny", 100, "Deny", source="0.0.0.0/0", destination="Any")), nsgs={"db": "n"}),
        Cause.SUBNET_NSG_INBOUND,
        "n/deny",
    ),
    "last-allow-named-is-the-target-nics": (
        tiers(nsg("s"), nsg("n", rule("ok", 100, "Allow")), nsgs={"db": "s", "web": "s"}, db={"nsg": "n"}),
        None,
        "n/ok",
    ),
    "allow-list-without-this-source": (
        tiers(nsg("n", rule("allow-app", 100, "Allow", source="10.0.9.0/24"), CLOSED_IN), nsgs={"db": "n"}),
        Cause.SUBNET_NSG_INBOUND,
        "n/deny-rest",
    ),
    "tag-in-any-case": (
        tiers(nsg("n", rule("deny", 100, "Deny", source="virtualnetwork")), nsgs={"db": "n"}),
        Cause.SUBNET_NSG_INBOUND,
        "n/deny",
    ),
    "source-not-in-asg": (
        tiers(
            asg("clients"),
            nsg(
                "n",
                rule(
                    "allow",
                    100,
                    "Allow",
                    source=[],
                    sourceApplicationSecurityGroups=[ref(arm_id("applicationSecurityGroups", "clients"))],
                ),
                CLOSED_IN,
            ),
            nsgs={"db": "n"},
        ),
        Cause.ASG_MEMBERSHIP,
        "n/deny-rest",
    ),
    "source-in-asg": (
        tiers(
            asg("clients"),
            nsg(
                "n",
                rule(
                    "allow",
                    100,
                    "Allow",
                    source=[],
                    sourceApplicationSecurityGroups=[ref(arm_id("applicationSecurityGroups", "CLIENTS"))],
                ),
                CLOSED_IN,
            ),
            nsgs={"db": "n"},
            web={"asgs": ["clients"]},
        ),
        None,
        "n/allow",
    ),
}


@pytest.mark.parametrize(("net", "cause", "name"), NSG_CASES.values(), ids=NSG_CASES)
def test_security_groups(net: Network, cause: Cause | None, name: str | None) -> None:
    found = ask(net, "web-01", "db-01")
    assert (found.cause, found.rule) == (cause, name)
    assert found.verdict == ("deny" if cause else "allow")
    assert found.deciding is not None
    assert found.deciding.access is (Access.DENY if cause else Access.ALLOW)


def test_same_subnet_is_filtered_too() -> None:
    net = tiers(nsg("n", DENY_IN), machine("db-02", "v/db", "10.0.2.5"), nsgs={"db": "n"})
    assert ask(net, "db-01", "db-02").cause is Cause.SUBNET_NSG_INBOUND
    assert ask(net, "db-01", "db-02", 80).allowed


def test_answer_is_not_judged_by_rules() -> None:
    """State: the answer passes both groups though neither would let it start a flow."""
    net = tiers(
        nsg("w", rule("no-entry", 100, "Deny")),
        nsg("d", rule("no-exit", 100, "Deny", "Outbound")),
        nsgs={"web": "w", "db": "d"},
    )
    found = ask(net, "web-01", "db-01")
    assert found.allowed
    assert [d.kind for d in found.decisions if d.way is Way.RETURN] == [
        DecisionKind.STATE,
        DecisionKind.ROUTE,
        DecisionKind.STATE,
        DecisionKind.DELIVERY,
    ]
    assert not ask(net, "db-01", "web-01").allowed


@pytest.mark.parametrize(
    ("protocol", "ports", "denied"),
    [("Icmp", "*", True), ("ICMP", "80", True), ("*", "*", True), ("*", "80", False), ("Tcp", "*", False)],
)
def test_icmp_and_ports(protocol: str, ports: str, denied: bool) -> None:
    net = tiers(nsg("n", rule("deny", 100, "Deny", protocol=protocol, ports=ports)), nsgs={"db": "n"})
    assert ask(net, "web-01", "db-01", None, ICMP).allowed is not denied


def test_default_deny_names_the_default_rule() -> None:
    net = tiers(nsg("n"), public_ip("p", "203.0.113.7"), db={"nsg": "n", "public_ip": "p"})
    found = ask(net, "198.51.100.9", "db-01")
    assert (found.cause, found.rule) == (Cause.DEFAULT_DENY, "n/DenyAllInBound")
    found = ask(tiers(nsg("n"), web={"nsg": "n"}), "web-01", "172.31.0.100")
    assert (found.cause, found.rule) == (Cause.DEFAULT_DENY, "n/DenyAllOutBound")


@pytest.mark.parametrize("tag", ["Storage", "Sql.WestEurope", "NoSuchTag"])
def test_unknown_tag_is_an_error_only_where_it_could_decide(tag: str) -> None:
    by_tag = rule("by-tag", 100, "Deny", ports="1433", source=tag, protocol="Tcp")
    net = tiers(nsg("n", by_tag), public_ip("p", "203.0.113.7"), db={"nsg": "n", "public_ip": "p"})
    # no tag holds private addresses, whatever it is
    assert ask(net, "web-01", "db-01").allowed
    with pytest.raises(InputError) as raised:
        ask(net, CLIENT, "db-01")
    for word in ("by-tag", "'n'", tag, "--service-tags"):
        assert word in str(raised.value)
    assert ask(net, CLIENT, "db-01", 80).rule == "n/DenyAllInBound"
    assert ask(net, CLIENT, "db-01", protocol=UDP).rule == "n/DenyAllInBound"
    assert published(rule("by-tag", 100, "Deny", source=tag, destination="10.0.9.0/24")).rule == DEFAULT
    earlier = (rule("allow", 100, "Allow"), rule("by-tag", 200, "Deny", source=tag))
    assert published(*earlier).allowed
    assert published(rule("by-tag", 100, "Deny", source=[tag, CLIENT])).rule == "n/by-tag"


CLIENT, DEFAULT = "198.51.100.9", "n/DenyAllInBound"


def published(*rules: Any) -> Explanation:
    """What becomes of a client on the internet that asks db-01 with these rules."""
    net = tiers(nsg("n", *rules), public_ip("p", "203.0.113.7"), db={"nsg": "n", "public_ip": "p"})
    return ask(net, CLIENT, "db-01")


# -- tags -----------------------------------------------------------------------------------


def test_virtual_network_holds_prefixes_of_user_routes() -> None:
    """Azure-docs issue 22178: a route 0.0.0.0/0 to an appliance turns VirtualNetwork into everything."""
    net = tiers(
        nsg("n"),
        table("t", route("all", "0.0.0.0/0", "VirtualAppliance", "10.0.2.4")),
        nsgs={"web": "n"},
        tables={"web": "t"},
        db={"forwarding": True},
    )
    found = ask(net, "web-01", "172.31.0.100")
    assert found.decisions[0].rule == "n/AllowVnetOutBound"


@pytest.mark.parametrize(
    ("address", "rule_name"),
    [
        ("198.51.100.9", "n/AllowInternetOutBound"),
        ("192.0.2.9", "n/DenyAllOutBound"),
        ("25.1.2.3", "n/DenyAllOutBound"),
        ("10.0.9.9", "n/AllowVnetOutBound"),
        ("100.64.0.1", "n/DenyAllOutBound"),
    ],
)
def test_internet_leaves_out_what_azure_leaves_out(address: str, rule_name: str) -> None:
    assert ask(tiers(nsg("n"), web={"nsg": "n"}), "web-01", address).decisions[0].rule == rule_name


def test_platform_addresses_are_exempt() -> None:
    closed = nsg("n", rule("none", 100, "Deny", "Outbound"), rule("none-in", 100, "Deny"))
    net = tiers(closed, table("t", route("x", "0.0.0.0/0", "None")), web={"nsg": "n"}, tables={"web": "t"})
    assert ask(net, "web-01", "168.63.129.16", 80).allowed
    assert ask(net, "web-01", "169.254.169.254", 80).allowed
    assert ask(net, "168.63.129.16", "web-01", 80).allowed
    filtered = ask(net, "168.63.129.16", "web-01", 80, options=Options(platform_source="filtered"))
    assert filtered.rule == "n/none-in"
    default = tiers(nsg("n"), web={"nsg": "n"})
    assert ask(default, "168.63.129.16", "web-01", 80, options=Options(platform_source="filtered")).allowed
