"""Laws that hold for every NSG and every network, found by searching for a counterexample."""

from __future__ import annotations

import dataclasses
import random
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model import Flow, Protocol
from harness.network.model import Network, key
from harness.policy.decision import Explanation
from harness.policy.explain import explain
from harness.policy.routing import RouteLookup, effective_routes
from tests.harness.network.builders import (
    machine,
    network,
    nic_id,
    nsg,
    route,
    rule,
    subnet_id,
    table,
    vnet,
)

SPACE = ip_network("10.0.0.0/16")
addresses = st.sampled_from(
    [
        "*",
        "10.0.1.0/24",
        "10.0.1.4",
        "10.0.2.0/24",
        "10.0.2.4/32",
        "10.0.0.0/8",
        "10.9.0.0/16",
        "0.0.0.0/0",
        "VirtualNetwork",
        "Internet",
        "AzureLoadBalancer",
        "192.168.0.0/16",
    ]
)
sides = st.one_of(addresses, st.lists(addresses.filter(lambda a: a != "*"), min_size=1, max_size=3))
ports = st.sampled_from(["*", "80", "1433", "1-1024", "1024-65535", "49152", "0-79"])
rules = st.builds(
    lambda access, direction, protocol, source, destination, port, source_port: (
        access,
        direction,
        protocol,
        source,
        destination,
        port,
        source_port,
    ),
    st.sampled_from(["Allow", "Deny"]),
    st.sampled_from(["Inbound", "Outbound"]),
    st.sampled_from(["Tcp", "UDP", "icmp", "*"]),
    sides,
    sides,
    ports,
    ports,
)
groups = st.lists(rules, max_size=6).flatmap(
    lambda found: st.lists(st.integers(100, 4096), min_size=len(found), max_size=len(found), unique=True).map(
        lambda priorities: list(zip(priorities, found, strict=True))
    )
)
flows = st.sampled_from(
    [
        Flow("web-01", "db-01", p, n)
        for p, n in ((Protocol.TCP, 80), (Protocol.UDP, 1433), (Protocol.ICMP, None))
    ]
)


def build(numbered: list[tuple[int, Any]], name: str = "n") -> Any:
    return nsg(
        name,
        *(
            rule(f"r{priority}", priority, r[0], r[1], r[2], r[3], r[4], r[5], r[6])
            for priority, r in numbered
        ),
    )


def tiers(*groups_: Any, web: str | None = None, db: str | None = None) -> Network:
    nsgs = {label: name for label, name in (("web", web), ("db", db)) if name}
    return network(
        vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24", "db": "10.0.2.0/24"}, nsgs=nsgs),
        machine("web-01", "v/web", "10.0.1.4"),
        machine("db-01", "v/db", "10.0.2.4"),
        *groups_,
    )


def outcome(found: Explanation) -> tuple[Any, ...]:
    return (found.verdict, found.cause, found.rule)


# -- a slow and obvious reference -----------------------------------------------------------------


def reference(numbered: list[tuple[int, Any]], direction: str, flow: Flow) -> tuple[str, str]:
    """(access, rule name) by reading the rules as the documentation words them."""
    for priority, (access, way, protocol, source, destination, port, source_port) in sorted(numbered):
        if way != direction or protocol.lower() not in ("*", flow.protocol):
            continue
        if flow.protocol is Protocol.ICMP:
            if protocol == "*" and (port != "*" or source_port != "*"):
                continue
        elif not (in_ports(port, flow.port or 0) and in_ports(source_port, 49152)):
            continue
        if in_side(source, "10.0.1.4") and in_side(destination, "10.0.2.4"):
            return access, f"r{priority}"
    return "Allow", f"AllowVnet{'InBound' if direction == 'Inbound' else 'OutBound'}"


def in_ports(text: str, port: int) -> bool:
    if text == "*":
        return True
    first, _, last = text.partition("-")
    return int(first) <= port <= int(last or first)


def in_side(side: Any, address: str) -> bool:
    if isinstance(side, list):
        return any(in_side(item, address) for item in side)
    if side in ("Internet", "AzureLoadBalancer"):
        return False
    if side == "VirtualNetwork":
        return ip_address(address) in SPACE
    return side == "*" or ip_address(address) in ip_network(side)


@settings(max_examples=400, deadline=None)
@given(groups, flows)
def test_one_group_against_the_reference(numbered: list[tuple[int, Any]], flow: Flow) -> None:
    inbound = explain(tiers(build(numbered), db="n"), flow)
    access, name = reference(numbered, "Inbound", flow)
    assert (inbound.allowed, inbound.rule) == (access == "Allow", f"n/{name}")
    outbound = explain(tiers(build(numbered), web="n"), flow)
    access, name = reference(numbered, "Outbound", flow)
    assert (outbound.allowed, outbound.rule) == (access == "Allow", f"n/{name}")


@settings(max_examples=150, deadline=None)
@given(groups, flows, st.randoms())
def test_the_order_in_the_file_does_not_matter(
    numbered: list[tuple[int, Any]], flow: Flow, chance: random.Random
) -> None:
    shuffled = numbered.copy()
    chance.shuffle(shuffled)
    assert outcome(explain(tiers(build(numbered), db="n", web="n"), flow)) == outcome(
        explain(tiers(build(shuffled), db="n", web="n"), flow)
    )


@settings(max_examples=150, deadline=None)
@given(groups, rules, flows)
def test_a_rule_after_the_match_changes_nothing(
    numbered: list[tuple[int, Any]], later: Any, flow: Flow
) -> None:
    before = explain(tiers(build(numbered), db="n"), flow)
    assert before.rule is not None
    name = before.rule.partition("/")[2]
    after = int(name[1:]) + 1 if name.startswith("r") else None
    if after is None or after > 4096 or after in [priority for priority, _ in numbered]:
        return
    assert outcome(explain(tiers(build([*numbered, (after, later)]), db="n"), flow)) == outcome(before)


@settings(max_examples=150, deadline=None)
@given(groups, groups, flows)
def test_two_groups_allow_only_what_both_allow(
    one: list[tuple[int, Any]], two: list[tuple[int, Any]], flow: Flow
) -> None:
    both = explain(tiers(build(one, "a"), build(two, "b"), web="a", db="b"), flow).allowed
    first = explain(tiers(build(one, "a"), web="a"), flow).allowed
    second = explain(tiers(build(two, "b"), db="b"), flow).allowed
    assert both is (first and second)


@settings(max_examples=150, deadline=None)
@given(groups, flows)
def test_the_fix_for_a_rule_lets_the_flow_through(numbered: list[tuple[int, Any]], flow: Flow) -> None:
    """The proposed rule, read back from the command and put into the group, ends the denial."""
    found = explain(tiers(build(numbered), db="n"), flow)
    if found.allowed or not found.fix or "rule create" not in found.fix[0]:
        return
    words = found.fix[0].replace("'*'", "*").split()
    options = dict(zip(words[5::2], words[6::2], strict=True))
    fixed = (
        options["--access"],
        options["--direction"],
        options["--protocol"],
        options["--source-address-prefixes"],
        options["--destination-address-prefixes"],
        options["--destination-port-ranges"],
        options["--source-port-ranges"],
    )
    assert explain(tiers(build([*numbered, (int(options["--priority"]), fixed)]), db="n"), flow).allowed


prefixes = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda pair: str(ip_network((pair[0], pair[1]), strict=False))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(prefixes, unique=True, max_size=8), st.integers(0, 2**32 - 1))
def test_route_selection_against_the_reference(found: list[str], number: int) -> None:
    """Longest prefix, user before system: read off the table line by line. A default route of a user's
    own takes the reserved ranges' routes to None away."""
    address = ip_address(number)
    net = network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, tables={"s": "t"}),
        table("t", *(route(f"r{n}", prefix, "None") for n, prefix in enumerate(found))),
        machine("m", "v/s", "10.0.0.4"),
    )
    routes = RouteLookup.of(effective_routes(net, net.nics[key(nic_id("nic-m"))]))
    chosen = routes.find(address.version, number)
    system = ["10.0.0.0/16", "0.0.0.0/0"]
    if "0.0.0.0/0" not in found:
        system += ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
    fitting = [
        (ip_network(p).prefixlen, p in found, p) for p in {*system, *found} if address in ip_network(p)
    ]
    length, user, prefix = max(fitting)
    assert chosen is not None
    assert (str(chosen.prefix), chosen.prefix.prefixlen, chosen.source == "User") == (prefix, length, user)


def test_association_from_the_other_side_changes_no_verdict() -> None:
    group = nsg("n", rule("deny", 100, "Deny"))
    turned = {**group, "properties": {**group["properties"], "subnets": [{"id": subnet_id("v/db")}]}}
    flow = Flow("web-01", "db-01", Protocol.TCP, 80)
    assert outcome(explain(tiers(turned), flow)) == outcome(explain(tiers(group, db="n"), flow))


def test_explanations_are_frozen() -> None:
    found = explain(tiers(), Flow("web-01", "db-01", Protocol.TCP, 80))
    assert dataclasses.is_dataclass(found)
    assert found == explain(tiers(), Flow("web-01", "db-01", Protocol.TCP, 80))
