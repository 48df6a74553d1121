"""One network and what several checks ask of it, each computed once.

Where every network security group applies and what its rules' words stand for there, which NICs are in
which subnet. What Azure makes of the network (routes, tags, ways in and out, who is behind a next hop)
is the policy engine's to say: ``view``. Says nothing about what is wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_network

from harness.lint.matches import Matches, Rule, Vocabulary, matches_of
from harness.lint.standing import Standing, standings
from harness.model import Protocol
from harness.network.addresses import NOWHERE, AddressSet
from harness.network.model import (
    Direction,
    IPAddress,
    IpConfiguration,
    NetworkInterface,
    NetworkSecurityGroup,
    NextHopType,
    RouteSource,
    RouteTable,
    SecurityAdminRule,
    SecurityRule,
    Subnet,
    key,
)
from harness.network.rules import INTERNET
from harness.policy.compiled import Compiled, ContextKey
from harness.policy.decision import EffectiveRoute
from harness.policy.outbound import NoOutbound, Outbound, outbound_of
from harness.policy.routing import effective_routes
from harness.policy.tags import INTERNET_SPACE, PLATFORM_TAGS, TagScope


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


_ANYWHERE = ip_network("0.0.0.0/0")


class Survey:
    """Keys are keys of ARM ids. The network, the options and the tags do not change."""

    def __init__(self, view: Compiled) -> None:
        self.view, self.network = view, view.network
        self._inbound: dict[tuple[str, ContextKey], tuple[Matches[SecurityRule], ...]] = {}
        self._admin: dict[ContextKey, tuple[Matches[SecurityAdminRule], ...]] = {}
        self._routes: dict[ContextKey, tuple[EffectiveRoute, ...]] = {}
        self._direct: dict[str, tuple[EffectiveRoute, ...]] = {}
        self._ways_out: dict[str, tuple[Outbound | NoOutbound, ...]] = {}

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
        identity = (nsg, self.view.context(key(subnet.id)).key)
        if identity not in self._inbound:
            rules = tuple(self.network.nsgs[nsg].ordered(Direction.INBOUND))
            vocabulary = self.vocabulary(rules, [Place(subnet)])
            self._inbound[identity] = tuple(matches_of(rule, vocabulary) for rule in rules)
        return self._inbound[identity]

    def admin_rules_at(self, subnet: Subnet) -> tuple[Matches[SecurityAdminRule], ...]:
        """The inbound security admin rules for the virtual network of ``subnet``."""
        identity = self.view.context(key(subnet.id)).key
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

    def table_of(self, subnet: Subnet) -> RouteTable | None:
        return self.network.route_tables[subnet.route_table] if subnet.route_table else None

    def routes(self, subnet: Subnet) -> tuple[EffectiveRoute, ...]:
        """The routes that packets of the NICs in ``subnet`` can take."""
        context = self.view.context(key(subnet.id))
        if context.key not in self._routes:
            self._routes[context.key] = tuple(context.routes.active())
        return self._routes[context.key]

    def direct_routes(self, subnet: Subnet) -> tuple[EffectiveRoute, ...]:
        """The system routes into its virtual network and its peers, those that others override too."""
        if subnet.vnet not in self._direct:
            self._direct[subnet.vnet] = tuple(
                route
                for route in effective_routes(self.network, subnet, self.view.service_tags)
                if route.source is RouteSource.DEFAULT
                and route.next_hop_type in (NextHopType.VNET_LOCAL, NextHopType.VNET_PEERING)
            )
        return self._direct[subnet.vnet]

    def appliances(self, vnet: str, address: IPAddress) -> tuple[NetworkInterface, ...]:
        """Who takes what a route of a virtual network sends to one next hop; () where nobody does."""
        hop = EffectiveRoute(_ANYWHERE, NextHopType.VIRTUAL_APPLIANCE, address, RouteSource.USER)
        return self.view.appliances(vnet, hop)

    def ways_out(self, nic: NetworkInterface) -> tuple[Outbound | NoOutbound, ...]:
        """By what TCP and UDP packets with each of a NIC's IPv4 addresses leave to the Internet."""
        name = key(nic.id)
        if name not in self._ways_out:
            self._ways_out[name] = tuple(
                outbound_of(self.view, nic, configuration, protocol)
                for configuration in nic.ip_configurations
                if configuration.address.version == 4
                for protocol in (Protocol.TCP, Protocol.UDP)
            )
        return self._ways_out[name]

    def vocabulary(self, rules: Iterable[Rule], places: Iterable[Place]) -> Vocabulary:
        """What the words of ``rules`` stand for at ``places``, or anywhere if there are none."""
        selectors = [side for rule in rules for side in (rule.source, rule.destination)]
        subnets = [place.subnet for place in places]
        scopes = list({id(scope): scope for scope in map(self._scope, subnets)}.values())
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

    def _scope(self, subnet: Subnet) -> TagScope:
        """What service tags stand for in ``subnet``."""
        return self.view.context(key(subnet.id)).scope

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
        service_tags = self.view.service_tags
        return service_tags.addresses(tag) if service_tags is not None else None

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
        """The NICs that receive a frontend's own address."""
        balancers = self.view.publications.balancers
        return frozenset(
            key(member.nic.id)
            for balancer in self.network.load_balancers.values()
            for rule in balancer.rules
            if rule.floating_ip
            for member in balancers.members_of_all(rule.pools)
        )
