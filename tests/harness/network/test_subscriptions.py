"""Two descriptions of one network in different subscriptions meet where only that can be meant."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.network.snapshot import Source
from harness.network.subscriptions import in_one_subscription, subscriptions
from harness.network.terraform.identities import PLACEHOLDER_SUBSCRIPTION
from tests.harness.network.builders import GROUP, nic, vnet

OWN = GROUP.split("/")[2]
OTHER, THIRD = "99999999-0000-4000-8000-000000000001", "99999999-0000-4000-8000-000000000002"


def source(*names: str) -> Source:
    """A virtual network and a NIC in each of some subscriptions."""
    text = json.dumps([vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}), nic("n", "v/s", "10.0.0.4")])
    bodies = [body for name in names for body in json.loads(text.replace(OWN, name))]
    return Source("test", bodies)


def moved(before: Source, after: Source) -> tuple[set[str], set[str], tuple[str, ...]]:
    old, new, notes = in_one_subscription([before], [after])
    return set(subscriptions(old)), set(subscriptions(new)), notes


def test_a_plan_is_in_the_subscription_of_the_snapshot() -> None:
    for pair in ((OWN, PLACEHOLDER_SUBSCRIPTION), (PLACEHOLDER_SUBSCRIPTION, OWN)):
        old, new, notes = moved(*(source(name) for name in pair))
        assert old == new == {OWN}
        assert len(notes) == 1
        assert OWN in notes[0]


def test_what_a_plan_knows_stays_where_it_is() -> None:
    old, new, notes = moved(source(OWN), source(THIRD, PLACEHOLDER_SUBSCRIPTION))
    assert (old, new, len(notes)) == ({OWN}, {OWN, THIRD}, 1)


def test_which_of_several_is_not_guessed() -> None:
    old, new, notes = moved(source(OWN, OTHER), source(PLACEHOLDER_SUBSCRIPTION))
    assert (old, new) == ({OWN, OTHER}, {PLACEHOLDER_SUBSCRIPTION})
    assert "counts as new" in notes[0]


def test_a_copy_of_an_environment() -> None:
    old, new, notes = moved(source(OWN), source(OTHER))
    assert old == new == {OWN}
    assert OTHER in notes[0]


def test_nothing_to_do() -> None:
    assert moved(source(OWN), source(OWN.upper())) == ({OWN}, {OWN}, ())
    assert moved(source(OWN, OTHER), source(OWN, THIRD))[2] == ()
    assert moved(source(PLACEHOLDER_SUBSCRIPTION), source(PLACEHOLDER_SUBSCRIPTION))[2] == ()


def test_every_reference_moves_and_nothing_else() -> None:
    _, (new,), _ = in_one_subscription([source(OWN)], [source(OTHER)])
    assert json.dumps(new.resources) == json.dumps(source(OWN).resources)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_body(value: Any) -> None:
    body = {"id": f"/subscriptions/{OTHER}/x", "properties": value}
    _, (new,), _ = in_one_subscription([source(OWN)], [Source("test", [body])])
    assert new.resources[0] == {"id": f"/subscriptions/{OWN}/x", "properties": value}
