"""The taxonomy: for every cause one line of explanation, how it is recognised, and the fix.

Source of steps and fixes: Microsoft, "Troubleshooting connectivity problems between Azure
VMs", and the Azure CLI reference. Words in angle brackets are to be filled in; a diagnosis
fills in those that it knows (:func:`fix`). A new cause starts here, with a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.errors import UnknownNameError
from harness.model import Cause, Step

STEP_TITLES: Mapping[Step, str] = MappingProxyType(
    {
        Step.NAME_RESOLUTION: "0 the name does not lead to the VM",
        Step.NIC: "1 the NIC is misconfigured",
        Step.NSG_UDR: "2 an NSG or a UDR blocks",
        Step.GUEST_FIREWALL: "3 the VM's own firewall blocks",
        Step.LISTENER: "4 nothing listens",
        Step.SNAT: "5 SNAT ports are exhausted",
        Step.CLASSIC_ACL: "6 a classic endpoint ACL blocks",
        Step.CLASSIC_ENDPOINT: "7 the classic endpoint is missing",
        Step.SHARE: "8 the network share fails",
        Step.INTER_VNET: "9 the VNets are not connected",
    }
)


@dataclass(frozen=True, slots=True)
class CauseInfo:
    """One row: what the cause is, how it is told from its neighbours, how it is mended."""

    cause: Cause
    explanation: str
    recognised_by: str
    fix: tuple[str, ...]


_NSG_FIX = (
    "az network nsg rule create -g <group> --nsg-name <nsg> -n <rule> --priority <priority> --direction <direction>"
    " --access Allow --protocol <protocol> --source-address-prefixes <source>"
    " --destination-address-prefixes <target> --destination-port-ranges <port>",
    "az network nic list-effective-nsg -g <group> -n <nic>   # look at both levels afterwards",
)
_NSG_SEEN = "the configuration denies the flow by a {level} rule; the packet is seen {where} and never arrives at the target"
_FIREWALL_ALLOW = (
    "nft insert rule <family> <table> <chain> <protocol> dport <port> ip saddr <source> accept   # nftables",
    "iptables -I <chain> -p <protocol> --dport <port> -s <source> -j ACCEPT   # iptables",
    "ufw allow proto <protocol> from <source> to any port <port>   # ufw",
    "firewall-cmd --permanent --add-port=<port>/<protocol> && firewall-cmd --reload   # firewalld",
)
_LISTENER_FIX = (
    "ss -ltnup   # on <target>: what listens, and on which address",
    "systemctl status <service> && systemctl restart <service>",
)
_PEERING_FIX = (
    "az network vnet peering create -g <group> --vnet-name <vnet> -n <peering> --remote-vnet <remote> --allow-vnet-access",
    "az network vnet peering list -g <group> --vnet-name <vnet> -o table   # both sides must say Connected",
)


def _rows() -> tuple[CauseInfo, ...]:
    return (
        CauseInfo(
            Cause.NIC_NSG_OUTBOUND,
            "A rule of the NSG on the source's NIC denies the flow outbound.",
            _NSG_SEEN.format(level="NIC-level outbound", where="leaving the source guest"),
            _NSG_FIX,
        ),
        CauseInfo(
            Cause.SUBNET_NSG_OUTBOUND,
            "A rule of the NSG on the source's subnet denies the flow outbound.",
            _NSG_SEEN.format(level="subnet-level outbound", where="leaving the source guest"),
            _NSG_FIX,
        ),
        CauseInfo(
            Cause.SUBNET_NSG_INBOUND,
            "A rule of the NSG on the target's subnet denies the flow inbound.",
            _NSG_SEEN.format(level="subnet-level inbound", where="leaving the source guest"),
            _NSG_FIX,
        ),
        CauseInfo(
            Cause.NIC_NSG_INBOUND,
            "A rule of the NSG on the target's NIC denies the flow inbound.",
            _NSG_SEEN.format(level="NIC-level inbound", where="leaving the source guest"),
            _NSG_FIX,
        ),
        CauseInfo(
            Cause.DEFAULT_DENY,
            "No rule allows the flow, so a default rule (DenyAllInBound or DenyAllOutBound) drops it.",
            "the configuration's first match is a default deny rule; the packet leaves the source guest only",
            _NSG_FIX,
        ),
        CauseInfo(
            Cause.ROUTE_TO_NONE,
            "The effective route for the destination has next hop None: Azure drops the packet.",
            "the longest matching route says None; the packet leaves the source guest only",
            (
                "az network route-table route delete -g <group> --route-table-name <table> -n <route>",
                "az network nic show-effective-route-table -g <group> -n <nic> -o table",
            ),
        ),
        CauseInfo(
            Cause.APPLIANCE_UNREACHABLE,
            "A route sends the flow to a virtual appliance that no NIC answers for.",
            "the route's next hop address belongs to no NIC within reach",
            (
                "az network route-table route update -g <group> --route-table-name <table> -n <route>"
                " --next-hop-type VirtualAppliance --next-hop-ip-address <appliance>",
            ),
        ),
        CauseInfo(
            Cause.APPLIANCE_NOT_FORWARDING,
            "A route sends the flow through an appliance that does not forward: IP forwarding is off on its NIC"
            " or in its guest.",
            "enableIPForwarding is false on the appliance's NIC, or packets enter the appliance and do not leave it",
            (
                "az network nic update -g <group> -n <nic> --ip-forwarding true",
                "sysctl -w net.ipv4.ip_forward=1   # in the appliance's guest",
            ),
        ),
        CauseInfo(
            Cause.APPLIANCE_NSG,
            "An NSG of the appliance in the path denies the flow that passes through it.",
            "the configuration denies the flow at the appliance's NIC or subnet",
            _NSG_FIX,
        ),
        CauseInfo(
            Cause.ASYMMETRIC_RETURN,
            "The answer comes back through an appliance that never saw the request, and is judged there as a new flow.",
            "the request arrives and is answered; the return route meets a port without state for the flow, which denies",
            (
                "az network route-table route create -g <group> --route-table-name <table> -n <route>"
                " --address-prefix <prefix> --next-hop-type VirtualAppliance --next-hop-ip-address <appliance>"
                "   # the same way there and back",
            ),
        ),
        CauseInfo(
            Cause.ASG_MEMBERSHIP,
            "A rule allows the flow by application security group, and one end's NIC is in none.",
            "the flow is denied, and an earlier allow rule misses it only because an end has no ASG",
            (
                "az network nic ip-config update -g <group> --nic-name <nic> -n <ipconfig>"
                " --application-security-groups <asg>",
            ),
        ),
        CauseInfo(
            Cause.ADMIN_RULE,
            "A security admin rule of Azure Virtual Network Manager denies the flow before any NSG is asked.",
            "the configuration denies the flow by an admin rule; no NSG rule can allow what it denies",
            (
                "az network manager security-admin-config rule-collection rule update -g <group> --network-manager-name <manager>"
                " --configuration-name <configuration> --rule-collection-name <collection> --rule-name <rule> --access Allow",
                "# then deploy the configuration again: az network manager post-commit",
            ),
        ),
        CauseInfo(
            Cause.OUTBOUND_DROP,
            "The source's own firewall drops or rejects the flow before it leaves the VM.",
            "no packet is seen leaving the source's NIC although the guest has a route for it",
            (
                "nft list ruleset   # on <source>: the output chain",
                "nft insert rule <family> <table> <chain> ip daddr <target> <protocol> dport <port> accept   # nftables",
                "iptables -I OUTPUT -p <protocol> -d <target> --dport <port> -j ACCEPT   # iptables",
            ),
        ),
        CauseInfo(
            Cause.INBOUND_DROP,
            "The target's own firewall drops the flow in silence.",
            "the packet arrives at the target's NIC, nothing leaves it in answer, and the socket never saw it",
            _FIREWALL_ALLOW,
        ),
        CauseInfo(
            Cause.INBOUND_REJECT,
            "The target's own firewall rejects the flow with a reset or an ICMP error.",
            "the packet arrives and is refused although a process listens on that very address and port",
            _FIREWALL_ALLOW,
        ),
        CauseInfo(
            Cause.FORWARD_DROP,
            "The firewall of the appliance in the path drops or rejects what it should forward.",
            "the packet enters the appliance and does not leave it, and a rule of its forward chain blocks it",
            (
                "nft insert rule <family> <table> <chain> ip saddr <source> ip daddr <target> accept   # nftables",
                "iptables -I FORWARD -s <source> -d <target> -j ACCEPT   # iptables",
            ),
        ),
        CauseInfo(
            Cause.ALLOW_LIST,
            "The target's own firewall allows the port to some sources, and this one is not among them.",
            "the flow is blocked, and a rule before the block would accept it from another source",
            _FIREWALL_ALLOW,
        ),
        CauseInfo(
            Cause.CONNECTION_LIMIT,
            "The target's own firewall limits connections or their rate, and the limit is reached.",
            "the packet is stopped in the target's guest, and the only rule that can do it is a limit",
            (
                "ss -tn state established sport = :<port> | wc -l   # on <target>: how many there are",
                "conntrack -L -p <protocol> --dport <port>   # who holds them",
            ),
        ),
        CauseInfo(
            Cause.ANSWERS_DROPPED,
            "The target accepts the flow, but its own firewall drops the answers on their way out.",
            "the packet arrives, the socket takes it (SYN-RECEIVED), and no answer leaves the target's NIC",
            (
                "nft list ruleset   # on <target>: the output chain",
                "nft insert rule <family> <table> <chain> ct state established,related accept   # nftables",
                "iptables -I OUTPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT   # iptables",
            ),
        ),
        CauseInfo(
            Cause.NO_PROCESS,
            "No process listens on the port.",
            "the target itself refuses (RST or ICMP port unreachable leaves it) and no socket is bound to the port",
            _LISTENER_FIX,
        ),
        CauseInfo(
            Cause.LOOPBACK_ONLY,
            "The process listens on the loopback address only.",
            "the port is bound to 127.0.0.0/8 or ::1 alone: it answers on the VM itself and refuses everybody else",
            (
                "ss -ltnup 'sport = :<port>'   # on <target>",
                "# bind the service to 0.0.0.0, :: or <target>, then restart it",
            ),
        ),
        CauseInfo(
            Cause.OTHER_ADDRESS,
            "The process listens on another address of the VM than the one asked for.",
            "the port is bound, but to none of the addresses that the flow could match",
            (
                "ss -ltnup 'sport = :<port>'   # on <target>",
                "# bind the service to 0.0.0.0, :: or <target>, then restart it",
            ),
        ),
        CauseInfo(
            Cause.ADDRESS_FAMILY,
            "The process listens on the other address family only (IPv4 for an IPv6 flow, or the reverse).",
            "the port is bound for the other family alone",
            (
                "ss -ltnup 'sport = :<port>'   # on <target>",
                "# bind the service to :: (with IPV6_V6ONLY off), or to both families, then restart it",
            ),
        ),
        CauseInfo(
            Cause.BACKLOG_FULL,
            "The process does not accept: its accept queue is full, and Linux drops further requests in silence.",
            "the packet arrives, nothing answers, and the listening socket holds more than its backlog allows",
            (
                "ss -ltn 'sport = :<port>'   # on <target>: Recv-Q above Send-Q is a full queue",
                "nstat -az TcpExtListenOverflows TcpExtListenDrops",
                "# restart the service or find out why it does not accept; then raise its backlog and net.core.somaxconn",
            ),
        ),
        CauseInfo(
            Cause.PROCESS_STOPPED,
            "The process takes no connection (stopped by SIGSTOP or a debugger, or hung): the kernel accepts, then silence.",
            "the handshake completes, and the connection stays in the accept queue (a stopped process has state T)",
            (
                "ps -o pid,stat,wchan,cmd -p <pid>   # on <target>: state T is stopped",
                "kill -CONT <pid>",
            ),
        ),
        CauseInfo(
            Cause.OTHER_PORT,
            "The service listens on another port than the one asked for.",
            "the port is not bound, and the VM has a listener that nothing in the environment file accounts for",
            (
                "ss -ltnup   # on <target>",
                "# give the service its port back, or ask for the port that it has",
            ),
        ),
        CauseInfo(
            Cause.NO_OUTBOUND,
            "The source has no way out to the internet: no NAT gateway, public IP, outbound rule or default outbound access.",
            "the route says Internet, and nothing that translates addresses applies to the source",
            (
                "az network nat gateway create -g <group> -n <nat gateway> --public-ip-addresses <public ip>",
                "az network vnet subnet update -g <group> --vnet-name <vnet> -n <subnet> --nat-gateway <nat gateway>",
            ),
        ),
        CauseInfo(
            Cause.ACL_DENY,
            "A deny rule of the classic endpoint's access control list matches the client.",
            "the endpoint exists, and the first ACL rule that holds the client's address denies",
            (
                "Remove-AzureAclConfig / Set-AzureAclConfig   # a permit with a lower order, then Update-AzureVM",
            ),
        ),
        CauseInfo(
            Cause.ACL_IMPLICIT_DENY,
            "The classic endpoint's access control list permits others, so everybody else is denied.",
            "the endpoint has a permit rule, and no rule holds the client's address",
            (
                "Set-AzureAclConfig -AddRule -Action permit -RemoteSubnet <source> -Order <order>   # then Update-AzureVM",
            ),
        ),
        CauseInfo(
            Cause.NO_ENDPOINT,
            "The cloud service has no endpoint for the port, so nothing from outside reaches the classic VM.",
            "no endpoint of the cloud service has the public port that was asked for",
            (
                "Add-AzureEndpoint -Name <endpoint> -Protocol <protocol> -PublicPort <port> -LocalPort <port>   # then Update-AzureVM",
            ),
        ),
        CauseInfo(
            Cause.ENDPOINT_PROTOCOL,
            "The cloud service's endpoint is for the other protocol.",
            "an endpoint with the public port exists, for TCP where UDP was asked for or the reverse",
            (
                "Set-AzureEndpoint -Name <endpoint> -Protocol <protocol> -PublicPort <port> -LocalPort <port>   # then Update-AzureVM",
            ),
        ),
        CauseInfo(
            Cause.NO_INBOUND_RULE,
            "Nothing publishes the port: the load balancer's frontend has no rule for it, or the target no public address.",
            "no load-balancing or inbound NAT rule of the frontend has the protocol and port",
            (
                "az network lb inbound-nat-rule create -g <group> --lb-name <balancer> -n <rule> --protocol <protocol>"
                " --frontend-port <port> --backend-port <port> --frontend-ip-name <frontend>",
            ),
        ),
        CauseInfo(
            Cause.NO_PEERING,
            "The two VMs are in VNets that are not peered with each other.",
            "the destination lies in a VNet to which no route of the source's subnet leads",
            _PEERING_FIX,
        ),
        CauseInfo(
            Cause.PEERING_NOT_CONNECTED,
            "The peering exists on one side only (Initiated) or was torn down (Disconnected).",
            "peeringState is not Connected",
            _PEERING_FIX,
        ),
        CauseInfo(
            Cause.PEERING_ACCESS_DISABLED,
            "The peering is Connected, but virtual network access is switched off.",
            "allowVirtualNetworkAccess is false and no rule allows the flow by address",
            (
                "az network vnet peering update -g <group> --vnet-name <vnet> -n <peering>"
                " --set allowVirtualNetworkAccess=true",
            ),
        ),
        CauseInfo(
            Cause.FORWARDED_TRAFFIC_REFUSED,
            "The peering does not accept traffic that was forwarded by an appliance.",
            "allowForwardedTraffic is false on the peering through which forwarded packets arrive",
            (
                "az network vnet peering update -g <group> --vnet-name <vnet> -n <peering>"
                " --set allowForwardedTraffic=true",
            ),
        ),
        CauseInfo(
            Cause.NOT_TRANSITIVE,
            "Both VNets are peered with a third one (a hub), but peering is not transitive.",
            "no route leads to the destination's VNet, and some VNet is peered with both",
            (
                "az network vnet peering create -g <group> --vnet-name <vnet> -n <peering> --remote-vnet <remote> --allow-vnet-access",
                "# or route through an appliance in the hub: a UDR on both sides, allowForwardedTraffic on both spokes' peerings",
            ),
        ),
        CauseInfo(
            Cause.OVERLAPPING_SPACES,
            "Another VNet within reach has the same addresses, and the packet goes there.",
            "the destination's address lies in the source's own VNet or in a nearer peer's space",
            (
                "az network vnet update -g <group> -n <vnet> --address-prefixes <prefix>   # renumber one of the two",
            ),
        ),
        CauseInfo(
            Cause.NOT_SYNCHRONISED,
            "The peer's address space was changed after the peering was made, and the peering was not synchronised.",
            "peeringSyncLevel is not FullyInSync, and the destination lies in the part that was added",
            ("az network vnet peering sync -g <group> --vnet-name <vnet> -n <peering>",),
        ),
        CauseInfo(
            Cause.NO_GATEWAY,
            "A route leads to a virtual network gateway that does not exist, or that the peering does not lend.",
            "the next hop is VirtualNetworkGateway, and neither the VNet nor its hub offers one",
            (
                "az network vnet peering update -g <group> --vnet-name <hub> -n <peering> --set allowGatewayTransit=true",
                "az network vnet peering update -g <group> --vnet-name <vnet> -n <peering> --set useRemoteGateways=true",
            ),
        ),
        CauseInfo(
            Cause.GATEWAY_CONNECTION_DOWN,
            "The gateway's connection to the other side is not connected.",
            "the route leads to a gateway whose connectionStatus is not Connected",
            (
                "az network vpn-connection show -g <group> -n <connection> --query connectionStatus",
                "az network vnet-gateway reset -g <group> -n <gateway>",
            ),
        ),
    )


TAXONOMY: Mapping[Cause, CauseInfo] = MappingProxyType({row.cause: row for row in _rows()})


def causes_of(step: Step) -> tuple[CauseInfo, ...]:
    """The rows of one step, in the order in which the step's module tells them apart."""
    return tuple(row for row in TAXONOMY.values() if row.cause.step is step)


def find_cause(text: str) -> CauseInfo:
    """The row of ``<step>/<cause>`` or of an unambiguous ``<cause>``; raises UnknownNameError."""
    matches = [
        row for row in TAXONOMY.values() if text in (row.cause.value, row.cause.value.partition("/")[2])
    ]
    if len(matches) == 1:
        return matches[0]
    raise UnknownNameError(f"no cause '{text}'", hint="`azreach causes` lists them")


def fix(cause: Cause, values: Mapping[str, str]) -> tuple[str, ...]:
    """The documented fix of ``cause`` with every ``<word>`` that ``values`` knows filled in."""
    return tuple(
        re.sub(r"<(\w+)>", lambda match: values.get(match.group(1), match.group(0)), line)
        for line in TAXONOMY[cause].fix
    )
