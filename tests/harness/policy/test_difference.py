"""What changes between two networks: exactly the flows whose verdict differs, grouped, with an example."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import InputError, UnknownNameError
from harness.model import Flow, Protocol
from harness.network.model import Network, key
from harness.policy.classes import Endpoint, all_endpoints
from harness.policy.compiled import Compiled
from harness.policy.difference import Change, Difference, FlowChange
from harness.policy.explain import explain
from harness.policy.places import Place
from harness.policy.reachability import same_machine
from harness.policy.rectangles import End
from tests.harness.network.builders import machine, network, nsg, public_ip, rule, vnet
from tests.harness.policy.any_edges import TAGS
from tests.harness.policy.anything import PORTS, any_network
from tests.harness.policy.edges import balanced, frontend, member, pool, public_ips, web, with_balancer
from tests.harness.policy.edits import edited
from tests.harness.policy.ways_in import WaysIn

PORTLESS = (Protocol.ICMP, Protocol.ESP, Protocol.AH)
CLIENTS = (
    *("8.8.8.8", "198.51.100.70", "198.51.100.5", "198.1.1.1", "203.0.113.8", "203.0.113.30", "52.0.0.7"),
    *("2001:db8:5::9", "2600::1"),
)


def allowed(view: Compiled, flow: Flow) -> bool | None:
    """None where it cannot be told; what names an end that is not there does not pass."""
    try:
        return explain(view, flow).allowed
    except UnknownNameError:
        return False
    except InputError:
        return None


def holds(ends: tuple[End, ...], name: str) -> bool:
    return any(
        any(first <= int(end.address.__class__(name)) <= last for first, last in end.ranges)
        if isinstance(end, Place)
        else key(end.configuration.id) == key(name)
        for end in ends
        if isinstance(end, Endpoint) or ("/" not in name and (":" in name) == (end.address.version == 6))
    )


def told_by(changes: list[FlowChange], flow: Flow) -> list[Change]:
    """What the changes say of a flow."""
    return [
        change.change
        for change in changes
        if change.ports.holds(flow.protocol, flow.port)
        for sources, targets in change.pairs
        if holds(sources, flow.source) and holds(targets, flow.target)
    ]


def endpoints(before: Network, after: Network) -> list[Endpoint]:
    """Of both networks, each once."""
    found = {
        key(end.configuration.id): end for net in (before, after) for end in all_endpoints(Compiled(net))
    }
    return list(found.values())


def sampled(chance: Random, ends: list[Endpoint]) -> list[Flow]:
    flows = []
    for _ in range(250):
        source, target = chance.choice(ends), chance.choice(ends)
        if source.family == target.family and not same_machine(source, target):
            flows.append(_flow(chance, source.configuration.id, target.configuration.id))
    for _ in range(100):
        end = chance.choice(ends)
        flows.append(_flow(chance, end.configuration.id, _client(chance, end)))
    return flows


def _client(chance: Random, end: Endpoint) -> str:
    return chance.choice([text for text in CLIENTS if (":" in text) == (end.family == 6)])


def _flow(chance: Random, source: str, target: str) -> Flow:
    protocol = chance.choice((Protocol.TCP, Protocol.TCP, Protocol.UDP, *PORTLESS))
    return Flow(source, target, protocol, chance.choice(PORTS) if protocol.has_ports else None)


def wrong(chance: Random, before: Network, after: Network) -> list[str]:
    changes = Difference(before, after, service_tags=TAGS).changes()
    views = Compiled(before, service_tags=TAGS), Compiled(after, service_tags=TAGS)
    own = {str(item.address) for net in (before, after) for item in net.public_ips.values()}
    ends, ways = endpoints(before, after), [WaysIn(view) for view in views]
    asked = []
    for flow in sampled(chance, ends):
        if flow.target not in own:
            old, new = (allowed(view, flow) for view in views)
            asked.append((flow, old, new))
    for _ in range(100):
        end = chance.choice(ends)
        flow = _flow(chance, _client(chance, end), end.configuration.id)
        old, new = (side.allowed(flow.source, end, flow.protocol, flow.port) for side in ways)
        asked.append((flow, old, new))
    problems = []
    for flow, old, new in asked:
        expected = [] if old is new else [Change.OPENED if new else Change.CLOSED]
        said = told_by(changes, flow)
        if said != expected and None not in (old, new):
            problems.append(f"{flow}: {old} -> {new}, reported {said}")
    for change in changes:
        problems += wrong_example(change)
    return problems


def wrong_example(change: FlowChange) -> list[str]:
    opened = change.change is Change.OPENED
    if (change.before.allowed, change.after.allowed) != (not opened, opened):
        return [f"{change.change} {change.ports} {change.example}: {change.before} / {change.after}"]
    if change.count < 1:
        return [f"{change.example}: about {change.count} pairs"]
    return []


@pytest.mark.parametrize("seed", range(60))
def test_seeded_edits(seed: int) -> None:
    chance = Random(seed)
    before = any_network(chance, edges=seed % 2 == 0)
    problems = wrong(chance, before, edited(chance, before))
    assert not problems, problems[0]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 32), st.booleans())
def test_any_edits(seed: int, edges: bool) -> None:
    chance = Random(seed)
    before = any_network(chance, edges=edges)
    problems = wrong(chance, before, edited(chance, before))
    assert not problems, problems[0]


# -- what is reported --------------------------------------------------------------------------------

SSH = rule("ssh", 110, "Allow", protocol="Tcp", ports="22")


def site(*rules: Any, more: Iterable[Any] = (), sources: str = "Internet") -> Network:
    return network(
        vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24", "db": "10.0.2.0/24"}, nsgs={"web": "n"}),
        nsg("n", rule("tls", 100, "Allow", protocol="Tcp", ports="443", source=sources), *rules),
        public_ip("p", "203.0.113.7"),
        public_ip("q", "203.0.113.8"),
        machine("web-01", "v/web", "10.0.1.4", public_ip="p"),
        machine("web-02", "v/web", "10.0.1.5", public_ip="q"),
        machine("db-01", "v/db", "10.0.2.4"),
        *more,
    )


def names(ends: Iterable[End]) -> list[str]:
    return [end.nic.name if isinstance(end, Endpoint) else str(end) for end in ends]


def test_a_rule_that_opens_a_port_to_the_internet() -> None:
    (change,) = Difference(site(), site(SSH)).changes()
    assert (change.change, str(change.ports), change.count) == (Change.OPENED, "tcp/22", 2)
    ((sources, targets),) = change.pairs
    assert (names(sources), names(targets)) == (["internet"], ["nic-web-01", "nic-web-02"])
    assert [item.id.rpartition("/")[2] for item in change.objects] == ["ssh"]
    assert change.before.explanation is not None
    assert change.after.explanation is not None
    assert (change.before.explanation.rule, change.after.explanation.rule) == ("n/DenyAllInBound", "n/ssh")
    assert change.example.target == "203.0.113.7"


def test_the_other_way_round_it_closes() -> None:
    (change,) = Difference(site(SSH), site()).changes()
    assert (change.change, str(change.ports), change.count) == (Change.CLOSED, "tcp/22", 2)


def test_identical_networks_and_renamed_rules() -> None:
    difference = Difference(site(SSH), site(SSH))
    assert (difference.changes(), difference.objects, difference.unknown) == ([], (), ())
    renamed = Difference(site(SSH), site({**SSH, "name": "secure-shell"}))
    assert renamed.changes() == []
    assert len(renamed.objects) == 2


def test_two_rules_are_two_reasons() -> None:
    dns = rule("dns", 120, "Allow", protocol="Udp", ports="53")
    found = Difference(site(), site(SSH, dns)).changes()
    assert {(str(change.ports), change.objects[0].id.rpartition("/")[2]) for change in found} == {
        ("tcp/22", "ssh"),
        ("udp/53", "dns"),
    }


def test_parts_of_the_internet_are_one_end_again() -> None:
    """Another rule tells them apart; the first opens its port to all of them."""
    dns = rule("dns", 120, "Allow", protocol="Udp", ports="53", source="198.51.100.0/24")
    found = {str(change.ports): change for change in Difference(site(), site(SSH, dns)).changes()}
    assert {ports: names(change.pairs[0][0]) for ports, change in found.items()} == {
        "tcp/22": ["internet"],
        "udp/53": ["198.51.100.0/24"],
    }
    assert [change.count for change in found.values()] == [2, 2]


def test_a_rule_without_effect_changes_no_flow() -> None:
    shadowed = rule("late", 4000, "Allow", protocol="Tcp", ports="443", source="Internet")
    difference = Difference(site(), site(shadowed))
    assert (difference.changes(), len(difference.objects)) == ([], 1)


def test_a_new_machine_is_one_reason() -> None:
    found = Difference(site(), site(more=machine("db-02", "v/db", "10.0.2.5"))).changes()
    assert {change.change for change in found} == {Change.OPENED}
    assert {item.id.rpartition("/")[2] for change in found for item in change.objects} == {"nic-db-02"}
    outward = next(change for change in found if names(change.pairs[0][1]) == ["internet"])
    assert str(outward.ports) == "tcp udp"
    assert "no network interface 'nic-db-02'" in outward.before.why


def balancer() -> Network:
    """Two servers behind port 80 of 203.0.113.10, at port 8080."""
    return with_balancer(
        replace(web(), public_ips=public_ips(front="203.0.113.10")),
        frontends=(frontend("front", "front"),),
        pools=(pool("pool", member("web-01"), member("web-02")),),
        rules=(balanced("http", (80, 8080)),),
    )


def test_behind_a_balancer_the_front_port_is_asked() -> None:
    """The pool has two members, and only the second's own NSG changes."""
    net = balancer()
    group = network(nsg("own", rule("app", 100, "Allow", protocol="Tcp", ports="8080", source="Internet")))
    nics = {name: replace(nic, nsg=next(iter(group.nsgs))) for name, nic in net.nics.items()}
    first = next(name for name in nics if name.endswith("web-01"))
    before = replace(net, nsgs=group.nsgs, nics={**nics, first: net.nics[first]})
    after = replace(net, nsgs=group.nsgs, nics=nics)
    opened = [change for change in Difference(before, after).changes() if change.example.source[0].isdigit()]
    (change,) = opened
    assert (str(change.ports), names(change.pairs[0][1])) == ("tcp/8080", ["nic-web-01"])
    assert change.example.port == 80
    assert change.after.explanation is not None
    assert change.after.explanation.target_nic == nics[first].id


def test_an_address_that_is_not_known_yet() -> None:
    """A plan does not tell the public address of the frontend that it will make."""
    net = balancer()
    group = network(nsg("own", rule("app", 100, "Allow", protocol="Tcp", ports="8080", source="Internet")))
    nics = {name: replace(nic, nsg=next(iter(group.nsgs))) for name, nic in net.nics.items()}
    planned = {name: replace(item, address=None) for name, item in net.public_ips.items()}
    before = replace(net, nsgs=group.nsgs, nics=nics, load_balancers={})
    after = replace(net, nsgs=group.nsgs, nics=nics, public_ips=planned)
    found = [change for change in Difference(before, after).changes() if str(change.ports) == "tcp/8080"]
    assert [(change.change, change.after.allowed) for change in found] == [(Change.OPENED, True)]


def test_what_cannot_be_told_is_said_only_where_it_may_matter() -> None:
    tagged = rule("s", 200, "Deny", "Outbound", destination="Storage")
    harmless = Difference(site(tagged), site(tagged, more=machine("db-02", "v/db", "10.0.2.5")))
    assert harmless.changes()
    assert harmless.unknown == ()
    felt = Difference(site(tagged), site(tagged, SSH))
    assert [str(change.ports) for change in felt.changes()] == ["tcp/22"]
    assert "'Storage'" in felt.unknown[0]


def test_more_changes_than_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.policy.difference._EXPLAINED", 1)
    dns = rule("dns", 120, "Allow", protocol="Udp", ports="53", source="198.51.100.0/24")
    found = Difference(site(), site(SSH, dns)).changes()
    assert [(str(change.ports), change.explained) for change in found] == [
        ("tcp/22", True),
        ("tcp/22 udp/53", False),
    ]
    assert found[1].after.allowed


# -- given flows -------------------------------------------------------------------------------------


def test_given_flows() -> None:
    difference = Difference(site(), site(SSH, more=machine("db-02", "v/db", "10.0.2.5")))
    opened = difference.of(Flow("8.8.8.8", "203.0.113.7", Protocol.TCP, 22))
    assert opened is not None
    assert (opened.change, opened.pairs, opened.count) == (Change.OPENED, (), 1)
    assert difference.of(Flow("8.8.8.8", "203.0.113.7", Protocol.TCP, 443)) is None
    new = difference.of(Flow("db-01", "db-02", Protocol.ICMP))
    assert new is not None
    assert "no VM 'db-02'" in new.before.why
    by_address = difference.of(Flow("10.0.2.5", "10.0.2.6", Protocol.ICMP))
    assert by_address is None
    with pytest.raises(UnknownNameError, match="db-03"):
        difference.of(Flow("db-01", "db-03", Protocol.ICMP))


def test_a_given_flow_that_one_network_cannot_tell() -> None:
    tagged = rule("s", 200, "Deny", "Outbound", destination="Storage")
    with pytest.raises(InputError, match="Storage"):
        Difference(site(), site(tagged)).of(Flow("web-01", "8.8.8.8", Protocol.TCP, 443))
