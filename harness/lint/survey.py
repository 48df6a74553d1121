"""One network and what several checks ask of it, each computed once.

Where every network security group applies and what its rules' words stand for there, who answers
at an address, which NICs are in which subnet. Says nothing about what is wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network

from harness.lint.matches import Matches, Rule, Vocabulary, matches_of
from harness.lint.standing import Standing, standings
from harness.network.addresses import NOWHERE, AddressSet
from harness.network.balancing import FrontendIPConfiguration, LoadBalancer
from harness.network.model import (
    Direction,
    IPAddress,
    IpConfiguration,
    Network,
    NetworkInterface,
    NetworkSecurityGroup,
    PeeringState,
    RouteTable,
    SecurityAdminRule,
    SecurityRule,
    Subnet,
    VirtualNetwork,
    key,
)
from harness.network.rules import INTERNET
from harness.network.service_tags import ServiceTags
from harness.policy.compiled import ContextKey
from harness.policy.decision import EffectiveRoute
from harness.policy.gateways import gateway_prefixes
from harness.policy.routing import effective_routes
from harness.policy.tags import INTERNET_SPACE, PLATFORM_TAGS, TagScope, tag_scope


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network security group applies: at a subnet (``nic`` None) or at one NIC in it."""

    subnet: Subnet
    nic: NetworkInterface | None = None


@dataclass(frozen=True, slots=True)
class RuleList:
    """The custom rules of one group and direction, in order; no packet matches those of ``unmatched``."""

    group: NetworkSecurityGroup
    direction: Direction
    vocabulary: Vocabulary
    rules: tuple[Matches[SecurityRule], ...]
    unmatched: tuple[SecurityRule, ...]


@dataclass(frozen=True, slots=True)
class Answering:
    """Who has a next hop's address: a NIC, or a load balancer's frontend with the NICs behind it."""

    nics: tuple[NetworkInterface, ...]
    balancer: LoadBalancer | None = None


class Survey:
    """Keys are keys of ARM ids. The network and the tags do not change."""

    def __init__(self, network: Network, service_tags: ServiceTags | None = None) -> None:
        self.network, self.service_tags = network, service_tags
        self._scopes: dict[tuple[str, str | None], TagScope] = {}
        self._inbound: dict[tuple[str, str, str | None], tuple[Matches[SecurityRule], ...]] = {}
        self._admin: dict[tuple[str, str | None], tuple[Matches[SecurityAdminRule], ...]] = {}
        self._routes: dict[ContextKey, tuple[EffectiveRoute, ...]] = {}

    @cached_property
    def nics_of(self) -> Mapping[str, tuple[NetworkInterface, ...]]:
        """NICs by subnet."""
        found: dict[str, list[NetworkInterface]] = defaultdict(list)
        for nic in self.network.nics.values():
            found[nic.subnet].append(nic)
        return {subnet: tuple(nics) for subnet, nics in found.items()}

    @cached_property
    def places(self) -> Mapping[str, tuple[Place, ...]]:
        """Where each network security group applies; one that applies nowhere is absent."""
        found: dict[str, list[Place]] = defaultdict(list)
        for subnet in self.network.subnets.values():
            if subnet.nsg is not None:
                found[subnet.nsg].append(Place(subnet))
        for nic in self.network.nics.values():
            if nic.nsg is not None:
                found[nic.nsg].append(Place(self.network.subnets[nic.subnet], nic))
        return {nsg: tuple(places) for nsg, places in found.items()}

    @cached_property
    def rule_lists(self) -> tuple[RuleList, ...]:
        found = []
        for name, group in self.network.nsgs.items():
            custom = [rule for rule in group.rules if not rule.default]
            vocabulary = self.vocabulary(custom, self.places.get(name, ()))
            for direction in Direction:
                every = [matches_of(rule, vocabulary) for rule in custom if rule.direction is direction]
                rules = tuple(item for item in every if item)
                unmatched = tuple(item.rule for item in every if not item)
                found.append(RuleList(group, direction, vocabulary, rules, unmatched))
        return tuple(found)

    def rules_at(self, nsg: str, subnet: Subnet) -> tuple[Matches[SecurityRule], ...]:
        """All inbound rules of a group, default ones included, as they apply in ``subnet``."""
        identity = (nsg, subnet.vnet, subnet.route_table)
        if identity not in self._inbound:
            rules = tuple(self.network.nsgs[nsg].ordered(Direction.INBOUND))
            vocabulary = self.vocabulary(rules, [Place(subnet)])
            self._inbound[identity] = tuple(matches_of(rule, vocabulary) for rule in rules)
        return self._inbound[identity]

    def admin_rules_at(self, subnet: Subnet) -> tuple[Matches[SecurityAdminRule], ...]:
        """The inbound security admin rules for the virtual network of ``subnet``."""
        identity = (subnet.vnet, subnet.route_table)
        if identity not in self._admin:
            rules = [
                r for r in self.network.admin_rules.get(subnet.vnet, ()) if r.direction is Direction.INBOUND
            ]
            vocabulary = self.vocabulary(rules, [Place(subnet)])
            self._admin[identity] = tuple(matches_of(rule, vocabulary) for rule in rules)
        return self._admin[identity]

    @cached_property
    def standings(self) -> tuple[tuple[RuleList, tuple[Standing, ...]], ...]:
        """How every custom rule stands to those before it."""
        return tuple((rules, tuple(standings(rules.rules))) for rules in self.rule_lists)

    @cached_property
    def tables(self) -> Mapping[str, tuple[Subnet, ...]]:
        """The subnets of each route table; a table of none is absent."""
        found: dict[str, list[Subnet]] = defaultdict(list)
        for subnet in self.network.subnets.values():
            if subnet.route_table is not None:
                found[subnet.route_table].append(subnet)
        return {table: tuple(subnets) for table, subnets in found.items()}

    @cached_property
    def members(self) -> Mapping[str, tuple[tuple[NetworkInterface, IpConfiguration], ...]]:
        """Who is in each application security group; one without members is absent."""
        found: dict[str, list[tuple[NetworkInterface, IpConfiguration]]] = defaultdict(list)
        for nic in self.network.nics.values():
            for configuration in nic.ip_configurations:
                for asg in configuration.asgs:
                    found[asg].append((nic, configuration))
        return {asg: tuple(members) for asg, members in found.items()}

    @cached_property
    def configurations(self) -> Mapping[str, tuple[NetworkInterface, IpConfiguration]]:
        return {
            key(configuration.id): (nic, configuration)
            for nic in self.network.nics.values()
            for configuration in nic.ip_configurations
        }

    def vnet_of(self, place: NetworkInterface | Subnet) -> VirtualNetwork:
        subnet = self.network.subnets[place.subnet] if isinstance(place, NetworkInterface) else place
        return self.network.vnets[subnet.vnet]

    def table_of(self, subnet: Subnet) -> RouteTable | None:
        return self.network.route_tables[subnet.route_table] if subnet.route_table else None

    def routes(self, subnet: Subnet) -> tuple[EffectiveRoute, ...]:
        """The effective routes of the NICs in ``subnet``."""
        identity = (subnet.vnet, subnet.route_table, subnet.service_endpoints)
        if identity not in self._routes:
            self._routes[identity] = effective_routes(self.network, subnet, self.service_tags)
        return self._routes[identity]

    def scope(self, subnet: Subnet) -> TagScope:
        """What service tags stand for in ``subnet``."""
        identity = (subnet.vnet, subnet.route_table)
        if identity not in self._scopes:
            on_premises = gateway_prefixes(self.network, subnet.vnet)
            self._scopes[identity] = tag_scope(self.network, subnet, on_premises, self.service_tags)
        return self._scopes[identity]

    def vocabulary(self, rules: Iterable[Rule], places: Iterable[Place]) -> Vocabulary:
        """What the words of ``rules`` stand for at ``places``, or anywhere if there are none."""
        selectors = [side for rule in rules for side in (rule.source, rule.destination)]
        subnets = [place.subnet for place in places]
        scopes = list({id(scope): scope for scope in map(self.scope, subnets)}.values())
        versions = {prefix.version for subnet in subnets for prefix in subnet.prefixes}
        return Vocabulary(
            families=tuple(sorted(versions)) if subnets else (4, 6),
            tags={tag: self._meaning(tag, scopes) for side in selectors for tag in side.tags},
            asgs={
                asg: self._asg_spaces[asg]
                for side in selectors
                for asg in side.asgs
                if asg in self._asg_spaces
            },
        )

    def _meaning(self, tag: str, scopes: list[TagScope]) -> AddressSet | None:
        """The addresses of a tag where they are known and the same in every scope."""
        if not scopes:
            return self._meaning_anywhere(tag)
        first = scopes[0].addresses(tag)
        return first if all(scope.addresses(tag) == first for scope in scopes[1:]) else None

    def _meaning_anywhere(self, tag: str) -> AddressSet | None:
        if tag == INTERNET:
            return INTERNET_SPACE
        if tag.lower() in PLATFORM_TAGS:
            return PLATFORM_TAGS[tag.lower()]
        return self.service_tags.addresses(tag) if self.service_tags is not None else None

    @cached_property
    def _asg_spaces(self) -> Mapping[str, AddressSet]:
        """Where members of an ASG can have addresses: in their virtual network, whose space may change."""
        return {
            asg: AddressSet.of(
                prefix
                for vnet in {self.network.subnets[nic.subnet].vnet for nic, _ in members}
                for prefix in self.network.vnets[vnet].address_space
            )
            for asg, members in self.members.items()
        }

    def within_reach(self, vnet: str) -> tuple[str, ...]:
        """The virtual network itself and its connected peers, whether the snapshot holds them or not."""
        peers = (
            p.remote_vnet for p in self.network.vnets[vnet].peerings if p.state is PeeringState.CONNECTED
        )
        return (vnet, *peers)

    def answering(self, vnet: str, address: IPAddress) -> Answering | None:
        """Who has a private address in a virtual network; None where nobody of the snapshot has."""
        for nic, configuration in self.network.holders.get(address, ()):
            if self.network.subnets[configuration.subnet].vnet == vnet:
                return Answering((nic,))
        for balancer, frontend in self._frontends.get(address, ()):
            if self.network.subnets[frontend.subnet or ""].vnet == vnet:
                return Answering(self.backends(balancer, key(frontend.id)), balancer)
        return None

    @cached_property
    def _frontends(self) -> Mapping[IPAddress, list[tuple[LoadBalancer, FrontendIPConfiguration]]]:
        """Internal frontends by address."""
        found: dict[IPAddress, list[tuple[LoadBalancer, FrontendIPConfiguration]]] = defaultdict(list)
        for balancer in self.network.load_balancers.values():
            for frontend in balancer.frontends:
                if frontend.address is not None and frontend.subnet in self.network.subnets:
                    found[frontend.address].append((balancer, frontend))
        return found

    def backends(self, balancer: LoadBalancer, frontend: str) -> tuple[NetworkInterface, ...]:
        """The NICs to which the rules of one frontend (key) lead."""
        pools = {pool for rule in balancer.rules if rule.frontend == frontend for pool in rule.pools}
        return tuple({key(nic.id): nic for pool in pools for nic, _ in self.pool(balancer, pool)}.values())

    def pool(self, balancer: LoadBalancer, name: str) -> tuple[tuple[NetworkInterface, IpConfiguration], ...]:
        """The IP configurations in a backend pool (key), those that are members by address included."""
        pool = next((pool for pool in balancer.pools if key(pool.id) == name), None)
        if pool is None:
            return ()
        found = [self.configurations[member] for member in pool.members if member in self.configurations]
        for address, vnet in pool.addresses:
            found += [
                (nic, configuration)
                for nic, configuration in self.network.holders.get(address, ())
                if vnet is None or self.network.subnets[nic.subnet].vnet == vnet
            ]
        return tuple(found)

    def nics_at(self, nsg: str) -> frozenset[str]:
        """The NICs (keys) whose packets a network security group judges."""
        return frozenset(
            key(nic.id)
            for place in self.places.get(nsg, ())
            for nic in ((place.nic,) if place.nic else self.nics_of.get(key(place.subnet.id), ()))
        )

    def local_addresses(self, nsg: str) -> AddressSet | None:
        """Which addresses the near end of a packet can have where the group applies.

        None where it can be any: a NIC that forwards sees other machines' packets, a backend of a
        rule with floating IP sees the frontend's address.
        """
        found = NOWHERE
        for place in self.places.get(nsg, ()):
            nics = (place.nic,) if place.nic is not None else self.nics_of.get(key(place.subnet.id), ())
            if any(nic.ip_forwarding or key(nic.id) in self._floating for nic in nics):
                return None
            if place.nic is None:
                found |= AddressSet.of(place.subnet.prefixes)
            else:
                addresses = (item.address for item in place.nic.ip_configurations)
                found |= AddressSet.of(ip_network(address) for address in addresses)
        return found

    @cached_property
    def _floating(self) -> frozenset[str]:
        return frozenset(
            key(nic.id)
            for balancer in self.network.load_balancers.values()
            for rule in balancer.rules
            if rule.floating_ip
            for pool in rule.pools
            for nic, _ in self.pool(balancer, pool)
        )
