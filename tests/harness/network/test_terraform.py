"""A plan of a three-tier network is the network that an ARM snapshot of it is, flow by flow."""

from __future__ import annotations

from itertools import permutations

from harness.model import Flow, Protocol
from harness.network.model import Network
from harness.network.snapshot import network_from_resources
from harness.network.terraform import resources_of
from harness.policy.document import to_json
from harness.policy.explain import explain
from tests.harness.network import builders as arm
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
)

SUBSCRIPTION = arm.GROUP.split("/")[2]
TIERS = {"web": "10.1.1.0/24", "app": "10.1.2.0/24", "db": "10.1.3.0/24"}
PORTS = (22, 80, 1433, 8080)


def peering(name: str, local: str, remote: str) -> Block:
    return one(
        "azurerm_virtual_network_peering", name, name=f"{local}-{remote}", resource_group_name="rg",
        virtual_network_name=local, remote_virtual_network_id=ref(f"azurerm_virtual_network.{remote}.id"),
        allow_virtual_network_access=True, allow_forwarded_traffic=True,
    )  # fmt: skip


def vm(name: str, nic: str) -> Block:
    return named("azurerm_linux_virtual_machine", name, network_interface_ids=[ref(f"{nic}.id")])


def networks() -> list[Block | Module]:
    """Hub and spoke; the hub's subnet stands inside it, the spoke's are made by for_each."""
    subnets = {
        name: {
            "name": name, "resource_group_name": "rg", "virtual_network_name": "spoke",
            "address_prefixes": [prefix],
        }
        for name, prefix in TIERS.items()
    }  # fmt: skip
    return [
        data("azurerm_subscription", "current", id=f"/subscriptions/{SUBSCRIPTION}"),
        named("azurerm_resource_group", "rg"),
        named(
            "azurerm_virtual_network", "hub", address_space=["10.0.0.0/16"],
            subnet=[{"name": "nva", "address_prefixes": ["10.0.1.0/24"], "security_group": ""}],
        ),
        named("azurerm_virtual_network", "spoke", address_space=["10.1.0.0/16"]),
        Block("azurerm_subnet", "tier", subnets, for_each=ref("var.tiers")),
        peering("out", "spoke", "hub"),
        peering("back", "hub", "spoke"),
    ]  # fmt: skip


def security() -> list[Block | Module]:
    apps = ref("azurerm_application_security_group.apps.id")
    sql = rule("sql", 100, "Allow", "1433", source_address_prefix=None)
    sql |= {"source_application_security_group_ids": apps}
    return [
        named("azurerm_application_security_group", "apps"),
        named(
            "azurerm_network_security_group", "web",
            security_rule=[rule("http", 100, "Allow", "80"), rule("rest", 200, "Deny", "*")],
        ),
        named("azurerm_network_security_group", "db"),
        one(
            "azurerm_network_security_rule", "sql", resource_group_name="rg",
            network_security_group_name="db", **sql,
        ),
        one(
            "azurerm_network_security_rule", "closed", resource_group_name="rg",
            network_security_group_name="db", **rule("closed", 4000, "Deny", "*"),
        ),
        one(
            "azurerm_subnet_network_security_group_association", "web",
            subnet_id=ref('azurerm_subnet.tier["web"].id'),
            network_security_group_id=ref("azurerm_network_security_group.web.id"),
        ),
        one(
            "azurerm_network_interface_security_group_association", "db",
            network_interface_id=ref("module.db.nic_id"),
            network_security_group_id=ref("azurerm_network_security_group.db.id"),
        ),
        one(
            "azurerm_network_interface_application_security_group_association", "app",
            network_interface_id=ref("azurerm_network_interface.app.id"),
            application_security_group_id=apps,
        ),
    ]  # fmt: skip


def routes() -> list[Block | Module]:
    return [
        named(
            "azurerm_route_table", "app",
            route=[
                {"name": "web", "address_prefix": "10.1.1.0/24", "next_hop_type": "None",
                 "next_hop_in_ip_address": ""},
            ],
        ),
        one(
            "azurerm_route", "out", name="out", resource_group_name="rg", route_table_name="app",
            address_prefix="198.51.100.0/24", next_hop_type="VirtualAppliance",
            next_hop_in_ip_address=ref("azurerm_network_interface.nva.private_ip_address"),
        ),
        one(
            "azurerm_subnet_route_table_association", "app",
            subnet_id=ref('azurerm_subnet.tier["app"].id'), route_table_id=ref("azurerm_route_table.app.id"),
        ),
    ]  # fmt: skip


def machines() -> list[Block | Module]:
    """Two web servers by count, the app with an address of its own, the db in a module."""
    database: list[Block | Module] = [
        named(
            "azurerm_network_interface", "nic", name="nic-db-0",
            ip_configuration=[configuration(ref("var.subnet_id"))],
        ),
        named(
            "azurerm_windows_virtual_machine", "vm", name="db-0",
            network_interface_ids=[ref("azurerm_network_interface.nic.id")],
        ),
    ]  # fmt: skip
    web = {
        "resource_group_name": "rg",
        "ip_configuration": [configuration(ref('azurerm_subnet.tier["web"].id'))],
    }
    nic_of_web = [ref("azurerm_network_interface.web", "count.index")]
    return [
        Block("azurerm_network_interface", "web", {n: {"name": f"nic-web-{n}", **web} for n in range(2)}),
        Block(
            "azurerm_linux_virtual_machine", "web",
            {n: {"name": f"web-{n}", "resource_group_name": "rg", "network_interface_ids": nic_of_web}
             for n in range(2)},
        ),
        named(
            "azurerm_network_interface", "app", name="nic-app-0",
            ip_configuration=[configuration(ref('azurerm_subnet.tier["app"].id'), "10.1.2.9")],
        ),
        vm("app-0", "azurerm_network_interface.app"),
        Module(
            "db", {None: database}, given={"subnet_id": ref('azurerm_subnet.tier["db"].id')},
            outputs={"nic_id": ref("azurerm_network_interface.nic.id")},
        ),
        named(
            "azurerm_network_interface", "nva", name="nic-nva-0", ip_forwarding_enabled=True,
            ip_configuration=[configuration(ref("azurerm_virtual_network.hub.subnet"))],
        ),
        vm("nva-0", "azurerm_network_interface.nva"),
    ]  # fmt: skip


def three_tiers() -> Json:
    return plan(*networks(), *security(), *routes(), *machines(), variables={"tiers": TIERS})


def snapshot() -> Network:
    """The same network as GET returns it."""
    sql = arm.rule("sql", 100, "Allow", protocol="Tcp", ports="1433")
    del sql["properties"]["sourceAddressPrefix"]
    sql["properties"]["sourceApplicationSecurityGroups"] = [
        arm.ref(arm.arm_id("applicationSecurityGroups", "apps"))
    ]
    return arm.network(
        arm.vnet(
            "hub", "10.0.0.0/16", {"nva": "10.0.1.0/24"},
            [arm.peering("hub", "spoke", "10.1.0.0/16", forwarded=True)],
        ),
        arm.vnet(
            "spoke", "10.1.0.0/16", dict(TIERS),
            [arm.peering("spoke", "hub", "10.0.0.0/16", forwarded=True)],
            nsgs={"web": "web"}, tables={"app": "app"},
        ),
        arm.asg("apps"),
        arm.nsg(
            "web",
            arm.rule("http", 100, "Allow", protocol="Tcp", ports="80"),
            arm.rule("rest", 200, "Deny", protocol="Tcp"),
        ),
        arm.nsg("db", sql, arm.rule("closed", 4000, "Deny", protocol="Tcp")),
        arm.table(
            "app",
            arm.route("web", "10.1.1.0/24", "None"),
            arm.route("out", "198.51.100.0/24", "VirtualAppliance", "10.0.1.4"),
        ),
        arm.machine("web-0", "spoke/web", "10.1.1.4"),
        arm.machine("web-1", "spoke/web", "10.1.1.5"),
        arm.machine("app-0", "spoke/app", "10.1.2.9", asgs=["apps"]),
        arm.machine("db-0", "spoke/db", "10.1.3.4", nsg="db"),
        arm.machine("nva-0", "hub/nva", "10.0.1.4", forwarding=True),
    )  # fmt: skip


def judged(network: Network, source: str, target: str, port: int) -> Json:
    return to_json(explain(network, Flow(source, target, Protocol.TCP, port)))


def test_a_plan_is_judged_as_the_snapshot_of_what_it_makes() -> None:
    planned = network_from_resources(resources_of(three_tiers(), "plan.json"), "plan.json")
    there = snapshot()
    names = sorted(vm.name for vm in there.vms.values())
    assert names == sorted(vm.name for vm in planned.vms.values())
    ends = [*permutations(names, 2), *((name, "198.51.100.7") for name in names)]
    verdicts = set()
    for source, target in ends:
        for port in PORTS:
            expected = judged(there, source, target, port)
            assert judged(planned, source, target, port) == expected
            verdicts.add((expected["verdict"], expected["cause"]))
    # a comparison of networks in which everything passes would prove little
    assert len(verdicts) >= 3
    assert planned.unmodelled == ()
