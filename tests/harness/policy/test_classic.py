"""Classic endpoints and their access control lists, sentence by sentence of the documents."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Cause, Protocol
from harness.network.classic import ClassicEndpoint, EndpointAclRule
from harness.network.model import Access
from harness.policy.arrival import Arrival, Refusal
from harness.policy.classic import acl_decision, endpoint_arrivals
from tests.harness.policy.edges import CLIENT, UDP, acl, endpoint, view, web, with_cloud_service

OTHER = ip_address("192.0.2.77")
ADDRESS = ip_address("203.0.113.80")


def reach(
    *endpoints: ClassicEndpoint,
    port: int | None = 3389,
    protocol: Protocol = Protocol.TCP,
    source: Any = CLIENT,
) -> tuple[Arrival, ...] | Refusal:
    net = with_cloud_service(web(), *endpoints)
    found = view(net).publications.arrivals(ADDRESS, protocol, port, source)
    assert found is not None
    return found


def refused(*args: Any, **more: Any) -> Refusal:
    found = reach(*args, **more)
    assert isinstance(found, Refusal), found
    return found


def arrived(*args: Any, **more: Any) -> tuple[Arrival, ...]:
    found = reach(*args, **more)
    assert isinstance(found, tuple), found
    return found


# -- endpoints ----------------------------------------------------------------------------------


def test_an_endpoint_takes_a_public_port_to_a_private_one() -> None:
    (arrival,) = arrived(endpoint("rdp", "web-01", 50_001, 3389), port=50_001)
    assert (arrival.nic.name, arrival.port, arrival.sku) == ("nic-web-01", 3389, "Basic")
    assert (arrival.where, arrival.object_id) == ("cloud service 'cs', endpoint 'rdp'", "/classic/web-01/rdp")
    assert arrival.why == "tcp port 50001 of 203.0.113.80 is port 3389 of 10.0.1.4"


def test_no_endpoint_is_blocked() -> None:
    found = refused(endpoint("rdp", "web-01", 50_001, 3389))
    assert (found.cause, found.object_id) == (Cause.NO_ENDPOINT, "/classic/cs")
    assert found.why == "no endpoint for tcp port 3389; it has 'rdp' (Tcp 50001)"
    assert refused().why == "no endpoint for tcp port 3389; it has none"


def test_the_private_port_is_no_public_one() -> None:
    assert refused(endpoint("rdp", "web-01", 50_001, 3389), port=3389).cause is Cause.NO_ENDPOINT


def test_an_endpoint_of_the_other_protocol() -> None:
    found = refused(endpoint("dns", "web-01", 53, 53, UDP), port=53)
    assert (found.cause, found.object_id) == (Cause.ENDPOINT_PROTOCOL, "/classic/web-01/dns")
    assert found.why == "endpoint 'dns' has public port 53 for Udp, not for tcp"


def test_both_protocols_may_have_the_port() -> None:
    both = endpoint("udp", "web-01", 53, 5301, UDP), endpoint("tcp", "web-02", 53, 5302)
    assert [arrival.port for arrival in arrived(*both, port=53)] == [5302]
    assert [arrival.port for arrival in arrived(*both, port=53, protocol=Protocol.UDP)] == [5301]


@pytest.mark.parametrize("protocol", [Protocol.ICMP, Protocol.ESP, Protocol.AH])
def test_endpoints_are_for_tcp_and_udp(protocol: Protocol) -> None:
    found = refused(endpoint("rdp", "web-01", 3389, 3389), port=None, protocol=protocol)
    assert found.cause is Cause.NO_ENDPOINT
    assert found.why.startswith(f"no endpoint for {protocol}: endpoints are for TCP and UDP")


def test_a_load_balanced_set_goes_to_every_member() -> None:
    members = [endpoint("http", name, 80, 8080, load_balanced_set="web") for name in ("web-01", "web-02")]
    assert [arrival.nic.name for arrival in arrived(*members, port=80)] == ["nic-web-01", "nic-web-02"]


def test_sets_of_the_same_name_at_other_ports_are_others() -> None:
    members = [endpoint(f"at-{port}", "web-01", port, 8080, load_balanced_set="web") for port in (80, 81)]
    assert [arrival.object_id for arrival in arrived(*members, port=80)] == ["/classic/web-01/at-80"]


def test_the_list_of_a_set_applies_to_every_member() -> None:
    closed = acl((100, "deny", "198.51.100.0/24"))
    members = [
        endpoint("http", "web-01", 80, 8080, load_balanced_set="web"),
        endpoint("http", "web-02", 80, 8080, load_balanced_set="web", acl=closed),
    ]
    assert refused(*members, port=80).cause is Cause.ACL_DENY
    assert len(arrived(*members, port=80, source=OTHER)) == 2


# -- access control lists -----------------------------------------------------------------------


def test_no_list_permits_everybody() -> None:
    assert acl_decision((), CLIENT).access is Access.ALLOW


def test_a_permit_denies_all_others() -> None:
    listed = acl((100, "permit", "198.51.100.0/24"))
    assert acl_decision(listed, CLIENT).access is Access.ALLOW
    decision = acl_decision(listed, OTHER)
    assert (decision.access, decision.rule) == (Access.DENY, None)


def test_denies_alone_permit_all_others() -> None:
    listed = acl((100, "deny", "198.51.100.0/24"), (200, "deny", "203.0.113.0/24"))
    assert acl_decision(listed, CLIENT).access is Access.DENY
    assert acl_decision(listed, OTHER).access is Access.ALLOW


def test_lowest_order_first_wherever_it_stands() -> None:
    listed = acl((200, "permit", "198.51.100.0/24"), (100, "deny", "198.51.100.9/32"))
    decision = acl_decision(listed, CLIENT)
    assert (decision.access, decision.rule) == (Access.DENY, listed[1])


def test_the_documented_mix() -> None:
    """Deny 175.1.0.1/24 before permit 175.0.0.0/8; others are denied, as with any permit."""
    listed = acl((100, "deny", "175.1.0.1/24"), (200, "permit", "175.0.0.0/8"))
    answers = {text: acl_decision(listed, ip_address(text)) for text in ("175.1.0.9", "175.9.9.9", "8.8.8.8")}
    assert {text: answer.access for text, answer in answers.items()} == {
        "175.1.0.9": Access.DENY, "175.9.9.9": Access.ALLOW, "8.8.8.8": Access.DENY,
    }  # fmt: skip
    assert answers["8.8.8.8"].rule is None


def test_a_list_of_ipv4_subnets_holds_no_ipv6_client() -> None:
    assert acl_decision(acl((1, "permit", "0.0.0.0/0")), ip_address("2001:db8::9")).access is Access.DENY


def test_deny_rule_and_implicit_deny_are_told_apart() -> None:
    denied = endpoint("rdp", "web-01", 3389, 3389, acl=acl((100, "deny", "198.51.100.0/24")))
    found = refused(denied)
    assert (found.cause, found.object_id) == (Cause.ACL_DENY, denied.id)
    assert found.why == (
        "rule 100 of its access control list denies 198.51.100.0/24, which holds 198.51.100.9"
    )
    others = endpoint("rdp", "web-01", 3389, 3389, acl=acl((100, "permit", "192.0.2.0/24")))
    found = refused(others)
    assert (found.cause, found.why) == (
        Cause.ACL_IMPLICIT_DENY, "its access control list permits others, not 198.51.100.9",
    )  # fmt: skip
    (arrival,) = arrived(others, source=OTHER)
    assert arrival.why.endswith(" (rule 100 of its access control list permits 192.0.2.0/24)")


subnets = st.builds(
    lambda number, length: ip_network((number, length), strict=False),
    st.integers(0, 2**32 - 1), st.integers(0, 32),
)  # fmt: skip
rules = st.lists(
    st.builds(EndpointAclRule, st.integers(0, 60_000), st.sampled_from(Access), subnets),
    max_size=12, unique_by=lambda rule: rule.order,
)  # fmt: skip


@st.composite
def lists_and_clients(draw: st.DrawFn) -> tuple[list[EndpointAclRule], IPv4Address]:
    """Every other client is one that a rule holds."""
    listed = draw(rules)
    inside = [rule.remote_subnet[0] for rule in listed if isinstance(rule.remote_subnet[0], IPv4Address)]
    anywhere = st.integers(0, 2**32 - 1).map(IPv4Address)
    return listed, draw(st.one_of(st.sampled_from(inside), anywhere) if inside else anywhere)


@given(lists_and_clients())
def test_the_matching_rule_of_lowest_order_decides(asked: tuple[list[EndpointAclRule], IPv4Address]) -> None:
    listed, client = asked
    decision = acl_decision(listed, client)
    matching = [rule for rule in listed if client in rule.remote_subnet]
    if matching:
        assert decision.rule == min(matching, key=lambda rule: rule.order)
        assert decision.access is decision.rule.access
    else:
        permitting = {rule.access for rule in listed} <= {Access.DENY}
        assert (decision.rule, decision.access is Access.ALLOW) == (None, permitting)


@given(lists_and_clients(), st.randoms(use_true_random=False))
def test_where_a_rule_stands_does_not_matter(
    asked: tuple[list[EndpointAclRule], IPv4Address], chance: random.Random
) -> None:
    listed, client = asked
    shuffled = list(listed)
    chance.shuffle(shuffled)
    assert acl_decision(shuffled, client) == acl_decision(listed, client)


def test_an_endpoint_without_its_machine() -> None:
    lonely = endpoint("rdp", "gone", 3389, 3389)
    net = with_cloud_service(web(), lonely)
    found = endpoint_arrivals(view(net), net.cloud_services["/classic/cs"], Protocol.TCP, 3389, CLIENT)
    assert found == Refusal(
        None, "cloud service 'cs', endpoint 'rdp'", "no virtual machine is behind it", lonely.id
    )
