"""The engine's verdict against real packets: random networks, random flows, the edge to the internet.

Fabric and engine are independent readings of the same documents, so a disagreement is a bug in one
of them. A failure shows the engine's reasons and the network as a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from tests.harness.network.builders import Resource, network
from tests.harness.policy.fabric_comparison import (
    EDGE,
    FLOWS,
    INSIDE,
    OPEN,
    RUN,
    Tally,
    agree,
    disagreements,
    established,
    failure,
    plainest,
    told,
)
from tests.harness.policy.fabric_pool import PATIENCE, QUIET, Pool, pool
from tests.harness.policy.strategies import Shape, changed, resources
from tests.harness.policy.strategies_flows import Case, cases

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def machines() -> Iterator[Pool]:
    with pool() as made:
        made.start(network(*plainest(EDGE)))
        yield made


@pytest.mark.parametrize(
    ("shape", "networks"), [(INSIDE, 120), (EDGE, 80), (OPEN, 80)], ids=["inside", "edge", "open"]
)
def test_random_networks_and_flows(machines: Pool, shape: Shape, networks: int) -> None:
    tally = Tally()

    @settings(RUN, max_examples=networks)
    @given(cases(shape, FLOWS))
    def run(case: Case) -> None:
        wrong = disagreements(machines, case, tally)
        assert not wrong, failure(wrong, case.resources)

    run()
    # hypothesis draws some of them twice
    assert len(tally.networks) > networks * 0.7
    assert tally.flows > networks * FLOWS * 0.75
    assert tally.flows * 0.1 < tally.allowed < tally.flows * 0.9, tally
    assert tally.undecided + tally.set_aside < tally.flows * 0.05
    assert len(tally.causes) >= 10, tally.causes


EVERYTHING_BUT_MACHINES = ("networkSecurityGroups", "routeTables", "virtualNetworks")


@pytest.mark.parametrize(
    ("shape", "kinds", "networks"),
    [(INSIDE, EVERYTHING_BUT_MACHINES, 40), (EDGE, ("networkSecurityGroups",), 40)],
    ids=["inside", "edge"],
)
def test_changes_under_established_flows(
    machines: Pool, shape: Shape, kinds: tuple[str, ...], networks: int
) -> None:
    """Connections, datagrams and pings that came about before a change, and what becomes of them."""
    ended = went_on = 0

    @settings(RUN, max_examples=networks)
    @given(cases(shape, FLOWS), resources(shape))
    def run(case: Case, other: list[Resource]) -> None:
        nonlocal ended, went_on
        before, changed_to = case.network(), changed(case.resources, other, kinds)
        after = network(*changed_to)
        machines.apply(before)
        sent = machines.send(before, case.probes)
        with machines.flows(sent) as (came_about, alive):
            machines.apply(after)
            seen = alive(QUIET)
            found = {number: established(before, after, sent[number]) for number in came_about}
            if any(
                item is not None and item.allowed and number not in seen for number, item in found.items()
            ):
                seen |= alive(PATIENCE)
        ended += len(came_about - seen)
        went_on += len(seen)
        wrong = [
            f"{sent[number]}: engine says {item.verdict} {item.cause}\n{told(item)}"
            for number, item in found.items()
            if item is not None and not agree(item, number in seen)
        ]
        assert not wrong, failure(wrong, case.resources, changed_to)

    run()
    assert went_on > networks * 10
    if kinds == EVERYTHING_BUT_MACHINES:
        assert ended > networks
    else:
        assert ended == 0, "a change of rules is for new flows only"
