"""What azure-cli prints becomes ARM's shape again: flattened or not, it is the same network."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.network.azcli import arm_shape
from harness.network.snapshot import network_from_resources
from tests.harness.network.arm.everything import everything

OUTSIDE = {"id", "name", "type", "kind", "location", "sku"}
"""What azure-cli leaves beside the properties that it lifts, of what the test network has."""


def flattened(value: Any, *, old: bool) -> Any:
    """As ``az network ... list`` prints it; ``old``: as versions before the casing of ARM did."""
    if isinstance(value, list):
        return [flattened(item, old=old) for item in value]
    if not isinstance(value, dict):
        return value
    body = {k: v for k, v in value.items() if k != "properties"} | value.get("properties", {})
    found = {
        (name.replace("IPA", "IpA").replace("IPC", "IpC").replace("IPF", "IpF") if old else name): flattened(
            item, old=old
        )
        for name, item in body.items()
    }
    return found | {"resourceGroup": "rg"} if "id" in value else found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_flattened_resources_load_as_their_originals(data: st.DataObject) -> None:
    originals = everything()
    # classic resources are printed by `az resource`, which flattens nothing
    mixed = [
        item
        if "Classic" in item["type"] or not data.draw(st.booleans())
        else arm_shape(flattened(item, old=data.draw(st.booleans())))
        for item in originals
    ]
    assert network_from_resources(mixed, "test") == network_from_resources(everything(), "test")


def test_older_spelling() -> None:
    nic = {
        "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkInterfaces/n",
        "name": "n",
        "resourceGroup": "g",
        "enableIpForwarding": True,
        "ipConfigurations": [{"name": "c", "privateIpAddress": "10.0.0.4", "publicIpAddress": {"id": "/p"}}],
    }
    shaped = arm_shape(nic)
    assert shaped["name"] == "n"
    assert shaped["properties"]["enableIPForwarding"] is True
    (configuration,) = shaped["properties"]["ipConfigurations"]
    assert configuration["properties"]["privateIPAddress"] == "10.0.0.4"
    assert configuration["properties"]["publicIPAddress"]["id"] == "/p"


@pytest.mark.parametrize(
    "whole", [{"id": "/a", "properties": {"x": [{"id": "/b", "y": 1}]}}, 5, None, "x", [1]]
)
def test_what_has_its_properties_or_is_no_object_passes(whole: Any) -> None:
    assert arm_shape(whole) is whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "name", "properties", "sku", "privateIpAddress", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_has_a_shape(value: Any) -> None:
    shaped = arm_shape(value)
    if isinstance(value, dict) and ("id" in value or "name" in value):
        assert "properties" in shaped
    else:
        assert type(shaped) is type(value)
