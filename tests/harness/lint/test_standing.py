"""Standings against the policy engine's own reading of rules: who decides random packets."""

from __future__ import annotations

import random
from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.lint.matches import example
from harness.lint.standing import Standing, crossings
from harness.lint.survey import Survey
from harness.model import Protocol
from harness.network.model import Direction, Network, SecurityRule, key
from harness.policy.compiled import Compiled
from harness.policy.packet import Packet
from harness.policy.security import RuleList, compile_rules
from tests.harness.network.builders import arm_id, asg, machine, network, nsg, ref, rule, vnet

ASGS = ("web", "db")
EDGES = (
    "10.0.1.4", "10.0.1.0", "10.0.1.127", "10.0.1.128", "10.0.2.0", "9.255.255.255", "8.0.0.0",
    "127.255.255.255", "128.0.0.0", "168.63.129.16", "203.0.113.9", "0.0.0.0", "255.255.255.255",
)  # fmt: skip
addresses = st.sampled_from(
    ["*", "10.0.1.0/24", "10.0.1.0/25", "10.0.1.128/25", "10.0.0.0/16", "10.0.1.4", "0.0.0.0/0", "0.0.0.0/1",
     "128.0.0.0/1", "VirtualNetwork", "Internet", "AzureLoadBalancer", "8.0.0.0/8", "asg:web", "asg:db"]
)  # fmt: skip
several = st.lists(addresses.filter(lambda a: a != "*" and ":" not in a), min_size=2, max_size=3, unique=True)
sides = st.one_of(addresses, several)
ports = st.sampled_from(["*", "80", "1433", "1-1024", "1024-65535", "0-79", "80-1433", "0-65534"])
rules = st.tuples(
    st.sampled_from(["Allow", "Deny"]), st.sampled_from(["*", "Tcp", "Udp", "Icmp"]), sides, sides, ports,
    st.one_of(st.just("*"), ports),
)  # fmt: skip
groups = st.lists(rules, min_size=1, max_size=8)


def _rule(number: int, drawn: Any) -> Any:
    access, protocol, source, destination, port, source_port = drawn
    body: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for side, value in (("source", source), ("destination", destination)):
        if isinstance(value, str) and value.startswith("asg:"):
            plain[side] = ""
            body[f"{side}ApplicationSecurityGroups"] = [ref(arm_id("applicationSecurityGroups", value[4:]))]
        else:
            plain[side] = value
    return rule(
        f"r{number}", 100 + number, access, "Inbound", protocol, plain["source"], plain["destination"],
        port, source_port, **body,
    )  # fmt: skip


def build(drawn: list[Any]) -> Network:
    return network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.1.0/24"}, nsgs={"s": "n"}),
        nsg("n", *(_rule(number, item) for number, item in enumerate(drawn))),
        *map(asg, ASGS),
        machine("w", "v/s", "10.0.1.4", asgs=["web"]),
        machine("d", "v/s", "10.0.1.5", asgs=["db"]),
    )


def standings(survey: Survey) -> tuple[Standing, ...]:
    return next(found for rules, found in survey.standings if rules.direction is Direction.INBOUND)


def rule_list(survey: Survey, rules: list[SecurityRule]) -> RuleList[SecurityRule]:
    subnet = next(iter(survey.network.subnets.values()))
    return compile_rules("the group", rules, survey.view.context(key(subnet.id)).scope)


def decider(rules: RuleList[SecurityRule], packet: Packet) -> SecurityRule:
    found = rules.decide(packet)
    assert found is not None
    return found.rule


def packets(seed: int) -> list[Packet]:
    """200 packets, at the rules' boundaries as often as elsewhere; members of ASGs are in the VNet."""
    draw = random.Random(seed)
    ids = [key(arm_id("applicationSecurityGroups", name)) for name in ASGS]

    def end() -> tuple[str, frozenset[str]]:
        asgs = frozenset(asg for asg in ids if draw.random() < 0.3)
        anywhere = str(ip_address(draw.getrandbits(32)))
        return ("10.0.1.4" if asgs else draw.choice([*EDGES, anywhere]), asgs)

    def port() -> int:
        return draw.choice([0, 1, 79, 80, 81, 1023, 1024, 1433, 1434, 65534, 65535, draw.randrange(65536)])

    found = []
    for _ in range(200):
        protocol = draw.choice([Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ESP])
        (source, source_asgs), (target, target_asgs) = end(), end()
        both = (port(), port()) if protocol.has_ports else (None, None)
        found.append(
            Packet(
                protocol, ip_address(source), both[0], ip_address(target), both[1], source_asgs, target_asgs
            )
        )
    return found


@settings(max_examples=200)
@given(groups, st.integers(0, 2**32))
def test_a_rule_that_decides_nothing_can_be_removed(drawn: list[Any], seed: int) -> None:
    survey = Survey(Compiled(build(drawn)))
    group = next(iter(survey.network.nsgs.values()))
    before = [*group.ordered(Direction.INBOUND)]
    dead = {standing.rule.id for standing in standings(survey) if standing.witness is None}
    after = [item for item in before if item.id not in dead]
    one, other = rule_list(survey, before), rule_list(survey, after)
    for packet in packets(seed):
        assert decider(one, packet) == decider(other, packet), packet


@settings(max_examples=200)
@given(groups)
def test_every_other_rule_decides_its_witness(drawn: list[Any]) -> None:
    survey = Survey(Compiled(build(drawn)))
    group = next(iter(survey.network.nsgs.values()))
    asked = rule_list(survey, [*group.ordered(Direction.INBOUND)])
    for standing in standings(survey):
        if standing.packet is not None:
            assert decider(asked, standing.packet) == standing.rule


@settings(max_examples=100)
@given(groups, st.integers(0, 2**32))
def test_takers_are_who_decides_the_packets_of_a_dead_rule(drawn: list[Any], seed: int) -> None:
    survey = Survey(Compiled(build(drawn)))
    group = next(iter(survey.network.nsgs.values()))
    asked = rule_list(survey, [*group.ordered(Direction.INBOUND)])
    for standing in standings(survey):
        alone = rule_list(survey, [standing.rule])
        for packet in packets(seed) if standing.witness is None else ():
            if alone.decide(packet) is not None:
                assert decider(asked, packet) in standing.takers


@settings(max_examples=100)
@given(groups)
def test_crossing_rules_contest_their_example(drawn: list[Any]) -> None:
    """The earlier one decides the example; without it, and those between, the later one would."""
    survey = Survey(Compiled(build(drawn)))
    rules = next(item for item in survey.rule_lists if item.direction is Direction.INBOUND)
    for crossing in crossings(rules.rules):
        before = [item.rule for item in rules.rules if item.rule.priority <= crossing.earlier.priority]
        packet = example(crossing.contested, crossing.family)
        assert decider(rule_list(survey, before), packet) == crossing.earlier
        assert rule_list(survey, [crossing.later]).decide(packet) is not None
        assert crossing.earlier.access is not crossing.later.access
