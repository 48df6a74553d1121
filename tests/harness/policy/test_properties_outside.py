"""What passes to and from the internet, at once, against one flow at a time: the same verdict everywhere."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import AzreachError, InputError
from harness.model import Flow, Protocol
from harness.policy.compiled import Compiled
from harness.policy.decision import Explanation, Options
from harness.policy.explain import explain
from harness.policy.outside import UNKNOWN, Outside, outside
from harness.policy.places import Place
from harness.policy.reachability import Reachability, reachability
from tests.harness.policy.any_edges import TAGS
from tests.harness.policy.anything import PORTS, any_network
from tests.harness.policy.ways_in import WaysIn

OPTIONS = (
    Options(),
    Options(peering_access="no-traffic"),
    Options(forwarded_traffic="not-enforced"),
    Options(default_outbound="denied"),
)
PORTLESS = (Protocol.ICMP, Protocol.ESP, Protocol.AH)


def asked(chance: Random) -> list[tuple[Protocol, int | None]]:
    return [
        (chance.choice((Protocol.TCP, Protocol.UDP)), chance.choice(PORTS)),
        (chance.choice((Protocol.TCP, Protocol.UDP)), chance.choice(PORTS)),
        (chance.choice(PORTLESS), None),
    ]


def addresses(chance: Random, place: Place) -> list[str]:
    """The place's first address, its last, and any other."""
    kind = type(place.address)
    first, last = chance.choice(place.ranges)
    return [str(place.address), str(kind(place.ranges[-1][1])), str(kind(chance.randint(first, last)))]


def outward(view: Compiled, reach: Reachability, found: Outside, chance: Random) -> list[str]:
    wrong = []
    for number, row in found.outward.items():
        endpoint = reach.endpoints[number]
        for place, sets in zip(found.places, row.tolist(), strict=True):
            if place.own:
                continue
            for protocol, port in asked(chance):
                goal = chance.choice(addresses(chance, place))
                flow = Flow(endpoint.configuration.id, goal, protocol, port)
                try:
                    said: Explanation | None = explain(view, flow)
                except InputError:
                    said = None
                if sets == UNKNOWN or (said is None and not sets):
                    # whatever a rule says that cannot be told, no way leads there
                    continue
                passing = found.masks.portset(sets)
                if said is None or said.allowed is not passing.holds(protocol, port):
                    wrong.append(told(flow, passing, said))
    return wrong


def inward(view: Compiled, reach: Reachability, found: Outside, chance: Random) -> list[str]:
    """Every way in is asked for at its public address; what no way publishes must not pass."""
    ways = WaysIn(view)
    wrong = []
    for number, row in found.inward.items():
        target = reach.endpoints[number]
        for place, sets in zip(found.places, row.tolist(), strict=True):
            for protocol, port in asked(chance):
                client = chance.choice(addresses(chance, place))
                allowed = ways.allowed(client, target, protocol, port)
                if sets == UNKNOWN or allowed is None:
                    continue
                passing = found.masks.portset(sets)
                if allowed is not passing.holds(protocol, port):
                    answers = ways.answers(client, target, protocol, port)
                    flow = Flow(client, target.configuration.id, protocol, port)
                    wrong.append(told(flow, passing, next(iter(answers), None)))
    return wrong


def told(flow: Flow, passing: object, said: Explanation | None) -> str:
    decisions = said.decisions if said is not None else ()
    return "\n".join([f"{flow}: {passing}", *(f"{d.way} {d.access} {d.where}: {d.why}" for d in decisions)])


def disagreements(view: Compiled, chance: Random) -> list[str]:
    reach = reachability(view)
    wrong = []
    for found in outside(view, reach):
        wrong += outward(view, reach, found, chance) + inward(view, reach, found, chance)
    return wrong


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 32), st.sampled_from(OPTIONS), st.booleans())
def test_any_network(seed: int, options: Options, tags: bool) -> None:
    chance = Random(seed)
    view = Compiled(any_network(chance, edges=True), options, TAGS if tags else None)
    try:
        wrong = disagreements(view, chance)
    except AzreachError as error:
        pytest.fail(f"everything is in the network: {error}")
    assert not wrong, wrong[0]


@pytest.mark.parametrize("seed", range(40))
def test_seeded_network(seed: int) -> None:
    chance = Random(seed)
    view = Compiled(any_network(chance, edges=True), OPTIONS[seed % 4], TAGS if seed % 5 else None)
    wrong = disagreements(view, chance)
    assert not wrong, wrong[0]
