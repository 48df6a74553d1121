"""Network interfaces and virtual machines of the azurerm provider as ARM bodies."""

from __future__ import annotations

from collections.abc import Iterator

from harness.network.model import key
from harness.network.terraform.attributes import Attributes
from harness.network.terraform.context import Body, Context, Translator, arm_body, ref, refs

_NIC = "azurerm_network_interface"
_ASG_LINK = "azurerm_network_interface_application_security_group_association"
_POOL_LINK = "azurerm_network_interface_backend_address_pool_association"


def network_interface(context: Context, nic: Attributes) -> Iterator[Body]:
    nsg = context.associations.one("azurerm_network_interface_security_group_association", nic.id)
    vm = nic.reference("virtual_machine_id", computed=True)
    if vm is not None and (key(vm) in context.separate or key(vm) in context.plan.document.deleted):
        vm = None  # the machine says itself which interfaces it has
    blocks = list(nic.blocks("ip_configuration"))
    marked = any(block.value("primary") for block in blocks)
    yield arm_body(
        nic.id,
        {
            "ipConfigurations": [
                _configuration(context, nic, block, primary=None if marked else number == 0)
                for number, block in enumerate(blocks)
            ],
            "enableIPForwarding": nic.flag("ip_forwarding_enabled", "enable_ip_forwarding"),
            "networkSecurityGroup": ref(
                nsg
                # only the data source has this one
                or nic.reference("network_security_group_id", "azurerm_network_security_group", computed=True)
            ),
            "virtualMachine": ref(vm),
        },
        location=nic.value("location"),
    )


def _configuration(context: Context, nic: Attributes, block: Attributes, primary: bool | None) -> Body:
    subnet = block.reference("subnet_id", "azurerm_subnet")
    asgs = [item.value for item in context.associations.of(_ASG_LINK, nic.id)]
    pools = [
        item.value
        for item in context.associations.of(_POOL_LINK, nic.id)
        if (item.configuration or block.name).lower() == block.name.lower()
    ]
    return arm_body(
        f"{nic.id}/ipConfigurations/{block.name}",
        {
            "primary": block.value("primary") if primary is None else primary,
            "privateIPAddress": context.addresses.of(block),
            "privateIPAddressVersion": block.value("private_ip_address_version"),
            "privateIPAllocationMethod": block.value("private_ip_address_allocation"),
            "subnet": ref(subnet),
            "publicIPAddress": ref(block.reference("public_ip_address_id", "azurerm_public_ip")),
            "applicationSecurityGroups": refs(asgs),
            "loadBalancerBackendAddressPools": refs(pools),
        },
    )


def virtual_machine(_context: Context, machine: Attributes) -> Iterator[Body]:
    if machine.instance.data:
        return  # it does not list its network interfaces; they name the machine
    nics = list(dict.fromkeys(machine.id_list("network_interface_ids", _NIC)))
    # the first one is the primary one where nothing else is said (azurerm_virtual_machine can)
    primary = machine.reference("primary_network_interface_id", _NIC, computed=True) or next(iter(nics), "")
    yield arm_body(
        machine.id,
        {
            "networkProfile": {
                "networkInterfaces": [
                    {"id": nic, "properties": {"primary": key(nic) == key(primary)}} for nic in nics
                ]
            }
        },
        location=machine.value("location"),
    )


TRANSLATORS: dict[str, Translator] = {
    _NIC: network_interface,
    "azurerm_linux_virtual_machine": virtual_machine,
    "azurerm_virtual_machine": virtual_machine,
    "azurerm_windows_virtual_machine": virtual_machine,
}
