"""Resource types of the azurerm provider as ARM bodies, under the names of its major versions."""

from __future__ import annotations

from typing import Any

import pytest

from harness.network.model import AdminAccess, Network, PeeringState, key
from harness.network.snapshot import network_from_resources
from harness.network.terraform import resources_of, translation_of
from harness.network.terraform.identities import PLACEHOLDER_SUBSCRIPTION
from tests.harness.network.terraform_documents import (
    Block,
    Json,
    Module,
    configuration,
    data,
    named,
    one,
    plan,
    ref,
    rule,
    state,
)

GROUP = f"/subscriptions/{PLACEHOLDER_SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Network"


def arm(path: str) -> str:
    return f"{GROUP}/{path}"


def bodies(document: Json) -> dict[str, Json]:
    """Properties by id."""
    return {item["id"]: item.get("properties", {}) for item in resources_of(document, "plan.json")}


def loaded(document: Json) -> Network:
    return network_from_resources(resources_of(document, "plan.json"), "plan.json")


def vnet(*subnets: Json, **more: Any) -> Block:
    return named("azurerm_virtual_network", "v", address_space=["10.0.0.0/16"], subnet=list(subnets), **more)


def subnet(name: str = "s", prefix: str = "10.0.0.0/24", **more: Any) -> Block:
    return one(
        "azurerm_subnet", name, name=name, resource_group_name="rg", virtual_network_name="v",
        address_prefixes=[prefix], **more,
    )  # fmt: skip


def nic(name: str, *blocks: Json, **more: Any) -> Block:
    return named("azurerm_network_interface", name, ip_configuration=list(blocks), **more)


OWN = configuration(ref("azurerm_subnet.s.id"))


@pytest.mark.parametrize("name", ["ip_forwarding_enabled", "enable_ip_forwarding"])
@pytest.mark.parametrize("value", [True, False])
def test_ip_forwarding_under_both_names(name: str, value: bool) -> None:
    found = bodies(plan(vnet(), subnet(), nic("n", OWN, **{name: value})))
    assert found[arm("networkInterfaces/n")]["enableIPForwarding"] is value


@pytest.mark.parametrize(
    ("given", "disabled"),
    [
        ({"bgp_route_propagation_enabled": False}, True),
        ({"bgp_route_propagation_enabled": True}, False),
        ({"disable_bgp_route_propagation": True}, True),
        ({}, False),
    ],
)
def test_route_propagation_under_both_names(given: Json, disabled: bool) -> None:
    found = bodies(plan(named("azurerm_route_table", "t", **given)))
    assert found[arm("routeTables/t")]["disableBgpRoutePropagation"] is disabled


def test_dynamic_addresses_are_the_next_free_ones_and_noted() -> None:
    taken = configuration(ref("azurerm_subnet.s.id"), "10.0.0.5")
    second = OWN | {"name": "second"}
    translation = translation_of(
        plan(vnet(), subnet(), nic("a", OWN), nic("b", OWN, second), nic("c", taken)), "plan.json"
    )
    found = {item["id"]: item["properties"] for item in translation.resources}
    given = [
        item["properties"]["privateIPAddress"]
        for name in "abc"
        for item in found[arm(f"networkInterfaces/{name}")]["ipConfigurations"]
    ]
    assert given == ["10.0.0.4", "10.0.0.6", "10.0.0.7", "10.0.0.5"]
    assert len(translation.notes) == 3
    assert "azurerm_network_interface.b: ip_configuration[1].private_ip_address: " in translation.notes[2]
    assert "10.0.0.7" in translation.notes[2]


def test_a_subnet_with_both_families_gives_each_configuration_its_own() -> None:
    both = Block(
        "azurerm_subnet", "s",
        {None: {"name": "s", "resource_group_name": "rg", "virtual_network_name": "v",
                "address_prefixes": ["10.0.0.0/24", "fd00::/64"]}},
    )  # fmt: skip
    six = configuration(ref("azurerm_subnet.s.id"), name="six") | {"private_ip_address_version": "IPv6"}
    found = bodies(plan(vnet(), both, nic("a", OWN, six)))[arm("networkInterfaces/a")]["ipConfigurations"]
    assert [item["properties"]["privateIPAddress"] for item in found] == ["10.0.0.4", "fd00::4"]
    assert [item["properties"]["primary"] for item in found] == [True, False]


def test_the_first_interface_of_a_machine_is_its_primary_one() -> None:
    machine = named(
        "azurerm_linux_virtual_machine", "m",
        network_interface_ids=[ref("azurerm_network_interface.b.id"), ref("azurerm_network_interface.a.id")],
    )  # fmt: skip
    network = loaded(plan(vnet(), subnet(), nic("a", OWN), nic("b", OWN), machine))
    (vm,) = network.vms.values()
    assert [network.nics[item].name for item in vm.nics] == ["b", "a"]


def test_a_list_of_unknown_length_is_all_that_it_can_be_and_noted() -> None:
    machine = named(
        "azurerm_linux_virtual_machine", "m",
        network_interface_ids=ref("azurerm_network_interface.b.id", "azurerm_network_interface.a.id"),
    )  # fmt: skip
    translation = translation_of(plan(vnet(), subnet(), nic("a", OWN), nic("b", OWN), machine), "plan.json")
    (vm,) = network_from_resources(translation.resources, "plan.json").vms.values()
    assert vm.nics == (key(arm("networkInterfaces/b")), key(arm("networkInterfaces/a")))
    assert "read as all of azurerm_network_interface.b, azurerm_network_interface.a" in translation.notes[-1]


def test_azurerm_virtual_machine_names_its_primary_interface() -> None:
    machine = named(
        "azurerm_virtual_machine", "m", primary_network_interface_id=ref("azurerm_network_interface.b.id"),
        network_interface_ids=[ref("azurerm_network_interface.a.id"), ref("azurerm_network_interface.b.id")],
    )  # fmt: skip
    network = loaded(plan(vnet(), subnet(), nic("a", OWN), nic("b", OWN), machine))
    (vm,) = network.vms.values()
    assert network.nics[vm.nics[0]].name == "b"


def test_a_peering_without_its_other_side_is_initiated() -> None:
    remote = named("azurerm_virtual_network", "w", address_space=["10.1.0.0/16"])
    side = one(
        "azurerm_virtual_network_peering", "p", name="p", resource_group_name="rg", virtual_network_name="v",
        remote_virtual_network_id=ref("azurerm_virtual_network.w.id"),
    )  # fmt: skip
    translation = translation_of(plan(vnet(), remote, side), "plan.json")
    network = network_from_resources(translation.resources, "plan.json")
    (peering,) = network.vnets[key(arm("virtualNetworks/v"))].peerings
    assert peering.state is PeeringState.INITIATED
    assert "azurerm_virtual_network_peering.p: the other side" in translation.notes[0]


def test_a_data_source_shows_the_other_side_of_a_peering() -> None:
    hub_id = "/subscriptions/1/resourceGroups/hub/providers/Microsoft.Network/virtualNetworks/hub"
    spoke_id = hub_id.replace("/hub", "/spoke")
    spoke = named("azurerm_virtual_network", "v", id=spoke_id, address_space=["10.1.0.0/16"])
    hub = data(
        "azurerm_virtual_network",
        "hub",
        id=hub_id,
        name="hub",
        resource_group_name="hub",
        address_space=["10.0.0.0/16"],
        subnets=[],
        vnet_peerings={"back": spoke_id.upper()},
    )
    side = one(
        "azurerm_virtual_network_peering", "p", name="p", virtual_network_name="v", resource_group_name="rg",
        remote_virtual_network_id=hub_id,
    )  # fmt: skip
    network = loaded(plan(hub, spoke, side))
    assert [item.state for item in network.vnets[key(spoke_id)].peerings] == [PeeringState.CONNECTED]


def test_inline_rules_follow_a_security_group_that_is_yet_to_be_made() -> None:
    group = Block(
        "azurerm_network_security_group", "g",
        {None: {"name": "g", "resource_group_name": "rg", "security_rule": [
            rule("in", 100, "Allow", "80", source_address_prefix="")
            | {"source_application_security_group_ids": ref("azurerm_application_security_group.a.id")}]}},
        unwritten=("security_rule",),
        whole={"security_rule": ref("azurerm_application_security_group.a.id")},
    )  # fmt: skip
    found = bodies(plan(named("azurerm_application_security_group", "a"), group))
    body = found[arm("networkSecurityGroups/g/securityRules/in")]
    assert body["sourceApplicationSecurityGroups"] == [{"id": arm("applicationSecurityGroups/a")}]
    assert body["destinationAddressPrefix"] == "*"


def test_a_load_balancer_holds_its_pools_rules_and_probes() -> None:
    balancer_id = ref("azurerm_lb.l.id")
    pool_id = ref("azurerm_lb_backend_address_pool.p.id")
    link: Json = {
        "network_interface_id": ref("azurerm_network_interface.n.id"),
        "ip_configuration_name": "ipconfig1",
    }
    document = plan(
        vnet(), subnet(), nic("n", OWN), named("azurerm_public_ip", "front", sku="Standard"),
        named("azurerm_lb", "l", sku="Standard", frontend_ip_configuration=[
            {"name": "public", "public_ip_address_id": ref("azurerm_public_ip.front.id")},
            {"name": "inside", "subnet_id": ref("azurerm_subnet.s.id")}]),
        one("azurerm_lb_backend_address_pool", "p", name="p", loadbalancer_id=balancer_id),
        one("azurerm_lb_backend_address_pool_address", "x", name="x", backend_address_pool_id=pool_id,
            virtual_network_id=ref("azurerm_virtual_network.v.id"), ip_address="10.0.0.9"),
        one("azurerm_lb_probe", "h", name="h", loadbalancer_id=balancer_id, protocol=None, port=80),
        one("azurerm_lb_rule", "r", name="r", loadbalancer_id=balancer_id, protocol="Tcp",
            frontend_port=80, backend_port=8080, frontend_ip_configuration_name="public",
            backend_address_pool_ids=[pool_id], probe_id=ref("azurerm_lb_probe.h.id"),
            disable_outbound_snat=True, enable_floating_ip=True),
        one("azurerm_lb_nat_rule", "n", name="n", loadbalancer_id=balancer_id, protocol="Tcp",
            frontend_port=2222, backend_port=22, frontend_ip_configuration_name="public"),
        one("azurerm_lb_outbound_rule", "o", name="o", loadbalancer_id=balancer_id, protocol="All",
            backend_address_pool_id=pool_id, allocated_outbound_ports=1024,
            frontend_ip_configuration=[{"name": "public"}]),
        one("azurerm_network_interface_backend_address_pool_association", "a", **link,
            backend_address_pool_id=pool_id),
        one("azurerm_network_interface_nat_rule_association", "a", **link,
            nat_rule_id=ref("azurerm_lb_nat_rule.n.id")),
    )  # fmt: skip
    found = bodies(document)
    balancer = arm("loadBalancers/l")
    frontend = {"id": f"{balancer}/frontendIPConfigurations/public"}
    pool = {"id": f"{balancer}/backendAddressPools/p"}
    member = {"id": arm("networkInterfaces/n/ipConfigurations/ipconfig1")}

    def only(name: str) -> Json:
        (item,) = found[balancer][name]
        properties: Json = item["properties"]
        return properties

    public, inside = (item["properties"] for item in found[balancer]["frontendIPConfigurations"])
    assert public["publicIPAddress"] == {"id": arm("publicIPAddresses/front")}
    # load balancers stand before network interfaces in the document
    assert inside["privateIPAddress"] == "10.0.0.4"
    assert only("backendAddressPools")["backendIPConfigurations"] == [member]
    assert only("backendAddressPools")["loadBalancerBackendAddresses"][0]["properties"] == {
        "ipAddress": "10.0.0.9", "virtualNetwork": {"id": arm("virtualNetworks/v")}
    }  # fmt: skip
    rule_body = only("loadBalancingRules")
    assert rule_body["frontendIPConfiguration"] == frontend
    assert rule_body["backendAddressPools"] == [pool]
    assert rule_body["probe"] == {"id": f"{balancer}/probes/h"}
    assert rule_body["enableFloatingIP"]
    assert rule_body["disableOutboundSnat"]
    assert (rule_body["frontendPort"], rule_body["backendPort"]) == (80, 8080)
    assert only("inboundNatRules")["backendIPConfiguration"] == member
    assert only("outboundRules")["allocatedOutboundPorts"] == 1024
    assert only("outboundRules")["frontendIPConfigurations"] == [frontend]
    assert only("probes") == {"protocol": "Tcp", "port": 80}
    (own,) = found[arm("networkInterfaces/n")]["ipConfigurations"]
    assert own["properties"]["loadBalancerBackendAddressPools"] == [pool]
    (there,) = loaded(document).load_balancers.values()
    assert there.pools[0].members == (key(member["id"]),)
    assert there.nat_rules[0].target == key(member["id"])
    assert there.rules[0].probe == there.probes[0].id.lower()


def test_nat_gateways_gather_their_associations() -> None:
    gateway_id = ref("azurerm_nat_gateway.g.id")
    document = plan(
        vnet(), subnet(default_outbound_access_enabled=False, service_endpoints=["Microsoft.Storage"]),
        named("azurerm_public_ip", "p"), named("azurerm_public_ip_prefix", "q", prefix_length=30),
        named("azurerm_nat_gateway", "g", idle_timeout_in_minutes=10, sku_name="Standard"),
        one("azurerm_nat_gateway_public_ip_association", "a", nat_gateway_id=gateway_id,
            public_ip_address_id=ref("azurerm_public_ip.p.id")),
        one("azurerm_nat_gateway_public_ip_prefix_association", "a", nat_gateway_id=gateway_id,
            public_ip_prefix_id=ref("azurerm_public_ip_prefix.q.id")),
        one("azurerm_subnet_nat_gateway_association", "a", nat_gateway_id=gateway_id,
            subnet_id=ref("azurerm_subnet.s.id")),
    )  # fmt: skip
    found = bodies(document)
    assert found[arm("natGateways/g")] == {
        "publicIpAddresses": [{"id": arm("publicIPAddresses/p")}],
        "publicIpPrefixes": [{"id": arm("publicIPPrefixes/q")}],
        "idleTimeoutInMinutes": 10,
    }
    body = found[arm("virtualNetworks/v/subnets/s")]
    assert body["natGateway"] == {"id": arm("natGateways/g")}
    assert body["serviceEndpoints"] == [{"service": "Microsoft.Storage"}]
    assert body["defaultOutboundAccess"] is False
    network = loaded(document)
    assert network.subnets[key(arm("virtualNetworks/v/subnets/s"))].nat_gateway in network.nat_gateways


def test_gateways_and_their_connections() -> None:
    document = plan(
        vnet(), subnet("GatewaySubnet"), named("azurerm_public_ip", "p"),
        named("azurerm_virtual_network_gateway", "g", type="Vpn", vpn_type="RouteBased",
              ip_configuration=[{"name": "c", "subnet_id": ref("azurerm_subnet.GatewaySubnet.id"),
                                 "public_ip_address_id": ref("azurerm_public_ip.p.id")}]),
        named("azurerm_local_network_gateway", "l", gateway_address="203.0.113.1",
              address_space=["192.168.0.0/16"]),
        named("azurerm_virtual_network_gateway_connection", "c", type="IPsec",
              virtual_network_gateway_id=ref("azurerm_virtual_network_gateway.g.id"),
              local_network_gateway_id=ref("azurerm_local_network_gateway.l.id")),
    )  # fmt: skip
    found = bodies(document)
    (block,) = found[arm("virtualNetworkGateways/g")]["ipConfigurations"]
    assert block["properties"]["subnet"] == {"id": arm("virtualNetworks/v/subnets/GatewaySubnet")}
    assert found[arm("localNetworkGateways/l")]["localNetworkAddressSpace"] == {
        "addressPrefixes": ["192.168.0.0/16"]
    }
    assert found[arm("connections/c")] == {
        "connectionType": "IPsec",
        "virtualNetworkGateway1": {"id": arm("virtualNetworkGateways/g")},
        "localNetworkGateway2": {"id": arm("localNetworkGateways/l")},
    }
    (connection,) = loaded(document).connections.values()
    assert connection.local_gateway == key(arm("localNetworkGateways/l"))


def test_security_admin_rules_of_a_network_manager() -> None:
    manager = "azurerm_network_manager"
    translation = translation_of(
        plan(
            vnet(), named(manager, "m"),
            one(f"{manager}_network_group", "g", name="g", network_manager_id=ref(f"{manager}.m.id")),
            one(f"{manager}_static_member", "s", name="s",
                network_group_id=ref(f"{manager}_network_group.g.id"),
                target_virtual_network_id=ref("azurerm_virtual_network.v.id")),
            one(f"{manager}_security_admin_configuration", "a", name="a",
                network_manager_id=ref(f"{manager}.m.id")),
            one(f"{manager}_admin_rule_collection", "c", name="c",
                security_admin_configuration_id=ref(f"{manager}_security_admin_configuration.a.id"),
                network_group_ids=[ref(f"{manager}_network_group.g.id")]),
            one(f"{manager}_admin_rule", "r", name="r", action="AlwaysAllow", direction="Inbound",
                priority=1, protocol="Tcp", source_port_ranges=["0-65535"], destination_port_ranges=["22"],
                admin_rule_collection_id=ref(f"{manager}_admin_rule_collection.c.id"),
                source=[{"address_prefix": "Internet", "address_prefix_type": "ServiceTag"}],
                destination=[{"address_prefix": "*", "address_prefix_type": "IPPrefix"}]),
        ),
        "plan.json",
    )  # fmt: skip
    found = {item["id"]: item for item in translation.resources}
    collection = arm("networkManagers/m/securityAdminConfigurations/a/ruleCollections/c")
    group = arm("networkManagers/m/networkGroups/g")
    assert found[collection]["properties"] == {"appliesToGroups": [{"networkGroupId": group}]}
    assert found[f"{group}/staticMembers/s"]["properties"] == {"resourceId": arm("virtualNetworks/v")}
    body = found[f"{collection}/rules/r"]
    assert body["kind"] == "Custom"
    assert body["properties"]["access"] == "AlwaysAllow"
    assert body["properties"]["sources"] == [{"addressPrefix": "Internet", "addressPrefixType": "ServiceTag"}]
    assert "no azurerm_network_manager_deployment" in translation.notes[0]
    network = network_from_resources(translation.resources, "plan.json")
    (rule_of_vnet,) = network.admin_rules[key(arm("virtualNetworks/v"))]
    assert rule_of_vnet.access is AdminAccess.ALWAYS_ALLOW


def test_a_firewall_is_unmodelled_but_routes_lead_to_its_address() -> None:
    translation = translation_of(
        plan(
            vnet(), subnet("AzureFirewallSubnet", "10.0.9.0/26"), named("azurerm_storage_account", "logs"),
            named("azurerm_firewall", "f", ip_configuration=[
                {"name": "c", "subnet_id": ref("azurerm_subnet.AzureFirewallSubnet.id")}]),
            named("azurerm_route_table", "t"),
            one("azurerm_route", "r", name="r", resource_group_name="rg", route_table_name="t",
                address_prefix="0.0.0.0/0", next_hop_type="VirtualAppliance",
                next_hop_in_ip_address=ref("azurerm_firewall.f.ip_configuration[0].private_ip_address")),
        ),
        "plan.json",
    )  # fmt: skip
    network = network_from_resources(translation.resources, "plan.json")
    (table,) = network.route_tables.values()
    assert str(table.routes[0].next_hop_ip) == "10.0.9.4"
    assert any("the private address of azurerm_firewall.f" in note for note in translation.notes)
    assert network.unmodelled == (
        ("azurerm_firewall", "/terraform/azurerm_firewall.f"),
        ("azurerm_storage_account", "/terraform/azurerm_storage_account.logs"),
    )


def test_a_state_holds_ids_and_echoes_of_resources_of_their_own() -> None:
    """The provider reads a subnet back into its VNet and a rule into its NSG: each is there once."""
    group = "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Network"
    vnet_id, nsg_id = f"{group}/virtualNetworks/v", f"{group}/networkSecurityGroups/g"
    document = state(
        vnet({"name": "s", "id": f"{vnet_id}/subnets/s", "address_prefix": "10.0.0.0/24",
              "security_group": nsg_id}, id=vnet_id),
        subnet(id=f"{vnet_id}/subnets/s"),
        named("azurerm_network_security_group", "g", id=nsg_id,
              security_rule=[rule("in", 100, "Deny", "1-9")]),
        one("azurerm_network_security_rule", "in", id=f"{nsg_id}/securityRules/in", resource_group_name="rg",
            network_security_group_name="g", **rule("in", 100, "Deny", "1-9")),
        one("azurerm_subnet_network_security_group_association", "a", id=f"{vnet_id}/subnets/s",
            subnet_id=f"{vnet_id}/subnets/s", network_security_group_id=nsg_id),
    )  # fmt: skip
    network = network_from_resources(resources_of(document, "state.json"), "state.json")
    (found,) = network.subnets.values()
    assert found.id == f"{vnet_id}/subnets/s"
    assert found.nsg == key(nsg_id)
    assert [item.name for item in network.nsgs[key(nsg_id)].rules if not item.default] == ["in"]


def test_what_a_plan_takes_away_is_gone_although_its_parent_still_lists_it() -> None:
    vnet_id = "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/v"
    kept, gone = (
        {"name": name, "id": f"{vnet_id}/subnets/{name}", "address_prefixes": [prefix], "security_group": ""}
        for name, prefix in (("kept", "10.0.1.0/24"), ("gone", "10.0.2.0/24"))
    )
    listing = Block(
        "azurerm_virtual_network", "v",
        {None: {"name": "v", "resource_group_name": "rg", "id": vnet_id, "address_space": ["10.0.0.0/16"],
                "subnet": [kept, gone]}},
        unwritten=("subnet",),
    )  # fmt: skip
    assert f"{vnet_id}/subnets/gone" in bodies(plan(listing))
    found = bodies(plan(listing, deleted=[gone]))
    assert f"{vnet_id}/subnets/kept" in found
    assert f"{vnet_id}/subnets/gone" not in found


def test_data_sources_are_the_networks_that_new_machines_join() -> None:
    """The new NIC is in a subnet that another configuration manages; it takes a free address there."""
    vnet_id = "/subscriptions/7/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v"
    document = plan(
        data("azurerm_virtual_network", "v", id=vnet_id, name="v", resource_group_name="net",
         address_space=["10.0.0.0/16"], subnets=["s"], vnet_peerings={}),
        data("azurerm_subnet", "s", id=f"{vnet_id}/subnets/s", name="s", resource_group_name="net",
         virtual_network_name="v", address_prefixes=["10.0.0.0/24"], network_security_group_id="",
         route_table_id=""),
        nic("n", configuration(f"{vnet_id}/subnets/s")),
    )  # fmt: skip
    network = loaded(document)
    (found,) = network.nics.values()
    assert found.id.startswith("/subscriptions/7/resourceGroups/rg/")
    assert str(found.addresses(4)[0]) == "10.0.0.4"


def test_a_targeted_plan_is_noted() -> None:
    assert "covers a part" in translation_of(plan(vnet(), complete=False), "plan.json").notes[0]


def test_names_that_are_not_known_are_the_address() -> None:
    """``name = "vnet-${random_pet.x.id}"``: what belongs together is told by the references."""
    document = plan(
        named("random_pet", "x"),
        named("azurerm_virtual_network", "v", name=ref("random_pet.x.id"), address_space=["10.0.0.0/16"]),
        one("azurerm_subnet", "s", name="s", resource_group_name="rg", address_prefixes=["10.0.0.0/24"],
        virtual_network_name=ref("azurerm_virtual_network.v.name")),
        nic("n", configuration(ref("azurerm_subnet.s.id")) | {"name": ref("random_pet.x.id")}),
    )  # fmt: skip
    network = loaded(document)
    (found,) = network.subnets.values()
    assert found.id == arm("virtualNetworks/azurerm_virtual_network.v/subnets/s")


def test_a_list_of_objects_in_a_module_is_taken_by_position_and_noted() -> None:
    """``var.interfaces[count.index].subnet_id``: the plan shows the list's references only."""
    of_module = {
        number: {"name": f"n{number}", "resource_group_name": "rg",
             "ip_configuration": [configuration(ref("var.interfaces", "count.index"))]}
        for number in range(2)
    }  # fmt: skip
    translation = translation_of(
        plan(
        vnet(), subnet("s", "10.0.0.0/24"), subnet("t", "10.0.1.0/24"),
        Module("firewall", {None: [Block("azurerm_network_interface", "this", of_module)]},
               given={"interfaces": ref("azurerm_subnet.t.id", "azurerm_subnet.s.id")}),
        ),
        "plan.json",
    )  # fmt: skip
    network = network_from_resources(translation.resources, "plan.json")
    subnets = {item.name: network.subnets[item.subnet].name for item in network.nics.values()}
    assert subnets == {"n0": "t", "n1": "s"}
    assert sum("the instance of the same place" in note for note in translation.notes) == 2
