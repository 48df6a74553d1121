"""Exported ARM templates without expressions: the ids that their resources would have, and clear refusals."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import SnapshotError
from harness.network.model import Network
from harness.network.snapshot import network_from_resources
from harness.network.template import PLACEHOLDER, is_template, template_resources
from tests.harness.network.arm.everything import everything
from tests.harness.network.builders import GROUP, Resource

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
NSG = "Microsoft.Network/networkSecurityGroups"


def template(*resources: Any) -> Resource:
    return {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "parameters": {}, "resources": list(resources)}


def exported(resource: Resource) -> Resource:
    """A resource as a template has it: no id, the name with those of its parents."""
    segments = resource["id"].partition("/providers/")[2].split("/")
    body = {name: value for name, value in resource.items() if name != "id"}
    return body | {
        "name": "/".join(segments[2::2]),
        "apiVersion": "2024-01-01",
        "dependsOn": ["[resourceId('x')]"],
    }


def ids(*resources: Any) -> list[str]:
    return [item["id"] for item in template_resources(template(*resources), "t.json")]


def loaded(document: Resource) -> Network:
    return network_from_resources(template_resources(document, "t.json"), "t.json")


def test_a_template_of_everything_is_the_same_network() -> None:
    document = template(*map(exported, everything()))
    assert loaded(document) == network_from_resources(everything(), "t.json")


def test_children_inside_their_parents() -> None:
    vnet = {
        "type": "Microsoft.Network/virtualNetworks",
        "name": "v",
        "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}},
        "resources": [
            {"type": "subnets", "name": "s", "properties": {"addressPrefix": "10.0.0.0/24"}},
            {
                "type": "Microsoft.Network/virtualNetworks/subnets",
                "name": "v/t",
                "properties": {"addressPrefix": "10.0.1.0/24"},
            },
        ],
    }
    own = f"{PLACEHOLDER}/providers/Microsoft.Network/virtualNetworks/v"
    assert ids(vnet) == [own, f"{own}/subnets/s", f"{own}/subnets/t"]
    assert [subnet.name for subnet in loaded(template(vnet)).subnets.values()] == ["s", "t"]


def test_resources_by_symbolic_name() -> None:
    document = template() | {"languageVersion": "2.0", "resources": {"web": {"type": NSG, "name": "n"}}}
    assert [item["name"] for item in template_resources(document, "t.json")] == ["n"]


def test_what_is_not_deployed_is_left_out() -> None:
    off = {"type": NSG, "name": "off", "condition": False, "properties": {}}
    known = {"type": NSG, "name": "known", "existing": True}
    assert ids(off, known, {"type": NSG, "name": "on", "condition": True}) == [
        f"{PLACEHOLDER}/providers/{NSG}/on"
    ]


@pytest.mark.parametrize(
    ("references", "scope"),
    [
        ([], PLACEHOLDER),
        ([f"{GROUP}/providers/{NSG}/a", f"{GROUP.upper()}/providers/{NSG}/b"], GROUP),
        ([f"{GROUP}/providers/{NSG}/a", f"{GROUP}-2/providers/{NSG}/b"], PLACEHOLDER),
    ],
)
def test_the_scope_is_that_of_all_ids_or_a_placeholder(references: list[str], scope: str) -> None:
    body = {"type": NSG, "name": "n", "properties": {"x": [{"id": reference} for reference in references]}}
    assert ids(body) == [f"{scope}/providers/{NSG}/n"]


@pytest.mark.parametrize(
    ("text", "literal"), [("[[x]", "[x]"), ("[[x", "[[x"), ("[x", "[x"), ("x]", "x]"), ("[]x", "[]x")]
)
def test_text_that_is_no_expression(text: str, literal: str) -> None:
    (found,) = template_resources(template({"type": NSG, "name": "n", "tag": [text]}), "t.json")
    assert found["tag"] == [literal]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "[parameters('n')]"}, [NSG, "name", "[parameters('n')]"]),
        ({"location": "[resourceGroup().location]"}, [NSG, "'n'", "location"]),
        (
            {"properties": {"subnets": [{"id": "[resourceId('a', 'b')]"}]}},
            ["'n'", "properties.subnets[0].id"],
        ),
        ({"name": "n/m"}, [NSG, "name", "2 segments"]),
        ({"name": "a//b", "type": f"{NSG}/x/y"}, ["name"]),
        ({"name": "n", "type": "Microsoft.Network"}, ["name"]),
        ({"name": 5}, ["name", "a number"]),
        ({"type": None}, ["type", "missing"]),
        ({"resources": [1]}, ["resources[0]", "an object"]),
        ({"resources": [{"type": "x", "name": "[y]"}]}, ["'[y]'"]),
    ],
)
def test_refused(change: Resource, words: list[str]) -> None:
    with pytest.raises(SnapshotError) as raised:
        ids({"type": NSG, "name": "n", "properties": {}} | change)
    for word in ("t.json: ", *words):
        assert word in raised.value.message


def test_an_expression_says_what_to_do_instead() -> None:
    with pytest.raises(SnapshotError) as raised:
        ids({"type": NSG, "name": "[variables('n')]"})
    assert "az network vnet list" in raised.value.hint


@pytest.mark.parametrize(
    "schema", ["2015-01-01/deploymentTemplate.json#", "2018-05-01/subscriptionDeploymentTemplate.json#"]
)
def test_what_is_a_template(schema: str) -> None:
    assert is_template({"$schema": f"https://schema.management.azure.com/schemas/{schema}"})
    assert not is_template({"$schema": 5})
    assert not is_template({"resources": []})


TEMPLATE = template(*map(exported, everything()))
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=8),
    st.sampled_from(["", "/", "a/b", "[x]", "[[x]"]),
    st.sampled_from([[], {}, [1], {"a": "[x]"}]),
)


def check_loads_or_says_where(document: Resource) -> None:
    try:
        loaded(document)
    except SnapshotError as error:
        message = error.message
    else:
        return
    assert message.startswith("t.json: ")


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(TEMPLATE["resources"]) - 1),
    st.sampled_from(["type", "name", "properties", "condition", "resources", "sku", "location"]),
    junk,
)
def test_any_change_loads_or_says_where_it_is_wrong(number: int, name: str, value: Any) -> None:
    document = copy.deepcopy(TEMPLATE)
    document["resources"][number][name] = value
    check_loads_or_says_where(document)


@given(junk)
def test_any_resources(value: Any) -> None:
    check_loads_or_says_where(template() | {"resources": value})
