"""One ARM resource at a time into drafts of the network model, its associations into claims.

For :mod:`harness.network.snapshot`, which ties the drafts together. Properties that no
part of azreach needs are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.errors import SnapshotError
from harness.network.armids import parent, resource_type
from harness.network.claims import Claims
from harness.network.fields import Fields, shown
from harness.network.model import (
    ApplicationSecurityGroup,
    IPAddress,
    IPNetwork,
    PeeringState,
    PublicIPAddress,
    Route,
    SecurityRule,
    ServiceTagRoute,
    Subnet,
    VirtualNetworkPeering,
    key,
    short_name,
)
from harness.network.rules import route, security_rule
from harness.text import plain

NETWORK = "microsoft.network/"
VNET = NETWORK + "virtualnetworks"
SUBNET = VNET + "/subnets"
PEERING = VNET + "/virtualnetworkpeerings"
NIC = NETWORK + "networkinterfaces"
IP_CONFIGURATION = NIC + "/ipconfigurations"
NSG = NETWORK + "networksecuritygroups"
SECURITY_RULE = NSG + "/securityrules"
DEFAULT_RULE = NSG + "/defaultsecurityrules"
ASG = NETWORK + "applicationsecuritygroups"
ROUTE_TABLE = NETWORK + "routetables"
ROUTE = ROUTE_TABLE + "/routes"
PUBLIC_IP = NETWORK + "publicipaddresses"
VM = "microsoft.compute/virtualmachines"


@dataclass(slots=True)
class VNetDraft:
    id: str
    name: str
    address_space: tuple[IPNetwork, ...]


@dataclass(slots=True)
class IpConfigurationDraft:
    id: str
    name: str
    address: IPAddress
    primary: bool | None
    asgs: tuple[str, ...]
    fields: Fields


@dataclass(slots=True)
class NicDraft:
    id: str
    name: str
    configurations: list[IpConfigurationDraft]
    ip_forwarding: bool
    primary: bool | None
    mac: str | None
    fields: Fields


@dataclass(slots=True)
class VmDraft:
    id: str
    name: str
    primaries: dict[str, bool] = field(default_factory=dict)
    """What the VM itself says of its NICs (keys); in its order."""


Draft = TypeVar("Draft")


class Drafts:
    """Everything read so far, by key of the id."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.vnets: dict[str, VNetDraft] = {}
        self.subnets: dict[str, Subnet] = {}
        self.peerings: dict[str, VirtualNetworkPeering] = {}
        self.nics: dict[str, NicDraft] = {}
        self.ip_configurations: dict[str, IpConfigurationDraft] = {}
        self.nsgs: dict[str, tuple[str, str]] = {}
        self.rules: dict[str, SecurityRule] = {}
        self.asgs: dict[str, ApplicationSecurityGroup] = {}
        self.route_tables: dict[str, tuple[str, str]] = {}
        self.routes: dict[str, Route | ServiceTagRoute] = {}
        self.public_ips: dict[str, PublicIPAddress] = {}
        self.vms: dict[str, VmDraft] = {}
        self.unmodelled: dict[str, tuple[str, str]] = {}
        self.subnet_nsgs = Claims("subnet", "network security group")
        self.subnet_tables = Claims("subnet", "route table")
        self.nic_nsgs = Claims("network interface", "network security group")
        self.nic_vms = Claims("network interface", "virtual machine")
        self.configuration_subnets = Claims("IP configuration", "subnet")
        self.configuration_public_ips = Claims("IP configuration", "public IP address")
        self.asg_references: list[tuple[str, str]] = []
        self._readers: dict[str, Callable[[Fields, str, str], None]] = {
            VNET: self._vnet, SUBNET: self._subnet, PEERING: self._peering, NIC: self._nic, NSG: self._nsg,
            SECURITY_RULE: self._custom_rule, DEFAULT_RULE: self._default_rule, ASG: self._asg,
            ROUTE_TABLE: self._route_table, ROUTE: self._route, PUBLIC_IP: self._public_ip, VM: self._vm,
        }  # fmt: skip
        self._seen: set[str] = set()

    def read(self, body: Mapping[str, Any], place: str) -> None:
        """One resource of the snapshot; ``place`` names it as long as its id is not known."""
        fields = Fields(body, self.origin, place)
        arm_id = fields.arm_id()
        fields = fields.owned_by(arm_id)
        stated, derived = fields.optional_text("type"), resource_type(arm_id)
        kind = stated or derived
        if kind is None:
            fields.fail("type", "is missing and cannot be told from the id")
        modelled = kind.lower() in self._readers
        if (derived or "").lower() != kind.lower() and (modelled or (derived or "").lower() in self._readers):
            fields.fail(
                "type", f"'{shown(kind)}' does not fit the id, which names {shown(derived or 'no type')}"
            )
        if key(arm_id) in self._seen:
            raise SnapshotError(f"{self.origin}: {plain(arm_id)}: two resources have this id")
        self._seen.add(key(arm_id))
        if not modelled:
            self.unmodelled[key(arm_id)] = (kind, arm_id)
            return
        self._readers[kind.lower()](fields, arm_id, self._name(fields, arm_id))

    def _name(self, fields: Fields, arm_id: str) -> str:
        name, last = fields.optional_text("name"), short_name(arm_id)
        # templates and some lists name a child "parent/child"
        if name is not None and name.rpartition("/")[2].lower() != last.lower():
            fields.fail("name", f"'{shown(name)}' differs from the id's last segment '{shown(last)}'")
        return last

    def _children(
        self, fields: Fields, name: str, of: str, kind: str, read: Callable[[Fields, str, str], None]
    ) -> None:
        """The resources that stand inside another one; where one has no id, parent and name make it."""
        for child in fields.nested("properties").objects(name):
            if child.has("id"):
                child_id = child.arm_id()
                if resource_type(child_id) is None or (resource_type(child_id) or "").lower() != kind:
                    child.fail("id", f"'{shown(child_id)}' is no id of {kind}")
                if key(parent(child_id)) != key(of):
                    child.fail("id", f"{plain(child_id)} does not belong to {plain(of)}, in which it stands")
            else:
                child_name = child.text("name")
                if "/" in child_name:
                    child.fail("name", f"'{shown(child_name)}' is no name")
                child_id = f"{of}/{name}/{child_name}"
            fields_of_child = child.owned_by(child_id)
            read(fields_of_child, child_id, self._name(fields_of_child, child_id))

    def _store(self, table: dict[str, Draft], arm_id: str, draft: Draft) -> None:
        """A child may stand inside its parent and beside it; both must say the same."""
        other = table.setdefault(key(arm_id), draft)
        if other != draft:
            raise SnapshotError(f"{self.origin}: {plain(arm_id)}: stands twice, with different content")

    def _vnet(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._properties(fields)
        space = body.nested("addressSpace").prefixes("addressPrefixes")
        if not space:
            body.fail("addressSpace.addressPrefixes", "a virtual network needs at least one prefix")
        self.vnets[key(arm_id)] = VNetDraft(arm_id, name, space)
        self._distinct(body, "subnets")
        self._distinct(body, "virtualNetworkPeerings")
        self._children(fields, "subnets", arm_id, SUBNET, self._subnet)
        self._children(fields, "virtualNetworkPeerings", arm_id, PEERING, self._peering)

    def _distinct(self, body: Fields, name: str) -> None:
        """Names within one list; a child that also stands beside its parent is another matter."""
        seen: dict[str, str] = {}
        for child in body.objects(name):
            label = child.optional_text("id") or child.optional_text("name")
            if label is None:
                child.fail("id", "is missing, and so is the name")
            if key(label) in seen:
                child.fail("id" if child.has("id") else "name", f"{plain(label)} stands twice in this list")
            seen[key(label)] = label

    def _subnet(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._properties(fields)
        prefixes = body.prefixes("addressPrefixes")
        if not prefixes:
            prefixes = (body.parse_prefix("addressPrefix", body.text("addressPrefix")),)
        elif (single := body.optional_text("addressPrefix")) is not None:
            first = body.parse_prefix("addressPrefix", single)
            prefixes = prefixes if first in prefixes else (first, *prefixes)
        self._store(self.subnets, arm_id, Subnet(arm_id, name, key(parent(arm_id)), prefixes))
        if (nsg := body.reference("networkSecurityGroup")) is not None:
            self.subnet_nsgs.add(arm_id, nsg, body.at("networkSecurityGroup"))
        if (table := body.reference("routeTable")) is not None:
            self.subnet_tables.add(arm_id, table, body.at("routeTable"))
        for configuration in body.references("ipConfigurations"):
            # gateways, bastions and private endpoints have IP configurations in subnets too
            if (resource_type(configuration) or "").lower() == IP_CONFIGURATION:
                self.configuration_subnets.add(configuration, arm_id, body.at("ipConfigurations"))

    def _peering(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._properties(fields)
        remote = body.reference("remoteVirtualNetwork")
        if remote is None:
            body.fail("remoteVirtualNetwork", "is missing")
        if key(remote) == key(parent(arm_id)):
            body.fail("remoteVirtualNetwork", "a virtual network cannot be peered with itself")
        space = body.nested("remoteVirtualNetworkAddressSpace").prefixes("addressPrefixes")
        peering = VirtualNetworkPeering(
            id=arm_id,
            name=name,
            remote_vnet=key(remote),
            state=body.word("peeringState", PeeringState),
            allow_virtual_network_access=body.flag("allowVirtualNetworkAccess", default=True),
            allow_forwarded_traffic=body.flag("allowForwardedTraffic", default=False),
            remote_address_space=space or body.nested("remoteAddressSpace").prefixes("addressPrefixes"),
            allow_gateway_transit=body.flag("allowGatewayTransit", default=False),
            use_remote_gateways=body.flag("useRemoteGateways", default=False),
        )
        self._store(self.peerings, arm_id, peering)

    def _nic(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._properties(fields)
        self._distinct(body, "ipConfigurations")
        draft = NicDraft(
            id=arm_id,
            name=name,
            configurations=[],
            ip_forwarding=body.flag("enableIPForwarding", default=False),
            primary=body.optional_flag("primary"),
            mac=body.optional_text("macAddress"),
            fields=fields,
        )
        self.nics[key(arm_id)] = draft

        def configuration(item: Fields, configuration_id: str, configuration_name: str) -> None:
            draft.configurations.append(self._ip_configuration(item, configuration_id, configuration_name))

        self._children(fields, "ipConfigurations", arm_id, IP_CONFIGURATION, configuration)
        if not draft.configurations:
            body.fail("ipConfigurations", "a network interface needs at least one IP configuration")
        if (nsg := body.reference("networkSecurityGroup")) is not None:
            self.nic_nsgs.add(arm_id, nsg, body.at("networkSecurityGroup"))
        if (vm := body.reference("virtualMachine")) is not None:
            if (resource_type(vm) or "").lower() != VM:
                body.fail("virtualMachine.id", f"'{shown(vm)}' is no id of a virtual machine")
            self.nic_vms.add(arm_id, vm, body.at("virtualMachine"))

    def _ip_configuration(self, fields: Fields, arm_id: str, name: str) -> IpConfigurationDraft:
        body = self._properties(fields)
        if "/" in (body.optional_text("privateIPAddress") or ""):
            body.fail("privateIPAddress", "address blocks (privateIPAddressPrefixLength) are not supported")
        address = body.address("privateIPAddress")
        version = body.optional_text("privateIPAddressVersion")
        if version is not None and version.lower() != f"ipv{address.version}":
            body.fail("privateIPAddressVersion", f"'{shown(version)}' does not fit the address {address}")
        asgs = body.references("applicationSecurityGroups")
        for asg in asgs:
            self.asg_references.append((asg, body.at("applicationSecurityGroups")))
        if (subnet := body.reference("subnet")) is not None:
            self.configuration_subnets.add(arm_id, subnet, body.at("subnet"))
        if (public_ip := body.reference("publicIPAddress")) is not None:
            self.configuration_public_ips.add(arm_id, public_ip, body.at("publicIPAddress"))
        draft = IpConfigurationDraft(
            arm_id, name, address, body.optional_flag("primary"), tuple(key(asg) for asg in asgs), fields
        )
        self.ip_configurations[key(arm_id)] = draft
        return draft

    def _nsg(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._properties(fields)
        self.nsgs[key(arm_id)] = (arm_id, name)
        self._distinct(body, "securityRules")
        self._distinct(body, "defaultSecurityRules")
        self._children(fields, "securityRules", arm_id, SECURITY_RULE, self._custom_rule)
        # the service itself writes default rules' ids with empty parents, so only their names count
        for child in body.objects("defaultSecurityRules"):
            rule_name = child.optional_text("name") or short_name(child.text("id"))
            rule_id = f"{arm_id}/defaultSecurityRules/{rule_name}"
            self._default_rule(child.owned_by(rule_id), rule_id, rule_name)
        for subnet in body.references("subnets"):
            self.subnet_nsgs.add(subnet, arm_id, body.at("subnets"))
        for nic in body.references("networkInterfaces"):
            self.nic_nsgs.add(nic, arm_id, body.at("networkInterfaces"))

    def _custom_rule(self, fields: Fields, arm_id: str, name: str) -> None:
        self._rule(fields, arm_id, name, default=False)

    def _default_rule(self, fields: Fields, arm_id: str, name: str) -> None:
        self._rule(fields, arm_id, name, default=True)

    def _rule(self, fields: Fields, arm_id: str, name: str, *, default: bool) -> None:
        body = self._properties(fields)
        rule = security_rule(arm_id, name, body, default=default)
        self._store(self.rules, arm_id, rule)
        for name_of_side in ("sourceApplicationSecurityGroups", "destinationApplicationSecurityGroups"):
            self.asg_references += [(asg, body.at(name_of_side)) for asg in body.references(name_of_side)]

    def _asg(self, _fields: Fields, arm_id: str, name: str) -> None:
        self.asgs[key(arm_id)] = ApplicationSecurityGroup(arm_id, name)

    def _route_table(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._properties(fields)
        self.route_tables[key(arm_id)] = (arm_id, name)
        self._distinct(body, "routes")
        self._children(fields, "routes", arm_id, ROUTE, self._route)
        for subnet in body.references("subnets"):
            self.subnet_tables.add(subnet, arm_id, body.at("subnets"))

    def _route(self, fields: Fields, arm_id: str, name: str) -> None:
        self._store(self.routes, arm_id, route(arm_id, name, self._properties(fields)))

    def _public_ip(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._properties(fields)
        sku = fields.nested("sku").optional_text("name")
        address = body.address("ipAddress") if body.optional_text("ipAddress") is not None else None
        # Azure: a public IP without a sku is of the first kind, Basic
        self.public_ips[key(arm_id)] = PublicIPAddress(arm_id, name, address, sku or "Basic")
        owner = body.reference("ipConfiguration")
        # load balancers, gateways and firewalls have public addresses too
        if owner is not None and (resource_type(owner) or "").lower() == IP_CONFIGURATION:
            self.configuration_public_ips.add(owner, arm_id, body.at("ipConfiguration"))

    def _vm(self, fields: Fields, arm_id: str, name: str) -> None:
        draft = VmDraft(arm_id, name)
        self.vms[key(arm_id)] = draft
        profile = self._properties(fields).nested("networkProfile")
        for item in profile.objects("networkInterfaces"):
            nic = item.arm_id()
            if key(nic) in draft.primaries:
                item.fail("id", f"{plain(nic)} stands twice in this list")
            primary = item.nested("properties").optional_flag("primary")
            draft.primaries[key(nic)] = bool(primary)
            self.nic_vms.add(nic, arm_id, profile.at("networkInterfaces"))

    def _properties(self, fields: Fields) -> Fields:
        if not fields.has("properties"):
            fields.fail("properties", "is missing")
        return fields.nested("properties")
