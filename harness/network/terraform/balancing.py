"""Load balancers of the azurerm provider as ARM bodies.

Terraform has a resource for each pool, rule and probe; GET returns all of them inside the load
balancer, and so does this.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.network.fields import shown
from harness.network.model import key
from harness.network.terraform.attributes import Attributes
from harness.network.terraform.context import Body, Context, Translator, arm_body, ref, refs

_POOL = "azurerm_lb_backend_address_pool"


def load_balancer(context: Context, balancer: Attributes) -> Iterator[Body]:
    frontends = list(balancer.blocks("frontend_ip_configuration"))

    def listed(kind: str) -> list[Attributes]:
        return context.children(kind, balancer.id)

    yield arm_body(
        balancer.id,
        {
            "frontendIPConfigurations": [_frontend(context, balancer, block) for block in frontends],
            "backendAddressPools": [_pool(context, item) for item in listed(_POOL)],
            "loadBalancingRules": [_rule(item, frontends) for item in listed("azurerm_lb_rule")],
            "inboundNatRules": [
                _nat_rule(context, item, frontends) for item in listed("azurerm_lb_nat_rule")
            ],
            "outboundRules": [_outbound_rule(item) for item in listed("azurerm_lb_outbound_rule")],
            "probes": [_probe(item) for item in listed("azurerm_lb_probe")],
        },
        sku=None if balancer.value("sku") is None else {"name": balancer.value("sku")},
        location=balancer.value("location"),
    )


def _frontend(context: Context, balancer: Attributes, block: Attributes) -> Body:
    public = block.reference("public_ip_address_id", "azurerm_public_ip", computed=True)
    prefix = block.reference("public_ip_prefix_id", "azurerm_public_ip_prefix", computed=True)
    subnet = block.reference("subnet_id", "azurerm_subnet", computed=True)
    if public is None and prefix is None and subnet is None:
        block.fail(
            "name",
            f"the frontend '{shown(block.name)}' has no subnet, public IP or prefix that a plan can know",
        )
    return arm_body(
        f"{balancer.id}/frontendIPConfigurations/{block.name}",
        {
            "publicIPAddress": ref(public),
            "publicIPPrefix": ref(prefix),
            "subnet": ref(subnet),
            "privateIPAddress": context.addresses.of(block) if subnet is not None else None,
            "privateIPAddressVersion": block.value("private_ip_address_version"),
        },
    )


def _pool(context: Context, pool: Attributes) -> Body:
    members = [
        item.configuration_id
        for item in context.associations.all()
        if item.is_of_balancer and key(item.value) == key(pool.id)
    ]
    addresses = [
        _pool_address(context, item) for item, owner in context.pool_addresses if key(owner) == key(pool.id)
    ]
    return arm_body(
        pool.id,
        {
            "backendIPConfigurations": refs(members),
            "loadBalancerBackendAddresses": addresses,
            "virtualNetwork": ref(
                pool.reference("virtual_network_id", "azurerm_virtual_network", computed=True)
            ),
        },
    )


def _pool_address(context: Context, item: Attributes) -> Body:
    return {
        "name": item.value("name"),
        "properties": {
            "ipAddress": context.address(item, "ip_address"),
            "virtualNetwork": ref(
                item.reference("virtual_network_id", "azurerm_virtual_network", computed=True)
            ),
        },
    }


def _frontend_id(item: Attributes, frontends: list[Attributes]) -> str:
    """Rules name their frontend; where even the name is not known, the only frontend is meant."""
    parent = item.plan.identities.parent(item.instance)
    if not item.known("frontend_ip_configuration_name") and len(frontends) == 1:
        return f"{parent}/frontendIPConfigurations/{frontends[0].name}"
    name = item.value("frontend_ip_configuration_name")
    if name is None:
        item.fail("frontend_ip_configuration_name", "is missing")
    return f"{parent}/frontendIPConfigurations/{name}"


def _rule(item: Attributes, frontends: list[Attributes]) -> Body:
    pools = item.id_list("backend_address_pool_ids", _POOL)
    if not pools and (single := item.reference("backend_address_pool_id", _POOL, computed=True)) is not None:
        pools = [single]  # azurerm 2.x
    return arm_body(
        item.id,
        {
            "frontendIPConfiguration": {"id": _frontend_id(item, frontends)},
            "backendAddressPool": ref(next(iter(pools), None)),
            "backendAddressPools": refs(pools),
            "protocol": item.value("protocol"),
            "frontendPort": item.value("frontend_port"),
            "backendPort": item.value("backend_port"),
            "enableFloatingIP": item.flag("floating_ip_enabled", "enable_floating_ip"),
            "enableTcpReset": item.flag("tcp_reset_enabled", "enable_tcp_reset"),
            "disableOutboundSnat": item.flag("disable_outbound_snat"),
            "idleTimeoutInMinutes": item.value("idle_timeout_in_minutes"),
            "probe": ref(item.reference("probe_id", "azurerm_lb_probe", computed=True)),
        },
    )


def _nat_rule(context: Context, item: Attributes, frontends: list[Attributes]) -> Body:
    target = next(
        (
            link.configuration_id
            for link in context.associations.all()
            if link.is_of_balancer and key(link.value) == key(item.id)
        ),
        None,
    )
    return arm_body(
        item.id,
        {
            "frontendIPConfiguration": {"id": _frontend_id(item, frontends)},
            "backendAddressPool": ref(item.reference("backend_address_pool_id", _POOL, computed=True)),
            "backendIPConfiguration": ref(target),
            "protocol": item.value("protocol"),
            "frontendPort": item.value("frontend_port"),
            "frontendPortRangeStart": item.value("frontend_port_start"),
            "frontendPortRangeEnd": item.value("frontend_port_end"),
            "backendPort": item.value("backend_port"),
        },
    )


def _outbound_rule(item: Attributes) -> Body:
    parent = item.plan.identities.parent(item.instance)
    names = [block.name for block in item.blocks("frontend_ip_configuration")]
    return arm_body(
        item.id,
        {
            "frontendIPConfigurations": refs([f"{parent}/frontendIPConfigurations/{name}" for name in names]),
            "backendAddressPool": {"id": item.required("backend_address_pool_id", _POOL)},
            "protocol": item.value("protocol"),
            "allocatedOutboundPorts": item.value("allocated_outbound_ports"),
            "idleTimeoutInMinutes": item.value("idle_timeout_in_minutes"),
            "enableTcpReset": item.flag("tcp_reset_enabled", "enable_tcp_reset"),
        },
    )


def _probe(item: Attributes) -> Body:
    # Azure's default protocol of a probe is Tcp, and so is the provider's
    return arm_body(item.id, {"protocol": item.value("protocol") or "Tcp", "port": item.value("port")})


TRANSLATORS: dict[str, Translator] = {"azurerm_lb": load_balancer}
