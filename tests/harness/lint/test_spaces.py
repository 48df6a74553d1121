"""Overlaps that lose traffic, and those that do not."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from harness.network.model import Network
from tests.harness.lint.networks import findings, found, with_gateway, with_peering
from tests.harness.network.builders import network, peering, vnet

TREE = ["10.0.0.0/14", "10.0.0.0/15", "10.2.0.0/15", *(f"10.{n}.0.0/16" for n in range(5))]


def spokes(one: str, other: str, state: str = "Connected") -> Network:
    """Two virtual networks that share a hub."""
    return network(
        vnet(
            "hub", "10.100.0.0/16", {}, [peering("hub", "a", one, state), peering("hub", "b", other, state)]
        ),
        vnet("a", one, {}, [peering("a", "hub", "10.100.0.0/16", state)]),
        vnet("b", other, {}, [peering("b", "hub", "10.100.0.0/16", state)]),
    )


def test_overlapping_peers() -> None:
    check = "space/overlapping-peers"
    (finding,) = findings(spokes("10.0.0.0/16", "10.0.4.0/24"), check)
    assert "'a' and 'b' overlap (10.0.4.0/24) and share the peer 'hub'" in finding.reason
    assert found(spokes("10.0.0.0/16", "10.1.0.0/16"), check) == []
    apart = spokes("10.0.0.0/16", "10.0.4.0/24", "Disconnected")
    assert found(apart, check) == []
    assert found(apart, "space/overlapping-vnets") == ["a"]
    assert found(spokes("10.0.0.0/16", "10.0.4.0/24"), "space/overlapping-vnets") == []


def test_overlapping_at_one_site() -> None:
    def net(other: str) -> Network:
        both = network(vnet("a", "10.0.0.0/16", {}), vnet("b", other, {}))
        both = with_gateway(both, "a", "192.168.0.0/16", name="gw-a")
        return with_gateway(both, "b", "192.168.0.0/16", name="gw-b")

    (finding,) = findings(net("10.0.0.0/17"), "space/overlapping-peers")
    assert "share the site 'site'" in finding.reason
    assert found(net("10.1.0.0/16"), "space/overlapping-peers") == []


@given(st.lists(st.integers(0, len(TREE) - 1), min_size=1, max_size=6))
def test_every_overlap_is_in_one_finding(numbers: list[int]) -> None:
    """Prefixes of a small tree, so that they nest, repeat and stand apart."""
    net = network(*(vnet(f"v{n}", TREE[number], {}) for n, number in enumerate(numbers)))
    groups = [{item.object_id, *item.related} for item in findings(net, "space/overlapping-vnets")]
    for one, other in combinations(net.vnets.values(), 2):
        meet = one.address_space[0].overlaps(other.address_space[0])
        together = [group for group in groups if {one.id, other.id} <= group]
        assert len(together) == meet or (not meet and len(together) == 1)
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_overlapping_subnets() -> None:
    def net(second: str) -> Network:
        return network(vnet("v", "10.0.0.0/16", {"one": "10.0.0.0/24", "two": second}))

    assert found(net("10.0.0.128/25"), "space/overlapping-subnets") == ["two"]
    assert found(net("10.0.1.0/24"), "space/overlapping-subnets") == []


def test_overlapping_on_premises() -> None:
    def net(site: str) -> Network:
        return with_gateway(spokes("10.0.0.0/16", "10.1.0.0/16"), "hub", site)

    check = "space/overlapping-on-premises"
    assert found(net("10.100.7.0/24"), check) == ["site"]
    assert found(net("10.0.7.0/24"), check) == []
    lent = with_peering(net("10.0.7.0/24"), "hub", "a", allow_gateway_transit=True)
    assert found(with_peering(lent, "a", "hub", use_remote_gateways=True), check) == ["site"]
