"""Virtual network gateways, local network gateways and connections."""

from __future__ import annotations

import pytest

from harness.network.snapshot import network_from_resources
from harness.network.words import key
from tests.harness.network.arm.everything import everything
from tests.harness.network.arm.refusals import DELETE, Change, Refusal, check_refused, edit, remove
from tests.harness.network.builders import arm_id, connection, gateway, network, ref, subnet_id, vnet, vnet_id

GATEWAY, SITE = arm_id("virtualNetworkGateways", "gw"), arm_id("localNetworkGateways", "site")
CONNECTION = arm_id("connections", "c")


def test_a_site_behind_a_gateway() -> None:
    net = network_from_resources(everything(), "test")
    assert (net.gateways[key(GATEWAY)].vnet, net.gateways[key(GATEWAY)].kind) == (key(vnet_id("e")), "Vpn")
    assert [str(p) for p in net.local_gateways[key(SITE)].prefixes] == ["172.20.0.0/16", "172.21.0.0/16"]
    link = net.connections[key(CONNECTION)]
    assert (link.kind, link.status) == ("IPsec", "Connected")
    assert (link.gateway, link.local_gateway, link.peer_gateway) == (key(GATEWAY), key(SITE), None)


def test_two_gateways_of_which_one_is_elsewhere() -> None:
    peer = ref(arm_id("virtualNetworkGateways", "elsewhere"))
    net = network(
        vnet("v", "10.0.0.0/16", {"GatewaySubnet": "10.0.255.0/27"}),
        gateway("gw", "v", kind="ExpressRoute"),
        connection("c", "gw", kind="Vnet2Vnet", virtualNetworkGateway2=peer),
    )
    assert net.connections[key(CONNECTION)].peer_gateway == key(peer["id"])
    assert net.connections[key(CONNECTION)].status is None
    assert net.gateways[key(GATEWAY)].kind == "ExpressRoute"


REFUSED: dict[str, Refusal] = {
    "gateway-subnet-missing": (
        edit(
            GATEWAY,
            "ipConfigurations",
            0,
            "properties",
            "subnet",
            value=ref(subnet_id("e/x")),
        ),
        [GATEWAY, "subnet", subnet_id("e/x"), "not in the snapshot"],
    ),
    "gateway-nowhere": (edit(GATEWAY, "ipConfigurations", value=[]), [GATEWAY, "ipConfigurations"]),
    "connection-of-no-gateway": (
        edit(CONNECTION, "virtualNetworkGateway1", value=DELETE),
        [CONNECTION, "virtualNetworkGateway1", "missing"],
    ),
    "connection-gateway-missing": (remove(GATEWAY), [CONNECTION, "virtualNetworkGateway1", GATEWAY]),
    "connection-site-missing": (remove(SITE), [CONNECTION, "localNetworkGateway2", SITE]),
    "connection-type-missing": (
        edit(CONNECTION, "connectionType", value=DELETE),
        [CONNECTION, "connectionType"],
    ),
    "site-prefix": (
        edit(SITE, "localNetworkAddressSpace", "addressPrefixes", 1, value="172.21/16"),
        [SITE, "localNetworkAddressSpace.addressPrefixes[1]", "172.21/16"],
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(change: Change, words: list[str]) -> None:
    check_refused(change, words)
