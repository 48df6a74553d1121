"""Virtual networks, subnets, peerings and route tables of the azurerm provider as ARM bodies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.network.fields import Fields
from harness.network.model import key
from harness.network.terraform.attributes import Attributes
from harness.network.terraform.context import Body, Context, Translator, arm_body, ref
from harness.text import plain

_NSG = "azurerm_network_security_group"
_TABLE = "azurerm_route_table"


def virtual_network(context: Context, vnet: Attributes) -> Iterator[Body]:
    if not vnet.texts("address_space"):
        vnet.fail("address_space", "a virtual network needs at least one prefix that a plan can know")
    yield arm_body(
        vnet.id,
        {
            "addressSpace": {"addressPrefixes": vnet.texts("address_space")},
            "flowTimeoutInMinutes": vnet.value("flow_timeout_in_minutes"),
        },
        location=vnet.value("location"),
    )
    if vnet.instance.data:
        if vnet.known("vnet_peerings"):
            context.plan.note(
                f"{vnet.fields.at()}: of the peerings on its side only those that a resource"
                " of the document makes are known"
            )
        return  # it lists the names of its subnets only
    for block in vnet.blocks("subnet"):
        arm_id = f"{vnet.id}/subnets/{block.name}"
        if context.stands(block, "subnet", arm_id):
            yield _subnet(
                context,
                block,
                arm_id,
                nsg=block.reference("security_group", _NSG),
                table=block.reference("route_table_id", _TABLE, computed=True),
            )


def subnet(context: Context, attributes: Attributes) -> Iterator[Body]:
    yield _subnet(
        context,
        attributes,
        attributes.id,
        # only the data source has these
        nsg=attributes.reference("network_security_group_id", _NSG, computed=True),
        table=attributes.reference("route_table_id", _TABLE, computed=True),
    )


def _subnet(context: Context, block: Attributes, arm_id: str, nsg: str | None, table: str | None) -> Body:
    prefixes = block.texts("address_prefixes") or [
        text for text in (block.value("address_prefix"),) if text is not None
    ]
    if not prefixes:
        block.fail("address_prefixes", "a subnet needs at least one prefix that a plan can know")
    parsed = Fields({"addressPrefixes": prefixes}, block.fields.origin, block.instance.address)
    context.subnet_prefixes[key(arm_id)] = parsed.prefixes("addressPrefixes")
    links = context.associations
    endpoints = [{"service": name} for name in block.texts("service_endpoints")]
    return arm_body(
        arm_id,
        {
            "addressPrefixes": prefixes,
            "networkSecurityGroup": ref(
                links.one("azurerm_subnet_network_security_group_association", arm_id) or nsg
            ),
            "routeTable": ref(links.one("azurerm_subnet_route_table_association", arm_id) or table),
            "natGateway": ref(links.one("azurerm_subnet_nat_gateway_association", arm_id)),
            "serviceEndpoints": endpoints or None,
            "defaultOutboundAccess": block.value("default_outbound_access_enabled"),
        },
    )


def peering(context: Context, attributes: Attributes) -> Iterator[Body]:
    """Azure connects the two sides when the second one is made; a plan shows whether it is."""
    remote = attributes.required("remote_virtual_network_id", "azurerm_virtual_network")
    local = attributes.plan.identities.parent(attributes.instance)
    connected = _peers_back(context, attributes, remote, local)
    if not connected:
        context.plan.note(
            f"{attributes.fields.at()}: the other side, a peering of {plain(remote)} with"
            f" {plain(local)}, is not in the document: read as Initiated"
        )
    yield arm_body(
        attributes.id,
        {
            "remoteVirtualNetwork": {"id": remote},
            "peeringState": "Connected" if connected else "Initiated",
            "allowVirtualNetworkAccess": attributes.flag("allow_virtual_network_access", default=True),
            "allowForwardedTraffic": attributes.flag("allow_forwarded_traffic"),
            "allowGatewayTransit": attributes.flag("allow_gateway_transit"),
            "useRemoteGateways": attributes.flag("use_remote_gateways"),
        },
    )


def _peers_back(context: Context, attributes: Attributes, remote: str, local: str) -> bool:
    for other in context.children("azurerm_virtual_network_peering", remote):
        if key(other.required("remote_virtual_network_id", "azurerm_virtual_network")) == key(local):
            return True
    for instance in attributes.plan.document.instances:
        if instance.data and instance.type == "azurerm_virtual_network":
            listed: dict[str, Any] = dict(instance.fields.nested("vnet_peerings").values)
            if key(context.plan.identities.of(instance)) == key(remote) and key(local) in {
                key(item) for item in listed.values() if isinstance(item, str)
            }:
                return True
    return False


def route_table(context: Context, attributes: Attributes) -> Iterator[Body]:
    # azurerm 3.x asked the opposite question
    if attributes.value("bgp_route_propagation_enabled") is not None:
        disabled = not attributes.flag("bgp_route_propagation_enabled")
    else:
        disabled = attributes.flag("disable_bgp_route_propagation")
    yield arm_body(
        attributes.id, {"disableBgpRoutePropagation": disabled}, location=attributes.value("location")
    )
    for block in attributes.blocks("route"):
        arm_id = f"{attributes.id}/routes/{block.name}"
        if context.stands(block, "route", arm_id):
            yield _route(context, block, arm_id)


def route(context: Context, attributes: Attributes) -> Iterator[Body]:
    yield _route(context, attributes, attributes.id)


def _route(context: Context, block: Attributes, arm_id: str) -> Body:
    return arm_body(
        arm_id,
        {
            "addressPrefix": block.value("address_prefix"),
            "nextHopType": block.value("next_hop_type"),
            "nextHopIpAddress": context.address(block, "next_hop_in_ip_address"),
        },
    )


TRANSLATORS: dict[str, Translator] = {
    "azurerm_route": route,
    "azurerm_route_table": route_table,
    "azurerm_subnet": subnet,
    "azurerm_virtual_network": virtual_network,
    "azurerm_virtual_network_peering": peering,
}
