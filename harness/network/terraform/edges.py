"""Public addresses, NAT gateways and virtual network gateways of the azurerm provider as ARM bodies."""

from __future__ import annotations

from collections.abc import Iterator

from harness.network.terraform.attributes import Attributes
from harness.network.terraform.context import Body, Context, Translator, arm_body, ref, refs

_GATEWAY = "azurerm_virtual_network_gateway"


def _sku(name: str | None) -> Body | None:
    return None if name is None else {"name": name}


def public_ip(_context: Context, attributes: Attributes) -> Iterator[Body]:
    yield arm_body(
        attributes.id,
        {
            "ipAddress": attributes.value("ip_address"),
            "publicIPAddressVersion": attributes.value("ip_version"),
            "publicIPPrefix": ref(
                attributes.reference("public_ip_prefix_id", "azurerm_public_ip_prefix", computed=True)
            ),
        },
        sku=_sku(attributes.value("sku")),
        location=attributes.value("location"),
    )


def public_ip_prefix(_context: Context, attributes: Attributes) -> Iterator[Body]:
    yield arm_body(
        attributes.id,
        {"ipPrefix": attributes.value("ip_prefix"), "prefixLength": attributes.value("prefix_length")},
        sku=_sku(attributes.value("sku")),
        location=attributes.value("location"),
    )


def nat_gateway(context: Context, attributes: Attributes) -> Iterator[Body]:
    links = context.associations
    addresses = links.of("azurerm_nat_gateway_public_ip_association", attributes.id)
    prefixes = links.of("azurerm_nat_gateway_public_ip_prefix_association", attributes.id)
    # only the data source lists them itself
    listed = attributes.id_list("public_ip_address_ids", "azurerm_public_ip")
    listed_prefixes = attributes.id_list("public_ip_prefix_ids", "azurerm_public_ip_prefix")
    yield arm_body(
        attributes.id,
        {
            "publicIpAddresses": refs([*listed, *(item.value for item in addresses)]),
            "publicIpPrefixes": refs([*listed_prefixes, *(item.value for item in prefixes)]),
            "idleTimeoutInMinutes": attributes.value("idle_timeout_in_minutes"),
        },
        sku=_sku(attributes.value("sku_name")),
        location=attributes.value("location"),
    )


def virtual_network_gateway(_context: Context, gateway: Attributes) -> Iterator[Body]:
    configurations = []
    for block in gateway.blocks("ip_configuration"):
        # the provider's own default name
        label = "vnetGatewayConfig" if block.value("name") is None else block.name
        configurations.append(
            arm_body(
                f"{gateway.id}/ipConfigurations/{label}",
                {
                    "subnet": ref(block.reference("subnet_id", "azurerm_subnet")),
                    "publicIPAddress": ref(block.reference("public_ip_address_id", "azurerm_public_ip")),
                },
            )
        )
    yield arm_body(
        gateway.id,
        {
            "gatewayType": gateway.value("type"),
            "vpnType": gateway.value("vpn_type"),
            "ipConfigurations": configurations,
        },
        location=gateway.value("location"),
    )


def local_network_gateway(_context: Context, attributes: Attributes) -> Iterator[Body]:
    yield arm_body(
        attributes.id,
        {
            "gatewayIpAddress": attributes.value("gateway_address"),
            "localNetworkAddressSpace": {"addressPrefixes": attributes.texts("address_space")},
        },
        location=attributes.value("location"),
    )


def connection(_context: Context, attributes: Attributes) -> Iterator[Body]:
    yield arm_body(
        attributes.id,
        {
            "connectionType": attributes.value("type"),
            "virtualNetworkGateway1": ref(attributes.required("virtual_network_gateway_id", _GATEWAY)),
            "virtualNetworkGateway2": ref(
                attributes.reference("peer_virtual_network_gateway_id", _GATEWAY, computed=True)
            ),
            "localNetworkGateway2": ref(
                attributes.reference(
                    "local_network_gateway_id", "azurerm_local_network_gateway", computed=True
                )
            ),
        },
        location=attributes.value("location"),
    )


TRANSLATORS: dict[str, Translator] = {
    "azurerm_local_network_gateway": local_network_gateway,
    "azurerm_nat_gateway": nat_gateway,
    "azurerm_public_ip": public_ip,
    "azurerm_public_ip_prefix": public_ip_prefix,
    _GATEWAY: virtual_network_gateway,
    "azurerm_virtual_network_gateway_connection": connection,
}
