"""Virtual networks, their subnets and peerings; classic ones, too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import replace

from harness.errors import SnapshotError
from harness.network.arm import kinds
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Reader, children, parent_in, properties, store
from harness.network.armids import kind_of, parent
from harness.network.fields import Fields
from harness.network.model import ServiceEndpoint, Subnet, VirtualNetwork, VirtualNetworkPeering
from harness.network.words import IPNetwork, PeeringState, key
from harness.text import plain

_IP_CONFIGURATIONS = (kinds.IP_CONFIGURATION, kinds.SCALE_SET_IP_CONFIGURATION)


class VirtualNetworks:
    def __init__(self, links: Associations) -> None:
        self.vnets: dict[str, VirtualNetwork] = {}
        """Without subnets and peerings, which may stand elsewhere."""
        self.subnets: dict[str, Subnet] = {}
        self._peerings: dict[str, VirtualNetworkPeering] = {}
        self._links = links
        self.readers: Mapping[str, Reader] = {
            kinds.VNET: self._vnet,
            kinds.SUBNET: self._subnet,
            kinds.PEERING: self._peering,
            kinds.CLASSIC_VNET: self._classic_vnet,
        }

    def settle_subnets(
        self, nsgs: Container[str], tables: Container[str], nats: Container[str], origin: str
    ) -> dict[str, Subnet]:
        """Every subnet with what is associated to it."""
        nsg_of = self._links.subnet_nsgs.settle(self.subnets, nsgs)
        table_of = self._links.subnet_tables.settle(self.subnets, tables)
        nat_of = self._links.subnet_nats.settle(self.subnets, nats)
        vnet_nat_of = self._links.vnet_nats.settle(self.vnets, nats)
        subnets = {}
        for name, draft in self.subnets.items():
            vnet = self.vnets[parent_in(self.vnets, draft.id, "virtual network", origin)]
            for prefix in draft.prefixes:
                if not any(_within(prefix, space) for space in vnet.address_space):
                    raise SnapshotError(
                        f"{origin}: {plain(draft.id)}: addressPrefix: {prefix} lies outside"
                        f" the address space of {plain(vnet.id)}"
                    )
            subnets[name] = replace(
                draft,
                nsg=nsg_of.get(name),
                route_table=table_of.get(name),
                # a subnet's own comes before its virtual network's
                nat_gateway=nat_of.get(name) or vnet_nat_of.get(draft.vnet),
            )
        return subnets

    def settle(self, origin: str) -> dict[str, VirtualNetwork]:
        """Every virtual network with its subnets and peerings."""
        members: dict[str, list[str]] = defaultdict(list)
        for name, subnet in self.subnets.items():
            members[subnet.vnet].append(name)
        peerings: dict[str, dict[str, VirtualNetworkPeering]] = defaultdict(dict)
        for draft in self._peerings.values():
            remote, peering = self.vnets.get(draft.remote_vnet), draft
            if remote is not None and not draft.remote_address_space:
                # a peering that does not say what it synchronised has what there is
                peering = replace(draft, remote_address_space=remote.address_space)
            owner = parent_in(self.vnets, peering.id, "virtual network", origin)
            other = peerings[owner].setdefault(peering.remote_vnet, peering)
            if other is not peering:
                raise SnapshotError(
                    f"{origin}: {plain(peering.id)}: remoteVirtualNetwork: {plain(other.id)} is already a"
                    " peering with that virtual network"
                )
        return {
            name: replace(vnet, subnets=tuple(members[name]), peerings=tuple(peerings[name].values()))
            for name, vnet in self.vnets.items()
        }

    def _vnet(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._space(fields, arm_id, name)
        children(body, "subnets", arm_id, kinds.SUBNET, self._subnet)
        children(body, "virtualNetworkPeerings", arm_id, kinds.PEERING, self._peering)
        if (nat := body.reference("defaultPublicNatGateway")) is not None:
            self._links.vnet_nats.add(arm_id, nat, body, "defaultPublicNatGateway")

    def _space(self, fields: Fields, arm_id: str, name: str) -> Fields:
        body = properties(fields)
        space = body.nested("addressSpace").prefixes("addressPrefixes")
        if not space:
            body.fail("addressSpace.addressPrefixes", "a virtual network needs at least one prefix")
        self.vnets[key(arm_id)] = VirtualNetwork(
            arm_id,
            name,
            space,
            subnets=(),
            location=fields.optional_text("location"),
            flow_timeout=body.optional_integer("flowTimeoutInMinutes", 4, 30),
        )
        return body

    def _subnet(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        subnet = Subnet(
            arm_id,
            name,
            key(parent(arm_id)),
            _prefixes(body),
            service_endpoints=tuple(
                ServiceEndpoint(item.text("service"), item.texts("locations"))
                for item in body.objects("serviceEndpoints")
            ),
            default_outbound_access=body.optional_flag("defaultOutboundAccess"),
        )
        store(self.subnets, arm_id, subnet, fields)
        for association, claims in (
            ("networkSecurityGroup", self._links.subnet_nsgs),
            ("routeTable", self._links.subnet_tables),
            ("natGateway", self._links.subnet_nats),
        ):
            if (value := body.reference(association)) is not None:
                claims.add(arm_id, value, body, association)
        for configuration in body.references("ipConfigurations"):
            # gateways, bastions and private endpoints have IP configurations in subnets too
            if kind_of(configuration) in _IP_CONFIGURATIONS:
                self._links.configuration_subnets.add(configuration, arm_id, body, "ipConfigurations")

    def _peering(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        remote = body.reference("remoteVirtualNetwork")
        if remote is None:
            body.fail("remoteVirtualNetwork", "is missing")
        if key(remote) == key(parent(arm_id)):
            body.fail("remoteVirtualNetwork", "a virtual network cannot be peered with itself")
        # the API specification: the first is what the peering has synchronised, the second the current space
        space = body.nested("remoteAddressSpace").prefixes("addressPrefixes")
        current = body.nested("remoteVirtualNetworkAddressSpace").prefixes("addressPrefixes")
        peering = VirtualNetworkPeering(
            id=arm_id,
            name=name,
            remote_vnet=key(remote),
            state=body.word("peeringState", PeeringState),
            allow_virtual_network_access=body.flag("allowVirtualNetworkAccess", default=True),
            allow_forwarded_traffic=body.flag("allowForwardedTraffic", default=False),
            remote_address_space=space or current,
            allow_gateway_transit=body.flag("allowGatewayTransit", default=False),
            use_remote_gateways=body.flag("useRemoteGateways", default=False),
            sync_level=body.optional_text("peeringSyncLevel"),
        )
        store(self._peerings, arm_id, peering, fields)

    def _classic_vnet(self, fields: Fields, arm_id: str, name: str) -> None:
        body = self._space(fields, arm_id, name)
        children(body, "subnets", arm_id, kinds.CLASSIC_SUBNET, self._classic_subnet)

    def _classic_subnet(self, fields: Fields, arm_id: str, name: str) -> None:
        """Has neither an id nor ``properties`` of its own."""
        store(self.subnets, arm_id, Subnet(arm_id, name, key(parent(arm_id)), _prefixes(fields)), fields)
        if (nsg := fields.reference("networkSecurityGroup")) is not None:
            self._links.subnet_nsgs.add(arm_id, nsg, fields, "networkSecurityGroup")


def _prefixes(body: Fields) -> tuple[IPNetwork, ...]:
    """ARM fills ``addressPrefix``, ``addressPrefixes`` or both."""
    prefixes = body.prefixes("addressPrefixes")
    if not prefixes:
        return (body.parse_prefix("addressPrefix", body.text("addressPrefix")),)
    if (single := body.optional_text("addressPrefix")) is not None:
        first = body.parse_prefix("addressPrefix", single)
        return prefixes if first in prefixes else (first, *prefixes)
    return prefixes


def _within(prefix: IPNetwork, space: IPNetwork) -> bool:
    return (
        prefix.version == space.version
        and prefix.prefixlen >= space.prefixlen
        and prefix.network_address in space
    )
