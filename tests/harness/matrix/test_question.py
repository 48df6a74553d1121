"""Which flows a matrix asks, grouped by source."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import AzreachError, InputError, UnknownNameError
from harness.matrix.question import Ask, build_question, chunks, parse_ports
from harness.model import Flow, Protocol
from tests.harness.matrix.samples import NAMES, environment, tcp


def test_ports() -> None:
    assert parse_ports("22, 1433/tcp,53/UDP,8000-8002,22/tcp") == (
        *tcp(22, 1433),
        Ask(Protocol.UDP, 53),
        *tcp(8000, 8001, 8002),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is no port"),
        ("80,", "'' is no port"),
        ("http", "'http' is no port"),
        ("0", "ports are 1 to 65535"),
        ("70000/tcp", "ports are 1 to 65535"),
        ("90-80", "the lower one first"),
        ("80/", "'' is neither tcp nor udp"),
        ("80/sctp", "'sctp' is neither"),
        ("٣", "is no port"),
    ],
)
def test_wrong_ports(text: str, says: str) -> None:
    with pytest.raises(InputError, match=r"^--ports: .*") as caught:
        parse_ports(text)
    assert says in caught.value.message


@given(st.text(max_size=30))
def test_any_text_is_ports_or_one_error(text: str) -> None:
    try:
        asks = parse_ports(text)
    except AzreachError:
        return
    assert asks
    assert all(ask.port is not None and 1 <= ask.port <= 65535 for ask in asks)


def test_every_ordered_pair_once_and_nobody_asks_itself() -> None:
    question = build_question(environment(), ports=tcp(22, 80))
    flows = list(question.flows())
    assert len(flows) == len(set(flows)) == question.count == 3 * 2 * 2
    assert {(f.source, f.target) for f in flows} == {(a, b) for a in NAMES for b in NAMES if a != b}
    assert all(flow.source == source for source, row in question.rows.items() for flow in row)


def test_a_source_goes_round_its_targets_and_begins_behind_itself() -> None:
    names = [f"vm-{number}" for number in range(6)]
    question = build_question(environment(names), ports=tcp(22, 80))
    assert [(f.target, f.port) for f in question.rows["vm-4"][:6]] == [
        ("vm-5", 22),
        ("vm-0", 22),
        ("vm-1", 22),
        ("vm-2", 22),
        ("vm-3", 22),
        ("vm-5", 80),
    ]
    # so that all sources together ask each target once in each turn
    for turn in range(5):
        assert max(Counter(row[turn].target for row in question.rows.values()).values()) == 1


def test_globs_and_addresses() -> None:
    question = build_question(
        environment(), sources=["web-*"], targets=["db-01", "10.9.9.9", "db-*"], ports=tcp(22)
    )
    assert question.sources == ("web-01", "web-02")
    assert question.targets == ("db-01", "10.9.9.9")
    with pytest.raises(UnknownNameError, match=r"--from: 'app-\*' matches no machine"):
        build_question(environment(), sources=["app-*"], ports=tcp(22))
    with pytest.raises(UnknownNameError, match="--to: 'nowhere' matches no machine"):
        build_question(environment(), targets=["nowhere"], ports=tcp(22))
    with pytest.raises(UnknownNameError, match=r"--from: '10\.9\.9\.9'"):
        build_question(environment(), sources=["10.9.9.9"], ports=tcp(22))


def test_without_ports_a_target_is_asked_for_its_services_and_declared_flows() -> None:
    given = environment(
        services={"db-01": [{"port": 1433}, {"port": 53, "protocol": "udp"}]},
        flows=[
            {"from": "web-*", "to": "db-*", "port": 1433},
            {"from": "web-01", "to": "db-01", "protocol": "icmp"},
            {"from": "web-01", "to": "web-02", "port": 80, "family": 6},
            {"from": "web-01", "to": "10.9.9.9", "port": 443},
        ],
    )
    question = build_question(given)
    assert question.rows["web-02"] == (
        Flow("web-02", "db-01", Protocol.TCP, 1433),
        Flow("web-02", "db-01", Protocol.UDP, 53),
        Flow("web-02", "db-01", Protocol.ICMP),
    )
    assert question.rows["db-01"] == (Flow("db-01", "web-02", Protocol.TCP, 80, 6),)
    outside = build_question(given, targets=["10.9.9.9"])
    assert {flow.port for flow in outside.flows()} == {443}


def test_echo_and_ipv6() -> None:
    question = build_question(environment(), ports=tcp(22), icmp=True, family=6)
    assert set(question.rows["db-01"]) == {
        Flow("db-01", web, protocol, port, 6)
        for web in ("web-01", "web-02")
        for protocol, port in ((Protocol.TCP, 22), (Protocol.ICMP, None))
    }


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [({}, "give --ports or --icmp"), ({"sources": ["db-01"], "targets": ["db-01"]}, "for itself")],
)
def test_nothing_to_ask(arguments: dict[str, list[str]], hint: str) -> None:
    with pytest.raises(InputError, match="nothing to ask") as caught:
        build_question(environment(), **arguments)  # type: ignore[arg-type]
    assert hint in caught.value.hint


def test_more_than_a_matrix_holds() -> None:
    with pytest.raises(InputError, match="more than a matrix holds"):
        build_question(environment(f"vm-{n}" for n in range(10)), ports=parse_ports("1-65535"))


def test_the_digest_is_the_sets_own() -> None:
    first = build_question(environment(), ports=tcp(22, 80))
    assert build_question(environment(reversed(NAMES)), ports=tcp(80, 22)).digest() == first.digest()
    assert build_question(environment(), ports=tcp(22)).digest() != first.digest()
    assert build_question(environment(), ports=tcp(22, 80), family=6).digest() != first.digest()


@given(st.integers(0, 50), st.integers(1, 20))
def test_chunks_are_the_flows_in_their_order(count: int, size: int) -> None:
    flows = [Flow("a", "b", Protocol.TCP, port) for port in range(1, count + 1)]
    portions = chunks(flows, size)
    assert [flow for portion in portions for flow in portion] == flows
    assert all(0 < len(portion) <= size for portion in portions)
