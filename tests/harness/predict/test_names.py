"""Names: short but unambiguous, sorted as people count, and summarised without a lie."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.network.model import key
from harness.predict.names import NameSummary, listed, natural_key, unambiguous

NAME = st.from_regex(r"[a-c]{1,2}-?[0-9]{1,3}[a-b]?|[a-c]{1,3}", fullmatch=True)
NAMES = st.lists(NAME, min_size=1, max_size=40, unique=True)


def arm_id(group: str, name: str, subscription: str = "s") -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/x/virtualMachines/{name}"


def test_the_group_is_named_where_the_name_is_not_enough_and_the_id_where_that_is_not() -> None:
    ids = [
        arm_id("a", "web"), arm_id("b", "WEB"), arm_id("a", "db"),
        arm_id("c", "x", "s1"), arm_id("c", "x", "s2"),
    ]  # fmt: skip
    names = unambiguous(ids)
    assert [names[key(identity)] for identity in ids] == ["a/web", "b/WEB", "db", ids[3], ids[4]]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from("st"))))
def test_names_are_unique(parts: list[tuple[str, str, str]]) -> None:
    ids = {arm_id(*part) for part in parts}
    assert len(set(unambiguous(ids).values())) == len(ids)


def test_a_name_cannot_steer_the_terminal() -> None:
    assert unambiguous([arm_id("a", "x\x1b[31m")]) == {key(arm_id("a", "x\x1b[31m")): "x\\x1b[31m"}


def test_names_are_sorted_as_people_count() -> None:
    assert sorted(["vm-10", "vm-9", "VM-1", "db"], key=natural_key) == ["db", "VM-1", "vm-9", "vm-10"]


def test_a_number_of_any_length_is_sorted() -> None:
    long = "1" * 5000
    assert sorted([f"a{long}1", f"a{long}"], key=natural_key) == [f"a{long}", f"a{long}1"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["web-01", "web-02", "web-03"], [("web-01..web-03", 3)]),
        # nothing of that name is between the two
        (["web-03", "web-07"], [("web-03..web-07", 2)]),
        (["web-01", "web-03", "db"], [("web-01", 1), ("web-03", 1), ("db", 1)]),
        (["a1-eu", "a2-eu"], [("a1-eu..a2-eu", 2)]),
    ],
)
def test_runs(members: list[str], expected: list[tuple[str, int]]) -> None:
    summary = NameSummary(["web-01", "web-02", "web-03", "web-07", "db", "a1-eu", "a2-eu", "a1-us"])
    assert sorted(summary.parts(members)) == sorted(expected)


@settings(deadline=None)
@given(NAMES, st.data())
def test_runs_stand_for_exactly_their_names(names: list[str], data: st.DataObject) -> None:
    members = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    found = []
    for text, count in NameSummary(names).parts(members):
        first, _, last = text.partition("..")
        # a reader takes the network's names from the first to the last that differ in the number only
        stem = re.fullmatch(r"(.*?)[0-9]+([^0-9]*)", first)
        between = [
            name
            for name in names
            if name == first
            or (
                last
                and stem
                and re.fullmatch(re.escape(stem[1]) + "[0-9]+" + re.escape(stem[2]), name)
                and natural_key(first) <= natural_key(name) <= natural_key(last)
            )
        ]
        assert len(between) == count
        found += between
    assert sorted(found) == sorted(members)


def test_what_is_left_out_is_counted() -> None:
    parts = [("a1..a5", 5), ("b", 1), ("c", 1), ("d", 1), ("e", 1)]
    assert listed(parts) == "a1..a5, b, c +2 more (9)"
    assert listed([("a", 1)]) == "a"
