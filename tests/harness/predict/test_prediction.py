"""The narrowed answer is the engine's, whatever was asked; merging classes changes no pair."""

from __future__ import annotations

import pytest

from harness.errors import InputError
from harness.network.model import Network
from harness.policy.portset import ALL_PORTS, PortSet
from harness.policy.reachability import reachability
from harness.predict.prediction import FamilyPrediction, predict
from tests.harness.network.builders import network, vnet
from tests.harness.predict.networks import random_network, tiers_network

ASKED = (
    None,
    PortSet(((443, 443),)),
    PortSet(((20, 5000),), ((53, 53), (60000, 60001)), icmp=True),
    PortSet(ALL_PORTS, esp=True),
)


def pairs(answer: FamilyPrediction) -> dict[tuple[int, int], PortSet]:
    return {
        (source, target): answer.sets.portset(int(answer.numbers[row, column]))
        for row, sources in enumerate(answer.members)
        for column, targets in enumerate(answer.members)
        for source in sources
        for target in targets
        if source != target
    }


@pytest.mark.parametrize("asked", ASKED, ids=str)
@pytest.mark.parametrize(
    "net", [tiers_network(), random_network(1), random_network(2)], ids=["tiers", "1", "2"]
)
def test_every_pair_is_what_the_engine_says(net: Network, asked: PortSet | None) -> None:
    engine = reachability(net)
    prediction = predict(net, asked=asked)
    (answer,) = prediction.families
    found, merged = pairs(answer), pairs(answer.merged())
    count = len(prediction.ends)
    assert len(found) == len(merged) == count * (count - 1)
    for (source, target), ports in found.items():
        if prediction.machines[source] == prediction.machines[target]:
            continue
        whole = engine.ports(source, target)
        assert ports == (whole if asked is None else whole & asked)
        assert merged[source, target] == ports


def test_merging_joins_classes_that_nobody_asked_to_tell_apart() -> None:
    (answer,) = predict(random_network(3, 60), asked=PortSet(((443, 443),))).families
    assert len(answer.merged().members) < len(answer.members)


def test_no_address_of_the_family() -> None:
    with pytest.raises(InputError, match="no IPv6 address"):
        predict(tiers_network(), family=6)
    with pytest.raises(InputError, match="no network interface"):
        predict(network(vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"})))
