"""The load balancers of a network, indexed: frontends with their addresses, pools with their members.

What the ways in (:mod:`harness.policy.inbound`) and out (:mod:`harness.policy.outbound`) both ask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from harness.model import Protocol
from harness.network.balancing import (
    BackendAddressPool,
    FrontendIPConfiguration,
    InboundNatRule,
    LoadBalancer,
    LoadBalancingRule,
    OutboundRule,
)
from harness.network.model import (
    IPAddress,
    IpConfiguration,
    IPNetwork,
    Network,
    NetworkInterface,
    PortRange,
    RuleProtocol,
    key,
)

if TYPE_CHECKING:
    from harness.policy.compiled import Compiled

LISTED = 16
"""Of a prefix at most so many addresses are listed: the size (/28) of what a NAT gateway can have."""


def is_basic(sku: str) -> bool:
    return sku.lower() == "basic"


def balances(rule: RuleProtocol, protocol: Protocol) -> bool:
    """Whether a rule of a load balancer is for a protocol: it knows TCP and UDP, and both together."""
    return protocol.has_ports and (rule is RuleProtocol.ANY or rule.value.lower() == protocol.value)


@dataclass(frozen=True, slots=True)
class PublicSpace:
    """Public addresses of one family, as far as they are known.

    ``addresses`` holds the single ones and the first :data:`LISTED` of each prefix; ``count`` is how
    many there are, None where a prefix is not known. An address that is not known yet counts for
    either family.
    """

    addresses: tuple[IPAddress, ...] = ()
    prefixes: tuple[IPNetwork, ...] = ()
    count: int | None = 0

    @classmethod
    def of(
        cls, network: Network, public_ips: Iterable[str], public_ip_prefixes: Iterable[str], family: int
    ) -> PublicSpace:
        """Of the keys of public IP addresses and prefixes."""
        single = [network.public_ips[name].address for name in public_ips]
        prefixes = [network.public_ip_prefixes[name].prefix for name in public_ip_prefixes]
        listed = [item for item in single if item is not None and item.version == family]
        known = [item for item in prefixes if item is not None and item.version == family]
        for prefix in known:
            listed += islice(prefix, LISTED)
        count = len(single) - sum(item is not None and item.version != family for item in single)
        sizes = sum(prefix.num_addresses for prefix in known)
        return cls(tuple(listed), tuple(known), None if None in prefixes else count + sizes)

    def __or__(self, other: PublicSpace) -> PublicSpace:
        count = None if self.count is None or other.count is None else self.count + other.count
        return PublicSpace(self.addresses + other.addresses, self.prefixes + other.prefixes, count)

    def __bool__(self) -> bool:
        """Whether there is any address, known or not."""
        return self.count != 0


@dataclass(frozen=True, slots=True)
class Member:
    """An IP configuration behind a load balancer; ``by_address``: its pool names it by address alone."""

    nic: NetworkInterface
    configuration: IpConfiguration
    by_address: bool = False


@dataclass(frozen=True, slots=True)
class Frontend:
    """A frontend IP configuration with the inbound rules that stand on it."""

    balancer: LoadBalancer
    configuration: FrontendIPConfiguration
    rules: tuple[LoadBalancingRule, ...]
    nat_rules: tuple[InboundNatRule, ...]

    @property
    def public(self) -> bool:
        return self.configuration.public_ip is not None or self.configuration.public_ip_prefix is not None

    @property
    def label(self) -> str:
        return f"load balancer '{self.balancer.name}', frontend '{self.configuration.name}'"

    def space(self, network: Network, family: int) -> PublicSpace:
        """Its public addresses."""
        single, prefix = self.configuration.public_ip, self.configuration.public_ip_prefix
        return PublicSpace.of(network, (single,) if single else (), (prefix,) if prefix else (), family)

    def published_ports(self) -> Iterator[PortRange]:
        """The frontend ports of its rules; a rule for every port (HA ports) names none."""
        yield from (PortRange(r.frontend_port, r.frontend_port) for r in self.rules if r.frontend_port)
        yield from (rule.frontend_ports for rule in self.nat_rules)


@dataclass
class Memberships:
    """What one IP configuration is behind of."""

    outbound_rules: list[tuple[LoadBalancer, OutboundRule]] = field(default_factory=list)
    rules: list[tuple[LoadBalancer, LoadBalancingRule]] = field(default_factory=list)
    standard: list[LoadBalancer] = field(default_factory=list)
    """Standard load balancers that know it other than by address: they take its default outbound access."""


class Balancers:
    """All of one network's. Keys are keys of ARM ids."""

    def __init__(self, view: Compiled) -> None:
        self._view = view
        self._members: dict[str, tuple[Member, ...]] = {}
        self._unions: dict[tuple[str, ...], tuple[Member, ...]] = {}

    @cached_property
    def frontends(self) -> Mapping[str, Frontend]:
        found: dict[str, Frontend] = {}
        for balancer in self._view.network.load_balancers.values():
            rules: dict[str, list[LoadBalancingRule]] = defaultdict(list)
            nat_rules: dict[str, list[InboundNatRule]] = defaultdict(list)
            for rule in balancer.rules:
                rules[rule.frontend].append(rule)
            for nat_rule in balancer.nat_rules:
                nat_rules[nat_rule.frontend].append(nat_rule)
            for item in balancer.frontends:
                name = key(item.id)
                found[name] = Frontend(balancer, item, tuple(rules[name]), tuple(nat_rules[name]))
        return found

    @cached_property
    def _pools(self) -> Mapping[str, BackendAddressPool]:
        balancers = self._view.network.load_balancers.values()
        return {key(pool.id): pool for balancer in balancers for pool in balancer.pools}

    def members(self, pool: str) -> tuple[Member, ...]:
        """The members of a pool in its order, those by address last."""
        found = self._members.get(pool)
        if found is None:
            found = self._members[pool] = tuple(self._resolved(self._pools[pool]))
        return found

    def members_of_all(self, pools: tuple[str, ...]) -> tuple[Member, ...]:
        """The members of several pools, each once."""
        found = self._unions.get(pools)
        if found is None:
            union = {key(item.configuration.id): item for pool in pools for item in self.members(pool)}
            found = self._unions[pools] = tuple(union.values())
        return found

    def _resolved(self, pool: BackendAddressPool) -> Iterator[Member]:
        for name in pool.members:
            member = self.member(name)
            if member is not None:
                yield member
        for address, vnet in pool.addresses:
            place = self._by_address(address, vnet)
            if place is not None:
                yield Member(*place, by_address=True)

    def member(self, configuration: str) -> Member | None:
        """None where the network does not hold the IP configuration (an instance of a scale set)."""
        place = self._view.configurations.get(configuration)
        return Member(*place) if place is not None else None

    def _by_address(
        self, address: IPAddress, vnet: str | None
    ) -> tuple[NetworkInterface, IpConfiguration] | None:
        """Where the pool does not say in which virtual network, an address that only one has will do."""
        holders = self._view.network.holders.get(address, ())
        if vnet is None:
            return holders[0] if len(holders) == 1 else None
        return next((place for place in holders if self._view.vnet_of(place[0]) == vnet), None)

    @cached_property
    def _memberships(self) -> Mapping[str, Memberships]:
        found: dict[str, Memberships] = defaultdict(Memberships)
        for balancer in self._view.network.load_balancers.values():
            for outbound_rule in balancer.outbound_rules:
                for member in self.members(outbound_rule.pool):
                    mine = found[key(member.configuration.id)]
                    mine.outbound_rules.append((balancer, outbound_rule))
            for rule in balancer.rules:
                for member in self.members_of_all(rule.pools):
                    found[key(member.configuration.id)].rules.append((balancer, rule))
            if not is_basic(balancer.sku):
                for name in self._known_by(balancer):
                    found[name].standard.append(balancer)
        return dict(found)

    def _known_by(self, balancer: LoadBalancer) -> Mapping[str, None]:
        """The IP configurations that a load balancer has in a pool or as the target of a NAT rule."""
        pooled = (m for pool in balancer.pools for m in self.members(key(pool.id)) if not m.by_address)
        names = [key(member.configuration.id) for member in pooled]
        names += [rule.target for rule in balancer.nat_rules if rule.target is not None]
        return dict.fromkeys(names)

    def of(self, configuration: IpConfiguration) -> Memberships:
        """What an IP configuration is behind of."""
        return self._memberships.get(key(configuration.id)) or Memberships()
