"""What virtual networks, subnets and peerings say beyond addresses."""

from __future__ import annotations

import pytest

from harness.network.model import Network, ServiceEndpoint
from harness.network.snapshot import network_from_resources
from harness.network.words import key
from tests.harness.network.arm.everything import everything
from tests.harness.network.arm.refusals import Change, Refusal, check_refused, edit
from tests.harness.network.builders import network, peering, subnet_id, vnet, vnet_id


@pytest.fixture
def net() -> Network:
    return network_from_resources(everything(), "test")


def test_location_and_flow_timeout(net: Network) -> None:
    place = net.vnets[key(vnet_id("e"))]
    assert (place.location, place.flow_timeout) == ("westeurope", 20)
    assert net.vnets[key(vnet_id("v"))].flow_timeout is None


def test_service_endpoints_and_default_outbound_access(net: Network) -> None:
    app, gateway = net.subnets[key(subnet_id("e/app"))], net.subnets[key(subnet_id("e/GatewaySubnet"))]
    storage = ServiceEndpoint("Microsoft.Storage", ("westeurope",))
    assert (app.service_endpoints, app.default_outbound_access) == ((storage,), False)
    assert (gateway.service_endpoints, gateway.default_outbound_access) == ((), None)


def test_a_peering_has_the_space_that_it_synchronised() -> None:
    link = peering("v", "w", "10.1.0.0/16")
    # the remote virtual network has grown since
    link["properties"]["remoteVirtualNetworkAddressSpace"]["addressPrefixes"].append("10.2.0.0/16")
    link["properties"] |= {
        "remoteAddressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
        "peeringSyncLevel": "RemoteNotInSync",
    }
    net = network(vnet("v", "10.0.0.0/16", {}, [link]), vnet("w", ["10.1.0.0/16", "10.2.0.0/16"], {}))
    (found,) = net.vnets[key(vnet_id("v"))].peerings
    assert [str(prefix) for prefix in found.remote_address_space] == ["10.1.0.0/16"]
    assert found.sync_level == "RemoteNotInSync"


E = vnet_id("e")
REFUSED: dict[str, Refusal] = {
    "flow-timeout": (edit(E, "flowTimeoutInMinutes", value=3), [E, "flowTimeoutInMinutes", "4..30"]),
    "service-endpoint": (
        edit(E, "subnets", 0, "properties", "serviceEndpoints", value=[{"locations": ["*"]}]),
        [subnet_id("e/app"), "serviceEndpoints[0].service", "missing"],
    ),
    "default-outbound-access": (
        edit(E, "subnets", 0, "properties", "defaultOutboundAccess", value="no"),
        [subnet_id("e/app"), "defaultOutboundAccess", "a string"],
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(change: Change, words: list[str]) -> None:
    check_refused(change, words)
