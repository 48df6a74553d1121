"""aclcheck is given the same rules: it names the rule that Azure's order of evaluation names."""

from __future__ import annotations

from ipaddress import IPv4Address
from random import Random

import pytest

from harness.model import Protocol
from harness.network.model import Direction, Network, SecurityRule, key
from harness.network.snapshot import network_from_resources
from harness.policy.compiled import Compiled
from harness.policy.packet import Packet
from harness.policy.security import compile_rules
from harness.policy.tags import TagScope
from tests.benchmarks.flows import packets_for
from tests.benchmarks.networks import hub_and_spoke
from tests.benchmarks.peer_aclcheck import AclCheckPeer
from tests.harness.network.builders import machine, network, nsg, rule, vnet


def _inbound(*rules: dict[str, object]) -> tuple[list[SecurityRule], TagScope]:
    made = network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, nsgs={"s": "g"}),
        nsg("g", *rules),
        machine("vm", "v/s", "10.0.0.4"),
    )
    (group,), (subnet,) = made.nsgs.values(), made.subnets
    return list(group.ordered(Direction.INBOUND)), Compiled(made).context(subnet).scope


def _packet(protocol: Protocol, port: int | None, source: str = "10.0.0.9") -> Packet:
    here = IPv4Address("10.0.0.4")
    return Packet(protocol, IPv4Address(source), None if port is None else 50000, here, port)


def test_the_first_rule_that_matches_is_named() -> None:
    rules, scope = _inbound(
        rule("ports", 100, "Deny", ports=["80-90", "443"]),
        rule("ping", 110, "Allow", protocol="Icmp", source="10.0.0.8/31"),
        rule("rest", 120, "Deny", protocol="Icmp"),
    )
    peer = AclCheckPeer(rules, scope)
    names = [item.name for item in rules]

    def deciding(*packet: object) -> str:
        place = peer.decide(_packet(*packet))  # type: ignore[arg-type]
        assert place is not None
        return names[place]

    assert [deciding(Protocol.TCP, port) for port in (79, 80, 90, 91)] == [
        "AllowVnetInBound", "ports", "ports", "AllowVnetInBound",
    ]  # fmt: skip
    # any protocol with ports is for those that have them
    assert deciding(Protocol.UDP, 443) == "ports"
    assert deciding(Protocol.ICMP, None) == "ping"
    assert deciding(Protocol.ICMP, None, "10.0.0.10") == "rest"
    assert deciding(Protocol.ESP, None) == "AllowVnetInBound"
    assert deciding(Protocol.TCP, 22, "198.51.100.1") == "DenyAllInBound"


def test_no_rule_is_none() -> None:
    rules, scope = _inbound()
    assert AclCheckPeer(rules[:1], scope).decide(_packet(Protocol.TCP, 22, "198.51.100.1")) is None


def test_what_a_policy_cannot_say_is_refused() -> None:
    rules, scope = _inbound(rule("tag", 100, "Allow", source="Storage"))
    with pytest.raises(ValueError, match="Storage"):
        AclCheckPeer(rules, scope)


@pytest.fixture(scope="module")
def generated() -> Network:
    return network_from_resources(hub_and_spoke(60, 12, 40, 6), "here")


@pytest.mark.parametrize("direction", Direction)
def test_it_agrees_with_the_engine_on_generated_rules(generated: Network, direction: Direction) -> None:
    view = Compiled(generated)
    for subnet in generated.subnets.values():
        if subnet.nsg is None:
            continue
        rules = [
            item
            for item in generated.nsgs[subnet.nsg].ordered(direction)
            if not item.source.asgs and not item.destination.asgs
        ]
        scope = view.context(key(subnet.id)).scope
        peer, engine = AclCheckPeer(rules, scope), compile_rules("rules", rules, scope)
        for packet in packets_for(rules, scope, 100, Random(1)):
            place, decided = peer.decide(packet), engine.decide(packet)
            assert decided is not None
            assert place is not None
            assert rules[place].name == decided.rule.name, str(packet)
