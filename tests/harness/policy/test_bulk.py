"""Many packets at once against one at a time: the same rule decides."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.model import Protocol
from harness.network.model import Access, Direction
from harness.policy.bulk import NO_RULE, GroupTable
from harness.policy.compiled import Compiled
from harness.policy.packet import Packet
from tests.harness.network.builders import nsg, rule
from tests.harness.policy.anything import PORTS, any_network
from tests.harness.policy.networks import tiers

ADDRESSES = ("10.1.0.4", "10.1.0.3", "10.2.1.5", "10.9.9.9", "203.0.113.7", "168.63.129.16", "0.0.0.0",
             "255.255.255.255", "9.255.255.255", "11.0.0.0")  # fmt: skip


@given(st.randoms(use_true_random=False))
def test_same_rule_as_one_at_a_time(chance: Random) -> None:
    view = Compiled(any_network(chance))
    name, group = chance.choice(list(view.network.nsgs.items()))
    subnet = chance.choice(list(view.network.subnets))
    if chance.random() < 0.3:
        # more than 64 rules: several words of bits
        group = replace(group, rules=tuple(r for r in group.rules for _ in range(40)))
    direction = chance.choice(list(Direction))
    packets = [
        (chance.choice(list(Protocol)), chance.choice(ADDRESSES), chance.choice(PORTS),
         chance.choice(ADDRESSES), chance.choice(PORTS)) for _ in range(60)
    ]  # fmt: skip
    table = GroupTable(group, direction, view.context(subnet).scope)
    allowed, places = table.decide(
        np.array([int(IPv4Address(p[1])) for p in packets], dtype=np.uint32),
        np.array([p[2] for p in packets], dtype=np.int32),
        np.array([int(IPv4Address(p[3])) for p in packets], dtype=np.uint32),
        np.array([p[4] for p in packets], dtype=np.int32),
        np.array([list(Protocol).index(p[0]) for p in packets], dtype=np.uint8),
    )
    rules = view.rules(name, direction, subnet)
    for (protocol, source, source_port, target, port), passes, place in zip(
        packets, allowed.tolist(), places.tolist(), strict=True
    ):
        ports = (source_port, port) if protocol.has_ports else (None, None)
        packet = Packet(protocol, IPv4Address(source), ports[0], IPv4Address(target), ports[1])
        found = rules.decide(packet)
        assert found is not None
        assert table.rules[place] == found.rule
        assert passes is (found.rule.access is Access.ALLOW)


def test_no_rule_decides() -> None:
    group = next(iter(tiers(nsg("n")).nsgs.values()))
    view = Compiled(tiers(nsg("n")))
    scope = view.context(next(iter(view.network.subnets))).scope
    table = GroupTable(replace(group, rules=()), Direction.INBOUND, scope)
    one = np.array([1], dtype=np.uint32)
    allowed, places = table.decide(one, one.astype(np.int32), one, one.astype(np.int32), one.astype(np.uint8))
    assert (allowed.tolist(), places.tolist()) == ([False], [NO_RULE])


def test_unknown_tag_is_named() -> None:
    view = Compiled(tiers(nsg("n", rule("r", 100, "Allow", source="Storage"))))
    group = next(iter(view.network.nsgs.values()))
    with pytest.raises(InputError, match=r"rule 'r'.*'Storage'"):
        GroupTable(group, Direction.INBOUND, view.context(next(iter(view.network.subnets))).scope)
