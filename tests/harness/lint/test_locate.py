"""Lines of resources and their children, whatever the layout of the file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lint.locate import Lines
from tests.harness.network.builders import arm_id, machine, nsg, peering, rule, subnet_id, vnet, vnet_id

RESOURCES: list[Any] = [
    vnet("v", "10.0.0.0/16", {"s": "10.0.1.0/24"}, [peering("v", "w", "10.1.0.0/16")], nsgs={"s": "n"}),
    nsg("n", rule("first", 100, "Allow"), rule("second", 200, "Deny")),
    *machine("m", "v/s", "10.0.1.4", nsg="n"),
]
IDS = [item["id"] for item in RESOURCES]
CHILDREN = [
    subnet_id("v/s"),
    f"{vnet_id('v')}/virtualNetworkPeerings/v-w",
    f"{arm_id('networkSecurityGroups', 'n')}/securityRules/second",
]


@given(
    st.sampled_from(["resources", "value", None]),
    st.sampled_from([0, 1, 2, "\t"]),
    st.permutations(RESOURCES),
    st.booleans(),
    st.dictionaries(st.text(max_size=5).filter(lambda name: name not in ("resources", "value")),
                    st.recursive(st.text(max_size=5) | st.integers(), st.lists, max_leaves=5), max_size=3),
)  # fmt: skip
def test_every_object_is_found(
    name: str | None, indent: Any, resources: list[Any], marked: bool, before: dict[str, Any]
) -> None:
    document = resources if name is None else {**before, name: resources}
    text = ("\ufeff" if marked else "") + json.dumps(document, indent=indent)
    lines, found = text.split("\n"), Lines(text)
    for identity in IDS:
        line = found.of(identity.upper())
        assert line is not None
        # the object begins here, and its id is the first thing in it
        assert lines[line - 1].strip() == "{"
        assert json.dumps(identity) in lines[line]
    for identity in CHILDREN:
        line = found.of(identity)
        assert line is not None
        assert lines[line - 1].strip().rstrip(",") == f'"id": {json.dumps(identity)}'


def test_a_child_without_an_id_is_found_by_its_name() -> None:
    group = nsg("n", rule("first", 100, "Allow"), rule("second", 200, "Deny"))
    for item in group["properties"]["securityRules"]:
        del item["id"]
    text = json.dumps({"resources": [group]}, indent=1)
    line = Lines(text).of(CHILDREN[-1])
    assert line is not None
    assert text.split("\n")[line - 1].strip() == '"name": "second",'


def test_what_is_not_there_has_its_parents_line_or_none() -> None:
    found = Lines(json.dumps({"resources": RESOURCES}))
    assert found.of(f"{arm_id('networkSecurityGroups', 'n')}/defaultSecurityRules/DenyAllInBound") == 1
    assert found.of(arm_id("networkSecurityGroups", "other")) is None
    assert found.of("nonsense") is None


@given(
    st.text()
    | st.sampled_from(["", "{", "[", '{"resources": [', '{"resources": 3}', "null", "a: 1\n", "[1, {}]"])
)
@pytest.mark.parametrize("identity", [IDS[0], ""])
def test_any_text_is_survived(identity: str, text: str) -> None:
    assert Lines(text).of(identity) is None
