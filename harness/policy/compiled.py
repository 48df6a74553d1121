"""A network prepared for many questions: what applies at each subnet and each NIC, resolved once.

Routes, tags and rules are compiled when they are first asked and kept. A :class:`Compiled` belongs
to one network, one set of options and one tags file; none of them changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.network.gateways import VirtualNetworkGateway
from harness.network.model import (
    Direction,
    IPAddress,
    IpConfiguration,
    Network,
    NetworkInterface,
    NetworkSecurityGroup,
    NextHopType,
    PeeringState,
    SecurityAdminRule,
    SecurityRule,
    ServiceEndpoint,
    VirtualNetworkPeering,
    key,
)
from harness.network.service_tags import ServiceTags
from harness.policy.decision import EffectiveRoute, Options
from harness.policy.gateways import gateway_prefixes
from harness.policy.routing import RouteLookup, route_lookup
from harness.policy.security import RuleList, compile_rules
from harness.policy.tags import TagScope, contains, tag_scope

if TYPE_CHECKING:
    from harness.policy.inbound import Publications

NIC, SUBNET = "NIC", "subnet"
DOCUMENTED = Options()

ContextKey = tuple[str, str | None, tuple[ServiceEndpoint, ...]]
"""Virtual network, route table, service endpoints: what subnets must share to see the same."""


@dataclass(frozen=True, slots=True)
class Context:
    """What all subnets with the same :data:`ContextKey` have in common."""

    key: ContextKey
    vnet: str
    routes: RouteLookup
    scope: TagScope


@dataclass(frozen=True, slots=True)
class Judge:
    """An NSG at a NIC: where it is associated, and its rules in one direction as they apply there."""

    level: str
    group: NetworkSecurityGroup
    rules: RuleList[SecurityRule]


class Compiled:
    """The answers of one network that do not depend on the packet. Keys are keys of ARM ids."""

    def __init__(
        self, network: Network, options: Options = DOCUMENTED, service_tags: ServiceTags | None = None
    ) -> None:
        self.network, self.options, self.service_tags = network, options, service_tags
        self._contexts: dict[ContextKey, Context] = {}
        self._subnet_contexts: dict[str, Context] = {}
        self._rules: dict[tuple[str, Direction, ContextKey], RuleList[SecurityRule]] = {}
        self._judges: dict[tuple[str | None, str, Direction], tuple[Judge, ...]] = {}
        self._admin: dict[tuple[ContextKey, Direction], RuleList[SecurityAdminRule] | None] = {}

    def vnet_of(self, nic: NetworkInterface) -> str:
        return self.network.subnets[nic.subnet].vnet

    def context(self, subnet: str) -> Context:
        """What applies to the NICs of ``subnet``."""
        found = self._subnet_contexts.get(subnet)
        if found is None:
            found = self._subnet_contexts[subnet] = self._context(subnet)
        return found

    def _context(self, name: str) -> Context:
        subnet = self.network.subnets[name]
        identity = (subnet.vnet, subnet.route_table, subnet.service_endpoints)
        found = self._contexts.get(identity)
        if found is None:
            found = self._contexts[identity] = Context(
                identity,
                subnet.vnet,
                route_lookup(self.network, subnet, self.service_tags),
                tag_scope(
                    self.network, subnet, gateway_prefixes(self.network, subnet.vnet), self.service_tags
                ),
            )
        return found

    def judges(self, nic: NetworkInterface, direction: Direction) -> tuple[Judge, ...]:
        """The NSGs that judge, in order: NIC then subnet outward, subnet then NIC inward."""
        identity = (nic.nsg, nic.subnet, direction)
        found = self._judges.get(identity)
        if found is None:
            names = [(NIC, nic.nsg), (SUBNET, self.network.subnets[nic.subnet].nsg)]
            if direction is Direction.INBOUND:
                names.reverse()
            found = self._judges[identity] = tuple(
                Judge(level, self.network.nsgs[name], self.rules(name, direction, nic.subnet))
                for level, name in names
                if name is not None
            )
        return found

    def rules(self, nsg: str, direction: Direction, subnet: str) -> RuleList[SecurityRule]:
        """The rules of an NSG in one direction, as they apply in ``subnet``."""
        context = self.context(subnet)
        identity = (nsg, direction, context.key)
        found = self._rules.get(identity)
        if found is None:
            group = self.network.nsgs[nsg]
            label = f"network security group '{group.name}'"
            found = self._rules[identity] = compile_rules(label, group.ordered(direction), context.scope)
        return found

    def admin_rules(self, subnet: str, direction: Direction) -> RuleList[SecurityAdminRule] | None:
        """The security admin rules for the virtual network of ``subnet``; None where there are none."""
        vnet = self.network.subnets[subnet].vnet
        if vnet not in self.network.admin_rules:
            return None
        context = self.context(subnet)
        identity = (context.key, direction)
        if identity not in self._admin:
            rules = [rule for rule in self.network.admin_rules[vnet] if rule.direction is direction]
            self._admin[identity] = (
                compile_rules("the security admin rules", rules, context.scope) if rules else None
            )
        return self._admin[identity]

    def holder(self, vnet: str, address: IPAddress) -> NetworkInterface | None:
        """The NIC that has a private address in a virtual network."""
        return self._holders.get((vnet, address))

    @cached_property
    def _holders(self) -> dict[tuple[str, IPAddress], NetworkInterface]:
        return {
            (self.vnet_of(nic), configuration.address): nic
            for nic in self.network.nics.values()
            for configuration in nic.ip_configurations
        }

    @cached_property
    def configurations(self) -> dict[str, tuple[NetworkInterface, IpConfiguration]]:
        """IP configurations by key."""
        return {
            key(configuration.id): (nic, configuration)
            for nic in self.network.nics.values()
            for configuration in nic.ip_configurations
        }

    @cached_property
    def public_holders(self) -> dict[IPAddress, tuple[tuple[NetworkInterface, IpConfiguration], ...]]:
        """The IP configurations that have a public address of their own, by that address."""
        found: dict[IPAddress, tuple[tuple[NetworkInterface, IpConfiguration], ...]] = {}
        for nic, configuration in self.configurations.values():
            public = self.network.public_ips.get(configuration.public_ip or "")
            if public is not None and public.address is not None:
                found[public.address] = (*found.get(public.address, ()), (nic, configuration))
        return found

    @cached_property
    def _peerings(self) -> dict[tuple[str, str], VirtualNetworkPeering]:
        return {
            (name, peering.remote_vnet): peering
            for name, vnet in self.network.vnets.items()
            for peering in vnet.peerings
        }

    def peering(self, vnet: str, remote: str) -> VirtualNetworkPeering | None:
        """The peering that ``vnet`` has with ``remote``, whatever its state."""
        return self._peerings.get((vnet, remote))

    @cached_property
    def publications(self) -> Publications:
        """What is reached by an address that no NIC has itself."""
        from harness.policy.inbound import Publications

        return Publications(self)

    def within_reach(self, vnet: str) -> tuple[str, ...]:
        """The virtual network itself and its connected peers."""
        peers = (
            p.remote_vnet for p in self.network.vnets[vnet].peerings if p.state is PeeringState.CONNECTED
        )
        return (vnet, *peers)

    def appliances(self, vnet: str, route: EffectiveRoute) -> tuple[NetworkInterface, ...]:
        """The NICs that a route to a virtual appliance leads to; () where one of its next hops is nobody's.

        Several where it has several next hops, or where an internal load balancer has the address. A next
        hop must be reached directly: in the virtual network itself, or in the space of a connected peer
        as last synchronised.
        """
        if route.next_hop_type is not NextHopType.VIRTUAL_APPLIANCE:
            return ()
        found: dict[str, NetworkInterface] = {}
        for address in (route.next_hop_ip, *route.other_next_hops):
            behind = self._behind(vnet, address) if address is not None else ()
            if not behind:
                return ()
            found |= {key(nic.id): nic for nic in behind}
        return tuple(found[name] for name in sorted(found))

    def appliance(self, vnet: str, route: EffectiveRoute, choice: int = 0) -> NetworkInterface | None:
        """One of them. Packets are spread over all, so a flow passes only if it passes by every choice."""
        found = self.appliances(vnet, route)
        return found[choice % len(found)] if found else None

    def _behind(self, vnet: str, address: IPAddress) -> tuple[NetworkInterface, ...]:
        owner = self.network.vnets[vnet]
        places = [vnet] if contains(owner.address_space, address) else []
        places += [
            peering.remote_vnet
            for peering in owner.peerings
            if peering.state is PeeringState.CONNECTED and contains(peering.remote_address_space, address)
        ]
        if not places:
            return ()
        receiver = self.holder(places[0], address)
        if receiver is not None:
            return (receiver,)
        return tuple(arrival.nic for arrival in self.publications.appliances(places[0], address))

    def gateway_subnet(self, gateway: VirtualNetworkGateway) -> str | None:
        """The subnet (key) whose route table steers what comes in by a gateway; None if it is not there."""
        subnets = self.network.vnets[gateway.vnet].subnets
        return next((n for n in subnets if self.network.subnets[n].name.lower() == "gatewaysubnet"), None)


_KEPT = 2
_recent: list[Compiled] = []


def compiled(
    network: Network, options: Options = DOCUMENTED, service_tags: ServiceTags | None = None
) -> Compiled:
    """The :class:`Compiled` of a network; the last ones asked for are kept."""
    for place, found in enumerate(_recent):
        if found.network is network and found.options == options and found.service_tags is service_tags:
            if place:
                _recent.insert(0, _recent.pop(place))
            return found
    made = Compiled(network, options, service_tags)
    _recent.insert(0, made)
    del _recent[_KEPT:]
    return made
