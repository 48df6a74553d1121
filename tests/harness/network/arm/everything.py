"""One network in which every resource type that the loader knows stands at least once."""

from __future__ import annotations

from tests.harness.network.builders import (
    CLASSIC_NETWORK,
    GROUP,
    Resource,
    acl_rule,
    admin_address,
    admin_collection,
    admin_rule,
    arm_id,
    child,
    classic_vm,
    classic_vnet,
    cloud_service,
    configuration_id,
    connection,
    endpoint,
    gateway,
    load_balancer,
    load_balancer_id,
    local_gateway,
    machine,
    nat_gateway,
    network_group,
    public_ip,
    public_ip_prefix,
    ref,
    resource,
    subnet_id,
    vnet,
    vnet_id,
)
from tests.harness.network.test_snapshot import valid

LB = load_balancer_id("lb")
SCALE_SET_VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachineScaleSets/ss/virtualMachines/0"
SCALE_SET_NIC = f"{SCALE_SET_VM}/networkInterfaces/n"


def frontend(name: str, **properties: object) -> Resource:
    return child(LB, "frontendIPConfigurations", name, **properties)


def public_balancer() -> Resource:
    """Frontends by public IP and by prefix; a pool; a rule, NAT rules of both kinds, an outbound rule."""
    pool = ref(f"{LB}/backendAddressPools/pool")
    front = ref(f"{LB}/frontendIPConfigurations/front")
    return load_balancer(
        "lb",
        frontendIPConfigurations=[
            frontend("front", publicIPAddress=ref(arm_id("publicIPAddresses", "lb-ip"))),
            frontend("range", publicIPPrefix=ref(arm_id("publicIPPrefixes", "range"))),
        ],
        backendAddressPools=[
            child(
                LB,
                "backendAddressPools",
                "pool",
                backendIPConfigurations=[ref(configuration_id("nic-app-1"))],
                loadBalancerBackendAddresses=[
                    {
                        "name": "by-address",
                        "properties": {"ipAddress": "10.9.1.99", "virtualNetwork": ref(vnet_id("e"))},
                    }
                ],
            )
        ],
        loadBalancingRules=[
            child(
                LB, "loadBalancingRules", "http", frontendIPConfiguration=front, backendAddressPool=pool,
                protocol="Tcp", frontendPort=80, backendPort=8080, disableOutboundSnat=True,
                enableFloatingIP=False, probe=ref(f"{LB}/probes/health"),
            )
        ],
        probes=[child(LB, "probes", "health", protocol="Http", port=8080, requestPath="/")],
        inboundNatRules=[
            child(
                LB, "inboundNatRules", "ssh", frontendIPConfiguration=front, protocol="Tcp",
                frontendPort=50022, backendPort=22, backendIPConfiguration=ref(configuration_id("nic-app-1")),
            ),
            child(
                LB, "inboundNatRules", "range", frontendIPConfiguration=front, protocol="Tcp", frontendPort=0,
                frontendPortRangeStart=51000, frontendPortRangeEnd=51009, backendPort=22,
                backendAddressPool=pool,
            ),
        ],
        outboundRules=[
            child(
                LB, "outboundRules", "out", frontendIPConfigurations=[front], backendAddressPool=pool,
                protocol="All", allocatedOutboundPorts=1024, idleTimeoutInMinutes=15, enableTcpReset=True,
            )
        ],
    )  # fmt: skip


def internal_balancer() -> Resource:
    own = load_balancer_id("ilb")
    return load_balancer(
        "ilb",
        frontendIPConfigurations=[
            child(
                own, "frontendIPConfigurations", "in", privateIPAddress="10.9.1.100",
                subnet=ref(subnet_id("e/app")),
            )
        ],
        backendAddressPools=[child(own, "backendAddressPools", "all")],
        loadBalancingRules=[
            child(
                own, "loadBalancingRules", "ha",
                frontendIPConfiguration=ref(f"{own}/frontendIPConfigurations/in"),
                backendAddressPools=[ref(f"{own}/backendAddressPools/all")],
                protocol="All", frontendPort=0, backendPort=0,
            )
        ],
    )  # fmt: skip


def edges() -> list[Resource]:
    """A virtual network ``e`` with everything at its edges."""
    place = vnet("e", "10.9.0.0/16", {"app": "10.9.1.0/24", "GatewaySubnet": "10.9.255.0/27"})
    place["properties"]["flowTimeoutInMinutes"] = 20
    app = place["properties"]["subnets"][0]["properties"]
    app |= {
        "natGateway": ref(arm_id("natGateways", "nat")),
        "serviceEndpoints": [{"service": "Microsoft.Storage", "locations": ["westeurope"]}],
        "defaultOutboundAccess": False,
    }
    app_2 = machine("app-2", "e/app", "10.9.1.5")
    app_2[0]["properties"]["ipConfigurations"][0]["properties"]["loadBalancerBackendAddressPools"] = [
        ref(f"{LB}/backendAddressPools/pool"),
        ref(f"{load_balancer_id('ilb')}/backendAddressPools/all"),
    ]
    return [
        place,
        *machine("app-1", "e/app", "10.9.1.4"),
        *app_2,
        public_ip("lb-ip", "203.0.113.10"),
        public_ip("nat-ip", "203.0.113.11"),
        public_ip_prefix("range", "203.0.113.64/30"),
        public_ip_prefix("nat-range", "203.0.113.128/30"),
        nat_gateway(
            "nat",
            publicIpAddresses=[ref(arm_id("publicIPAddresses", "nat-ip"))],
            publicIpPrefixes=[ref(arm_id("publicIPPrefixes", "nat-range"))],
            idleTimeoutInMinutes=10,
        ),
        public_balancer(),
        internal_balancer(),
        gateway("gw", "e"),
        local_gateway("site", "172.20.0.0/16", "172.21.0.0/16"),
        connection(
            "c", "gw", localNetworkGateway2=ref(arm_id("localNetworkGateways", "site")),
            connectionStatus="Connected",
        ),
        *network_group("prod", vnet_id("e"), subnet_id("v/web")),
        admin_collection("rc", "prod"),
        admin_rule("deny-ssh", 20, "Deny", sources=[admin_address("Internet", "ServiceTag")]),
        admin_rule(
            "monitoring", 10, "AlwaysAllow", protocol="Any", direction="Outbound",
            destinations=[admin_address(f"{GROUP}/providers/Microsoft.Network/networkManagers/m/networkGroups/prod",
                                        "NetworkGroup")],
        ),
        resource(
            SCALE_SET_NIC,
            "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/networkInterfaces",
            {
                "virtualMachine": ref(SCALE_SET_VM),
                "ipConfigurations": [
                    {
                        "id": f"{SCALE_SET_NIC}/ipConfigurations/ip",
                        "name": "ip",
                        "properties": {
                            "privateIPAddress": "10.9.1.20",
                            "subnet": ref(subnet_id("e/app")),
                            "primary": True,
                        },
                    }
                ],
            },
        ),
        cloud_service("svc"),
        classic_vnet("old", "10.20.0.0/16", s="10.20.0.0/24"),
        classic_vm(
            "old-1", "svc", "10.20.0.4",
            endpoint("rdp", 53389, 3389, acl_rule(200, "permit", "175.0.0.0/8"),
                     acl_rule(100, "deny", "175.1.0.1/24", "them"), publicIpAddress="203.0.113.77"),
            endpoint("web", 80, 8080, loadBalancedEndpointSetName="web-set"),
            place=("old", "s"),
            networkSecurityGroup=ref(arm_id("networkSecurityGroups", "old-nsg", CLASSIC_NETWORK)),
        ),
        resource(
            arm_id("networkSecurityGroups", "old-nsg", CLASSIC_NETWORK),
            f"{CLASSIC_NETWORK}/networkSecurityGroups",
            {"state": "Created"},
        ),
        resource(
            arm_id("networkSecurityGroups", "old-nsg", CLASSIC_NETWORK) + "/securityRules/in",
            f"{CLASSIC_NETWORK}/networkSecurityGroups/securityRules",
            {
                "type": "Inbound", "action": "Allow", "priority": 100, "protocol": "Tcp",
                "sourceAddressPrefix": "VIRTUAL_NETWORK", "sourcePortRange": "*",
                "destinationAddressPrefix": "*", "destinationPortRange": "3389",
            },
        ),
        cloud_service("lone"),
        classic_vm("lone-1", "lone", "100.64.3.7"),
        classic_vm("lone-2", "lone", "100.64.9.1"),
    ]  # fmt: skip


def everything() -> list[Resource]:
    return [*valid(), *edges()]
