"""Load balancers: frontends, backend pools, rules, probes, and who is behind them.

A pool's members are declared by the pool, by the IP configuration, or by both. A global-tier load
balancer has other load balancers behind it, which the model does not know: it stays unmodelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

from harness.network.arm import kinds
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Reader, children, parent_in, properties, store
from harness.network.arm.places import Places
from harness.network.armids import parent
from harness.network.balancing import (
    BackendAddressPool,
    FrontendIPConfiguration,
    InboundNatRule,
    LoadBalancer,
    LoadBalancingRule,
    OutboundRule,
    Probe,
    PublicIPAddress,
    PublicIPPrefix,
)
from harness.network.claims import Claim, missing
from harness.network.fields import Fields
from harness.network.words import IPAddress, PortRange, RuleProtocol, key

_OLDEST_SKU = "Basic"
_LAST_PORT = 65535


class _Transport(StrEnum):
    """What is balanced. QUIC is UDP; which of its packets belong together is not asked here."""

    TCP = "Tcp"
    UDP = "Udp"
    ALL = "All"
    QUIC = "Quic"


_PROTOCOLS = {
    _Transport.TCP: RuleProtocol.TCP,
    _Transport.UDP: RuleProtocol.UDP,
    _Transport.ALL: RuleProtocol.ANY,
    _Transport.QUIC: RuleProtocol.UDP,
}


class _Part(Protocol):
    @property
    def id(self) -> str: ...


AnyPart = TypeVar("AnyPart", bound=_Part)


class _Reference(NamedTuple):
    """A property that names a part of a kind, which has to be there."""

    fields: Fields
    name: str
    kind: str
    arm_id: str
    known: Container[str]


class _AddressMember(NamedTuple):
    """A member of a pool by address alone; ``vnet`` is an id."""

    pool: str
    address: IPAddress
    vnet: str | None
    fields: Fields


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What load balancers refer to, by key."""

    configurations: Container[str]
    public_ips: Mapping[str, PublicIPAddress]
    prefixes: Mapping[str, PublicIPPrefix]
    vnets: Container[str]
    places: Places


class LoadBalancers:
    def __init__(self, links: Associations) -> None:
        self._balancers: dict[str, LoadBalancer] = {}
        """Without their parts, which may stand elsewhere."""
        self._frontends: dict[str, FrontendIPConfiguration] = {}
        self._frontend_bodies: dict[str, Fields] = {}
        self._pools: dict[str, BackendAddressPool] = {}
        self._address_members: list[_AddressMember] = []
        self._rules: dict[str, LoadBalancingRule] = {}
        self._nat_rules: dict[str, InboundNatRule] = {}
        self._outbound_rules: dict[str, OutboundRule] = {}
        self._probes: dict[str, Probe] = {}
        self._references: list[_Reference] = []
        self._links = links
        self._children: tuple[tuple[str, str, Reader], ...] = (
            ("frontendIPConfigurations", kinds.FRONTEND, self._frontend),
            ("backendAddressPools", kinds.BACKEND_POOL, self._pool),
            ("loadBalancingRules", kinds.LOAD_BALANCING_RULE, self._rule),
            ("inboundNatRules", kinds.INBOUND_NAT_RULE, self._nat_rule),
            ("outboundRules", kinds.OUTBOUND_RULE, self._outbound_rule),
            ("probes", kinds.PROBE, self._probe),
        )
        self.readers: Mapping[str, Reader] = {
            kinds.LOAD_BALANCER: self._balancer,
            **{kind: read for _, kind, read in self._children},
        }

    # -- together -----------------------------------------------------------------------------

    def settle(self, around: Surroundings, origin: str) -> dict[str, LoadBalancer]:
        """Every load balancer with its parts; whatever a part names has to be there."""
        for fields, name, kind, arm_id, known in self._references:
            if key(arm_id) not in known:
                raise missing(fields, name, kind, arm_id)
        frontends = self._by_balancer(self._settled_frontends(around), origin)
        pools = self._by_balancer(self._settled_pools(around), origin)
        rules = self._by_balancer(self._rules.values(), origin)
        nat_rules = self._by_balancer(self._settled_nat_rules(around), origin)
        outbound_rules = self._by_balancer(self._outbound_rules.values(), origin)
        probes = self._by_balancer(self._probes.values(), origin)
        return {
            name: replace(
                balancer,
                frontends=tuple(frontends[name]),
                pools=tuple(pools[name]),
                rules=tuple(rules[name]),
                nat_rules=tuple(nat_rules[name]),
                outbound_rules=tuple(outbound_rules[name]),
                probes=tuple(probes[name]),
            )
            for name, balancer in self._balancers.items()
        }

    def _by_balancer(self, parts: Iterable[AnyPart], origin: str) -> dict[str, list[AnyPart]]:
        found: dict[str, list[AnyPart]] = defaultdict(list)
        for part in parts:
            if key(parent(part.id)) not in self._links.unmodelled:
                found[parent_in(self._balancers, part.id, "load balancer", origin)].append(part)
        return found

    def _settled_frontends(self, around: Surroundings) -> Iterable[FrontendIPConfiguration]:
        def captured(claim: Claim) -> bool:
            return key(claim.owner) in self._frontends

        public_ips = self._links.frontend_public_ips.where(captured).settle(
            values=around.public_ips, one_owner=True
        )
        prefixes = self._links.frontend_prefixes.where(captured).settle(values=around.prefixes)
        for name, draft in self._frontends.items():
            body = self._frontend_bodies[name]
            public_ip, prefix = public_ips.get(name), prefixes.get(name)
            if draft.subnet is not None:
                if draft.subnet not in around.places.subnets:
                    raise missing(body, "subnet", "subnet", body.reference("subnet") or "")
                if draft.address is not None:
                    around.places.take(draft.id, draft.address, draft.subnet, body)
            elif public_ip is None and prefix is None:
                body.fail("publicIPAddress", "is missing, and so are publicIPPrefix and subnet")
            yield replace(draft, public_ip=public_ip, public_ip_prefix=prefix)

    def _settled_pools(self, around: Surroundings) -> Iterable[BackendAddressPool]:
        members: dict[str, dict[str, None]] = defaultdict(dict)
        for pool, configuration, fields, name in self._links.pool_members:
            if key(pool) not in self._pools:
                raise missing(fields, name, "backend address pool", pool)
            # instances of scale sets and what else was not captured: nothing here would refer to them
            if key(configuration) in around.configurations:
                members[key(pool)][key(configuration)] = None
        addresses: dict[str, dict[tuple[IPAddress, str | None], None]] = defaultdict(dict)
        for pool, address, vnet, fields in self._address_members:
            if vnet is not None and key(vnet) not in around.vnets:
                raise missing(fields, "virtualNetwork", "virtual network", vnet)
            addresses[key(pool)][address, key(vnet) if vnet else None] = None
        for name, draft in self._pools.items():
            yield replace(draft, members=tuple(members[name]), addresses=tuple(addresses[name]))

    def _settled_nat_rules(self, around: Surroundings) -> Iterable[InboundNatRule]:
        def single(claim: Claim) -> bool:
            rule = self._nat_rules.get(key(claim.owner))
            # a rule over a pool has many targets, its pool's members
            return (rule is None or rule.pool is None) and key(claim.value) in around.configurations

        targets = self._links.nat_rule_targets.where(single).settle(owners=self._nat_rules)
        for name, draft in self._nat_rules.items():
            yield replace(draft, target=targets.get(name))

    # -- one at a time --------------------------------------------------------------------------

    def _balancer(self, fields: Fields, arm_id: str, name: str) -> None:
        sku = fields.nested("sku")
        if (sku.optional_text("tier") or "").lower() == "global":
            self._links.unmodelled[key(arm_id)] = ("Microsoft.Network/loadBalancers", arm_id)
            return
        self._balancers[key(arm_id)] = LoadBalancer(arm_id, name, sku.optional_text("name") or _OLDEST_SKU)
        body = properties(fields)
        for listed, kind, read in self._children:
            children(body, listed, arm_id, kind, read)

    def _frontend(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        subnet = body.reference("subnet")
        draft = FrontendIPConfiguration(
            arm_id,
            name,
            # a public frontend has no private address, whatever an older API wrote there
            address=body.optional_address("privateIPAddress") if subnet else None,
            subnet=key(subnet) if subnet else None,
        )
        store(self._frontends, arm_id, draft, fields)
        self._frontend_bodies[key(arm_id)] = body
        if (public_ip := body.reference("publicIPAddress")) is not None:
            self._links.frontend_public_ips.add(arm_id, public_ip, body, "publicIPAddress")
        if (prefix := body.reference("publicIPPrefix")) is not None:
            self._links.frontend_prefixes.add(arm_id, prefix, body, "publicIPPrefix")

    def _pool(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        store(self._pools, arm_id, BackendAddressPool(arm_id, name), fields)
        for configuration in body.references("backendIPConfigurations"):
            self._links.pool_members.append((arm_id, configuration, body, "backendIPConfigurations"))
        for item in body.objects("loadBalancerBackendAddresses"):
            member = item.nested("properties")
            configuration_id = member.reference("networkInterfaceIPConfiguration")
            if configuration_id is not None:
                self._links.pool_members.append(
                    (arm_id, configuration_id, member, "networkInterfaceIPConfiguration")
                )
            elif (address := member.optional_address("ipAddress")) is not None:
                subnet = member.reference("subnet")
                vnet = member.reference("virtualNetwork") or (parent(subnet) if subnet else None)
                vnet = vnet or body.reference("virtualNetwork")
                self._address_members.append(_AddressMember(arm_id, address, vnet, member))

    def _rule(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        pools = list(self._named_all(body, "backendAddressPools", self._pools, "backend address pool"))
        single = self._named(body, "backendAddressPool", self._pools, "backend address pool")
        if single is not None and single not in pools:
            pools.insert(0, single)
        frontend_port = body.integer("frontendPort", 0, _LAST_PORT)
        rule = LoadBalancingRule(
            arm_id,
            name,
            frontend=self._frontend_of(body),
            pools=tuple(pools),
            protocol=_PROTOCOLS[body.word("protocol", _Transport)],
            frontend_port=frontend_port,
            backend_port=_or(body.optional_integer("backendPort", 0, _LAST_PORT), frontend_port),
            floating_ip=body.flag("enableFloatingIP", default=False),
            disable_outbound_snat=body.flag("disableOutboundSnat", default=False),
            probe=self._named(body, "probe", self._probes, "probe"),
        )
        store(self._rules, arm_id, rule, fields)

    def _nat_rule(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        first = body.optional_integer("frontendPortRangeStart", 0, _LAST_PORT)
        if first:
            last = body.integer("frontendPortRangeEnd", first, _LAST_PORT)
        else:
            first = last = body.integer("frontendPort", 0, _LAST_PORT)
        rule = InboundNatRule(
            arm_id,
            name,
            frontend=self._frontend_of(body),
            protocol=_PROTOCOLS[body.word("protocol", _Transport)],
            frontend_ports=PortRange(first, last),
            backend_port=_or(body.optional_integer("backendPort", 0, _LAST_PORT), first),
            pool=self._named(body, "backendAddressPool", self._pools, "backend address pool"),
        )
        store(self._nat_rules, arm_id, rule, fields)
        if (target := body.reference("backendIPConfiguration")) is not None:
            self._links.nat_rule_targets.add(arm_id, target, body, "backendIPConfiguration")

    def _outbound_rule(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        frontends = "frontendIPConfigurations"
        pool = self._named(body, "backendAddressPool", self._pools, "backend address pool")
        if pool is None:
            body.fail("backendAddressPool", "is missing")
        rule = OutboundRule(
            arm_id,
            name,
            frontends=self._named_all(body, frontends, self._frontends, "frontend IP configuration"),
            pool=pool,
            protocol=_PROTOCOLS[body.word("protocol", _Transport)],
            allocated_ports=body.optional_integer("allocatedOutboundPorts", 0, 64_000) or 0,
            idle_timeout=body.optional_integer("idleTimeoutInMinutes", 4, 120) or 4,
            tcp_reset=body.flag("enableTcpReset", default=False),
        )
        if not rule.frontends:
            body.fail(frontends, "is missing or empty")
        store(self._outbound_rules, arm_id, rule, fields)

    def _probe(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        probe = Probe(arm_id, name, body.text("protocol"), body.integer("port", 1, _LAST_PORT))
        store(self._probes, arm_id, probe, fields)

    def _frontend_of(self, body: Fields) -> str:
        frontend = self._named(body, "frontendIPConfiguration", self._frontends, "frontend IP configuration")
        if frontend is None:
            body.fail("frontendIPConfiguration", "is missing")
        return frontend

    def _named(self, body: Fields, name: str, known: Container[str], kind: str) -> str | None:
        """The key of the part that a property names; whether it exists is asked when all are read."""
        arm_id = body.reference(name)
        if arm_id is None:
            return None
        self._references.append(_Reference(body, name, kind, arm_id, known))
        return key(arm_id)

    def _named_all(self, body: Fields, name: str, known: Container[str], kind: str) -> tuple[str, ...]:
        ids = body.references(name)
        self._references += [_Reference(body, name, kind, arm_id, known) for arm_id in ids]
        return tuple(dict.fromkeys(map(key, ids)))


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
