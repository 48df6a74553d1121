"""A FabricPlan as an nftables program.

Pure text. What depends on the network has names made of what it stands for, so that two
programs of similar networks are similar: chains of routes and NSGs are named after their
context, sets of addresses and ports after their content (they are never changed, only
replaced, since nft's interval sets do not like being edited). Not for how one program becomes another
(``program_steps``), nor for the fixed chains (``ruleset``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from harness.network.model import Access, Direction, PortRange, RuleProtocol, short_name
from lab import peering_notes
from lab.flatten import AddressRange
from lab.plan_model import (
    AddressSet,
    ChainKey,
    Context,
    DropReason,
    FabricPlan,
    PlannedRule,
    RouteAction,
    Routes,
    RouteTarget,
    VNetPlan,
)
from lab.ruleset import (
    ADDRESS_TYPE,
    HEADER,
    HEADER_TYPE,
    LEVELS,
    OWN_TYPE,
    PROTOCOLS,
    Container,
    ContainerKind,
    drop,
    drop_chain,
    ethernet_header,
    fixed_chains,
    fixed_containers,
    foreign_source,
    level_map,
    own_address,
)

FIRST_IFINDEX = 1000
"""Port id + this = the interface index of the port's link, so that rules outlive a link."""


@dataclass(frozen=True, slots=True)
class Program:
    """Chains with their rules, sets and maps with their elements, and the links that feed them.

    ``rule_ids`` gives for the short tag in a rule's comment the id that counters have.
    """

    chains: Mapping[str, tuple[str, ...]]
    containers: Mapping[str, Container]
    links: frozenset[str]
    rule_ids: Mapping[str, str]


def build_program(plan: FabricPlan, attached: Collection[int] | None = None) -> Program:
    """The program of ``plan``; packets are taken from the ports in ``attached`` (default: all)."""
    compiler = _Compiler(plan)
    compiler.compile()
    return Program(
        chains=compiler.chains,
        containers=compiler.containers,
        links=frozenset(port.link for port in plan.every_port if attached is None or port.id in attached),
        rule_ids=compiler.rule_ids,
    )


def digest(*parts: object) -> str:
    """A short name for what ``parts`` say."""
    return hashlib.blake2s("\0".join(map(str, parts)).encode(), digest_size=6).hexdigest()


def _label(arm_id: str) -> str:
    """A name of an object that is unique, and still readable in a listing."""
    readable = re.sub(r"[^A-Za-z0-9]", "_", short_name(arm_id))[:20]
    return f"{readable}_{digest(arm_id)}"


def _text(item: AddressRange, family: int) -> str:
    # ip_address() would take a small number for IPv4
    first, last = (
        str(ip_address(number.to_bytes(4 if family == 4 else 16, "big")))
        for number in (item.first, item.last)
    )
    return first if first == last else f"{first}-{last}"


class _Compiler:
    """Collects chains and containers while it walks through a plan."""

    def __init__(self, plan: FabricPlan) -> None:
        self.plan = plan
        self._has_closed_peerings = plan.has_closed_peerings
        self.chains = fixed_chains(closed_peerings=self._has_closed_peerings)
        self.containers = fixed_containers()
        self.rule_ids: dict[str, str] = {}

    def compile(self) -> None:
        self._ports()
        for vnet in self.plan.vnets.values():
            for family in (4, 6):
                self._vnet(vnet, family)
        for context, routes in self.plan.routes.items():
            for family in (4, 6):
                self._routes(context, routes.by_family[family], family)
        for chain, rules in self.plan.chains.items():
            for family in (4, 6):
                self._security(chain, rules, family)

    def _ports(self) -> None:
        ports = self.plan.every_port
        index = {port.id: str(FIRST_IFINDEX + port.id) for port in ports}
        self._map("port", "type iface_index : mark", {index[port.id]: str(port.id) for port in ports})
        self._map("link", "type mark : iface_index", {str(port.id): index[port.id] for port in ports})
        self._map("header", HEADER_TYPE, {str(port.id): ethernet_header(port.mac) for port in ports})
        self._set("ip_forwarding", "type mark", (str(port.id) for port in ports if port.ip_forwarding))
        for family in ADDRESS_TYPE:
            self._set(
                f"own{family}",
                OWN_TYPE[family],
                (
                    f"{port.id} . {own_address(port.mac, address)}"
                    for port in ports
                    for address in port.of_family(family)
                ),
            )
            self._map(
                f"routes{family}",
                "type mark : verdict",
                {
                    **{
                        str(number): f"goto {_route_chain(binding.context, family)}"
                        for number, binding in self.plan.bindings.items()
                    },
                    **{
                        str(number): f"goto {_vnet_chain(vnet, family)}"
                        for number, vnet in self.plan.routeless.items()
                    },
                },
            )
            for level in LEVELS:
                for protocol in PROTOCOLS:
                    self._map(
                        level_map(level, family, protocol),
                        "type mark : verdict",
                        dict(self._level(level, family, protocol)),
                    )

    def _level(self, level: str, family: int, protocol: str) -> Iterator[tuple[str, str]]:
        direction = Direction.OUTBOUND if level.endswith("_out") else Direction.INBOUND
        for number, binding in self.plan.bindings.items():
            nsg = binding.nic_nsg if level.startswith("nic") else binding.subnet_nsg
            if nsg is not None:
                chain = ChainKey(nsg, direction, binding.context)
                yield str(number), f"jump {_security_chain(chain, family, protocol)}"

    def _vnet(self, vnet: VNetPlan, family: int) -> None:
        name = _vnet_chain(vnet.key, family)
        addresses = {str(a): str(port) for a, port in vnet.addresses.items() if a.version == family}
        self._map(name, f"type {ADDRESS_TYPE[family]} : mark", addresses)
        self.chains[name] = (
            f"meta mark set {HEADER[family]} daddr map @{name} goto to_{family}",
            drop(DropReason.NO_SUCH_ADDRESS),
        )

    def _routes(self, context: Context, routes: Routes, family: int) -> None:
        elements = {
            _text(item, family): f"goto {self._target(context, target, family)}" for item, target in routes
        }
        rules = [drop(DropReason.NO_ROUTE)]
        if elements:
            name = f"r{family}_{digest(sorted(elements.items()))}"
            self._map(name, f"type {ADDRESS_TYPE[family]} : verdict; flags interval", elements)
            rules.insert(0, f"{HEADER[family]} daddr vmap @{name}")
        self.chains[_route_chain(context, family)] = tuple(rules)

    def _target(self, context: Context, target: RouteTarget, family: int) -> str:
        """The chain that carries out a route; made when it is first asked for."""
        if target.action is RouteAction.DROP:
            assert target.reason is not None
            return drop_chain(target.reason)
        assert target.vnet is not None
        if target.action is RouteAction.EDGE:
            # the edge knows senders by their address, so it must be theirs
            name = f"edge{family}_{target.port}"
            self.chains[name] = (
                f"{foreign_source(family)} {drop(DropReason.UNTRANSLATED)}",
                f"meta mark set {target.port} goto to_{family}",
            )
            return name
        receiver = self.plan.vnets.get(target.vnet)
        if receiver is None:  # peered with, but not part of this network
            return drop_chain(DropReason.NO_SUCH_ADDRESS)
        guard = tuple(peering_notes.crossing(target, drop(DropReason.PEERING_ACCESS_DISABLED)))
        if target.vnet != context.vnet and context.vnet not in receiver.forwarded_from:
            guard = (*self._own_sources(context.vnet, family), *guard)
        suffix = f"_from_{_label(context.vnet)}" if guard else ""
        if target.action is RouteAction.DELIVER:
            plain = _vnet_chain(target.vnet, family)
            if guard:
                self.chains[plain + suffix] = (*guard, f"goto {plain}")
            return plain + suffix
        assert target.port is not None
        name = f"hop{family}_{target.port}{suffix}"
        self.chains[name] = (*guard, *self._hop(target.port, family))
        return name

    def _own_sources(self, vnet: str, family: int) -> tuple[str, ...]:
        """Only packets from the sending VNet's own space pass (``allowForwardedTraffic`` is false)."""
        chain = f"own{family}_{_label(vnet)}"
        space = self.plan.vnets[vnet].space.of_family(family)
        self.chains[chain] = (
            *(f"{HEADER[family]} saddr {_text(item, family)} return" for item in space),
            drop(DropReason.FORWARDED_TRAFFIC_REFUSED),
        )
        return (f"jump {chain}",)

    def _hop(self, number: int, family: int) -> tuple[str, ...]:
        port = self.plan.ports[number]
        arrive = f"meta mark set {number} goto to_{family}"
        if port.ip_forwarding:
            return (arrive,)
        own = (f"{HEADER[family]} daddr {address} {arrive}" for address in port.of_family(family))
        return (*own, drop(DropReason.APPLIANCE_NOT_FORWARDING))

    def _security(self, chain: ChainKey, rules: tuple[PlannedRule, ...], family: int) -> None:
        """One chain per protocol, so that a packet meets only rules that could match it."""
        for protocol in PROTOCOLS:
            self.chains[_security_chain(chain, family, protocol)] = tuple(
                self._rule(rule, match, chain.direction)
                for rule in rules
                if (match := self._match(rule, protocol, family)) is not None
            )

    def _rule(self, rule: PlannedRule, match: str, direction: Direction) -> str:
        tag = digest(rule.id)
        self.rule_ids[tag] = rule.id
        if rule.access is Access.DENY:
            return f'{match}counter drop comment "rule:{tag}"'
        noting = f"{peering_notes.rule_note(rule, direction)} " if self._has_closed_peerings else ""
        return f'{match}counter {noting}return comment "rule:{tag}"'

    def _match(self, rule: PlannedRule, protocol: str, family: int) -> str | None:
        """The conditions of a rule for packets of a protocol; None if it can match none of them."""
        if rule.protocol is not RuleProtocol.ANY and rule.protocol.value.lower() != protocol:
            return None
        ports = self._port_condition("sport", rule.source_ports)
        ports += self._port_condition("dport", rule.destination_ports)
        if protocol == "icmp":
            if ports and rule.protocol is RuleProtocol.ANY:
                return None  # ICMP has no ports; a rule for ICMP itself has to name some, and means any
            ports = ""
        source = self._addresses("saddr", rule.source, family)
        target = self._addresses("daddr", rule.destination, family)
        # ports come first: they tell most packets apart
        return None if source is None or target is None else ports + source + target

    def _addresses(self, field: str, side: AddressSet, family: int) -> str | None:
        if side.any:
            return ""
        ranges = side.of_family(family)
        if not ranges:
            return None
        if len(ranges) == 1:
            whole = AddressRange(0, (1 << (32 if family == 4 else 128)) - 1)
            return "" if ranges[0] == whole else f"{HEADER[family]} {field} {_text(ranges[0], family)} "
        elements = [_text(item, family) for item in ranges]
        name = f"a{family}_{digest(*elements)}"
        self._set(name, f"type {ADDRESS_TYPE[family]}; flags interval", elements)
        return f"{HEADER[family]} {field} @{name} "

    def _port_condition(self, field: str, ranges: tuple[PortRange, ...]) -> str:
        if not ranges:
            return ""
        elements = [
            str(item.first) if item.first == item.last else f"{item.first}-{item.last}" for item in ranges
        ]
        if len(elements) == 1:
            return f"th {field} {elements[0]} "
        name = f"ports_{digest(*elements)}"
        self._set(name, "type inet_service; flags interval", elements)
        return f"th {field} @{name} "

    def _set(self, name: str, declaration: str, elements: Iterable[str]) -> None:
        self.containers[name] = Container(ContainerKind.SET, f"{declaration};", dict.fromkeys(elements, None))

    def _map(self, name: str, declaration: str, elements: Mapping[str, str]) -> None:
        self.containers[name] = Container(ContainerKind.MAP, f"{declaration};", elements)


def _vnet_chain(vnet: str, family: int) -> str:
    return f"vnet{family}_{_label(vnet)}"


def _route_chain(context: Context, family: int) -> str:
    return f"routes{family}_{_context(context)}"


def _context(context: Context) -> str:
    return digest(context.vnet, context.route_table)


def _security_chain(chain: ChainKey, family: int, protocol: str) -> str:
    direction = "out" if chain.direction is Direction.OUTBOUND else "in"
    return f"nsg_{direction}{family}_{_label(chain.nsg)}_{_context(chain.context)}_{protocol}"
