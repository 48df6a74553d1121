"""Groups say of every pair what the engine says, and count pairs as one counts them by hand."""

from __future__ import annotations

import pytest

from harness.network.model import Network
from harness.policy.portset import PortSet
from harness.policy.reachability import reachability
from harness.predict.ends import chosen
from harness.predict.groups import digest_of_groups, digest_of_pairs
from harness.predict.prediction import predict
from harness.predict.table import Descriptions, closing_lines, table_lines
from tests.harness.network.builders import machine, network, vnet
from tests.harness.predict.networks import random_network, tiers_network

NO_LIMIT = 1_000_000


@pytest.mark.parametrize("asked", [None, PortSet(((443, 443),))], ids=str)
@pytest.mark.parametrize("net", [tiers_network(), random_network(11)], ids=["tiers", "random"])
def test_lines_are_the_whole_answer(net: Network, asked: PortSet | None) -> None:
    engine, prediction = reachability(net), predict(net, asked=asked)
    machines = prediction.machines.tolist()
    (answer,) = prediction.families
    digest = digest_of_groups(prediction, answer.merged(), NO_LIMIT)
    found: dict[tuple[int, int], PortSet] = {}
    for line in digest.lines:
        own = [(a, b) for a in line.sources for b in line.targets if machines[a] != machines[b]]
        assert len(own) == line.pairs
        assert not found.keys() & set(own)
        found |= dict.fromkeys(own, line.ports)
    everyone = range(len(machines))
    asked_of = [(a, b) for a in everyone for b in everyone if machines[a] != machines[b]]
    sets = {pair: engine.ports(*pair) if asked is None else engine.ports(*pair) & asked for pair in asked_of}
    assert found == {pair: ports for pair, ports in sets.items() if ports}
    assert (digest.pairs, digest.passing, digest.shown) == (len(asked_of), len(found), len(found))
    assert digest.found == len(digest.lines)


def test_the_lines_that_stand_for_most_pairs_are_kept() -> None:
    prediction = predict(random_network(12))
    (answer,) = prediction.families
    whole, cut = (digest_of_groups(prediction, answer.merged(), limit) for limit in (NO_LIMIT, 5))
    assert sorted(line.pairs for line in cut.lines) == sorted(line.pairs for line in whole.lines)[-5:]
    assert (cut.found, cut.passing) == (len(whole.lines), whole.passing)
    (first, second) = closing_lines(cut, 4, 30, 20)
    assert first.startswith("IPv4: 30 addresses in 20 classes; something passes between ")
    assert second.startswith(f"shown are 5 of {cut.found:,} lines, {cut.shown:,} pairs")


def test_the_table_of_the_tiers() -> None:
    prediction = predict(tiers_network(), asked=PortSet(((22, 22), (443, 443), (1433, 1433))))
    (answer,) = prediction.families
    digest = digest_of_groups(prediction, answer.merged(), NO_LIMIT)
    text = [
        "".join(part for part, _ in line).rstrip() for line in table_lines(digest, Descriptions(prediction))
    ]
    assert text == [
        "jump-01..jump-02 (2)  hub/jump, no NSG",
        "  -> jump-01..jump-02 (2)               hub/jump, no NSG   tcp/22,443,1433",
        "  -> web-01..web-03, fw 10.1.1.100 (4)  prod/web, nsg-web  tcp/22,443",
        "",
        "app-01..app-02, fw 10.1.2.100 (3)  prod/app, nsg-app",
        "  -> jump-01..jump-02 (2)               hub/jump, no NSG   tcp/22,443,1433",
        "  -> db-01..db-02 (2)                   prod/db, nsg-db    tcp/1433",
        "  -> web-01..web-03, fw 10.1.1.100 (4)  prod/web, nsg-web  tcp/443",
        "",
        "db-01..db-02 (2)  prod/db, nsg-db",
        "  -> db-01..db-02, jump-01..jump-02 (4)  2 virtual networks  tcp/22,443,1433",
        "  -> web-01..web-03, fw 10.1.1.100 (4)   prod/web, nsg-web   tcp/443",
        "",
        "web-01..web-03, fw 10.1.1.100 (4)  prod/web, nsg-web",
        "  -> jump-01..jump-02 (2)               hub/jump, no NSG   tcp/22,443,1433",
        "  -> web-01..web-03, fw 10.1.1.100 (4)  prod/web, nsg-web  tcp/443",
        "",
    ]


def test_pairs_one_by_one() -> None:
    prediction = predict(tiers_network(), asked=PortSet(((443, 443), (1433, 1433))))
    (answer,) = prediction.families
    sources, targets = (chosen(prediction.ends, [text], "") for text in ("app-*", "10.1.0.0/16"))
    digest = digest_of_pairs(prediction, answer, sources, targets, 4)
    label = prediction.labels
    assert [
        (label[line.sources[0]], label[line.targets[0]], str(line.ports)) for line in digest.lines
    ] == [
        ("app-01", "db-01", "tcp/1433"),
        ("app-01", "db-02", "tcp/1433"),
        ("app-01", "fw 10.1.1.100", "tcp/443"),
        ("app-01", "web-01", "tcp/443"),
    ]  # fmt: skip
    # each of two sources: nine other addresses of prod, six of which answer
    assert (digest.pairs, digest.passing, digest.found) == (16, 12, 12)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("abcd", "hub/* (4)"),
        ("abcdef", "hub/*, far/* (6)"),
        ("abefc", "far/*, hub/x/*, c (5)"),
        ("abc", "a, b, c (3)"),
    ],
)
def test_names_in_many_runs_are_told_by_their_places(names: str, expected: str) -> None:
    """Whole virtual networks and subnets first, then what is left of others."""
    prediction = predict(
        network(
            vnet("hub", "10.0.0.0/16", {"x": "10.0.0.0/24", "y": "10.0.1.0/24"}),
            vnet("far", "10.1.0.0/16", {"z": "10.1.0.0/24"}),
            machine("a", "hub/x", "10.0.0.4"),
            machine("b", "hub/x", "10.0.0.5"),
            machine("c", "hub/y", "10.0.1.4"),
            machine("d", "hub/y", "10.0.1.5"),
            machine("e", "far/z", "10.1.0.4"),
            machine("f", "far/z", "10.1.0.5"),
        )
    )
    numbers = [number for name in names for number, end in enumerate(prediction.ends) if end.name == name]
    assert Descriptions(prediction).names(numbers) == expected
