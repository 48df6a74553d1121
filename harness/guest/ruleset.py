"""A guest's packet filter as data, and what it does to one packet.

The readers (:mod:`harness.guest.nftables`, :mod:`harness.guest.iptables`) make a
:class:`Ruleset`; :func:`judge` walks it as netfilter does: base chains of a hook in the
order of their priorities, a drop ends everything, an accept ends its own base chain only.
A condition that cannot be decided from the rules alone (a rate limit, an unknown match)
is neither true nor false; rules that depend on one are returned as ``doubts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from harness.network.model import IPAddress, IPNetwork

MAX_JUMPS = 64


class Hook(StrEnum):
    """Netfilter hooks that a packet to, from or through the guest passes."""

    INGRESS = "ingress"
    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"
    EGRESS = "egress"


INBOUND_HOOKS = (Hook.INGRESS, Hook.PREROUTING, Hook.INPUT)
FORWARD_HOOKS = (Hook.INGRESS, Hook.PREROUTING, Hook.FORWARD, Hook.POSTROUTING, Hook.EGRESS)
OUTBOUND_HOOKS = (Hook.OUTPUT, Hook.POSTROUTING, Hook.EGRESS)


class Side(StrEnum):
    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class GuestPacket:
    """One packet as the guest's filter sees it; ``state`` is conntrack's word for its flow."""

    protocol: str
    source: IPAddress
    destination: IPAddress
    source_port: int | None = None
    destination_port: int | None = None
    in_interface: str | None = None
    out_interface: str | None = None
    state: str = "new"
    tcp_flags: frozenset[str] = frozenset()
    icmp_type: int | None = None

    def address(self, side: Side) -> IPAddress:
        return self.source if side is Side.SOURCE else self.destination

    def port(self, side: Side) -> int | None:
        return self.source_port if side is Side.SOURCE else self.destination_port


@dataclass(frozen=True, slots=True)
class FamilyIs:
    version: int

    def holds(self, packet: GuestPacket) -> bool | None:
        return packet.source.version == self.version


@dataclass(frozen=True, slots=True)
class ProtocolIn:
    protocols: frozenset[str]

    def holds(self, packet: GuestPacket) -> bool | None:
        return packet.protocol in self.protocols


@dataclass(frozen=True, slots=True)
class AddressIn:
    side: Side
    networks: tuple[IPNetwork, ...] = ()
    ranges: tuple[tuple[IPAddress, IPAddress], ...] = ()

    def holds(self, packet: GuestPacket) -> bool | None:
        address = packet.address(self.side)
        return any(address.version == net.version and address in net for net in self.networks) or any(
            first.version == address.version and int(first) <= int(address) <= int(last)
            for first, last in self.ranges
        )


@dataclass(frozen=True, slots=True)
class PortIn:
    side: Side
    ranges: tuple[tuple[int, int], ...]

    def holds(self, packet: GuestPacket) -> bool | None:
        port = packet.port(self.side)
        if port is None:
            return False
        return any(first <= port <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class IcmpTypeIn:
    types: frozenset[int]

    def holds(self, packet: GuestPacket) -> bool | None:
        return packet.icmp_type in self.types


@dataclass(frozen=True, slots=True)
class InterfaceIn:
    """Interface names; ``*`` at the end (iptables writes ``+``) matches any ending."""

    inbound: bool
    patterns: tuple[str, ...]

    def holds(self, packet: GuestPacket) -> bool | None:
        name = packet.in_interface if self.inbound else packet.out_interface
        if name is None:
            return None
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class StateIn:
    states: frozenset[str]

    def holds(self, packet: GuestPacket) -> bool | None:
        return packet.state in self.states


@dataclass(frozen=True, slots=True)
class FlagsAre:
    """TCP flags: of ``mask`` exactly ``value`` are set."""

    mask: frozenset[str]
    value: frozenset[str]

    def holds(self, packet: GuestPacket) -> bool | None:
        if packet.protocol != "tcp":
            return False
        return packet.tcp_flags & self.mask == self.value


@dataclass(frozen=True, slots=True)
class Unknown:
    """A match that these readers do not decide, by its text."""

    text: str

    def holds(self, packet: GuestPacket) -> bool | None:  # noqa: ARG002 - one signature for all conditions
        return None


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition

    def holds(self, packet: GuestPacket) -> bool | None:
        held = self.condition.holds(packet)
        return None if held is None else not held


Condition = (
    FamilyIs | ProtocolIn | AddressIn | PortIn | IcmpTypeIn | InterfaceIn | StateIn | FlagsAre | Unknown | Not
)


class Action(StrEnum):
    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    NONE = "none"
    """Counts, logs, marks: the walk goes on."""
    UNKNOWN = "unknown"
    """Queues to a program, or does something that these readers do not know."""


@dataclass(frozen=True, slots=True)
class Rule:
    """``text`` is the rule as its own tool writes it; ``reject_with`` e.g. ``tcp reset``."""

    text: str
    conditions: tuple[Condition, ...]
    action: Action
    target: str | None = None
    reject_with: str | None = None
    packets: int | None = None

    @property
    def excepts_sources(self) -> bool:
        """Whether the rule is for every source but some (``ip saddr != {...} drop``)."""
        return any(isinstance(c, Not) and _is_source(c.condition) for c in self.conditions)

    def misses_by_source(self, packet: GuestPacket) -> bool:
        """Whether the packet's source address is the only reason why the rule does not hold."""
        missed = [condition for condition in self.conditions if condition.holds(packet) is False]
        return bool(missed) and all(_is_source(condition) for condition in missed)

    def holds(self, packet: GuestPacket) -> bool | None:
        held: bool | None = True
        for condition in self.conditions:
            this = condition.holds(packet)
            if this is False:
                return False
            if this is None:
                held = None
        return held


def _is_source(condition: Condition) -> bool:
    return isinstance(condition, AddressIn) and condition.side is Side.SOURCE


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; one with a ``hook`` is a base chain. ``origin`` names the tool that reads it back."""

    family: str
    table: str
    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None
    priority: int = 0
    policy: Action = Action.ACCEPT
    devices: tuple[str, ...] = ()
    origin: str = "nft"

    @property
    def label(self) -> str:
        return f"{self.family} {self.table} {self.name}"

    def concerns(self, packet: GuestPacket) -> bool:
        """Whether packets of this family (and device) pass the chain at all."""
        if self.devices and not {packet.in_interface, packet.out_interface} & set(self.devices):
            return False
        return self.family in ("inet", "netdev") or self.family == (
            "ip" if packet.source.version == 4 else "ip6"
        )


@dataclass(frozen=True, slots=True)
class Ruleset:
    chains: tuple[Chain, ...] = ()

    def base_chains(self, hook: Hook) -> list[Chain]:
        return sorted(
            (chain for chain in self.chains if chain.hook is hook), key=lambda chain: chain.priority
        )


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the filter does to a packet: the action and the chain and rule (None: the policy) that decided.

    ``doubts`` are rules whose match could not be decided and that would have ruled otherwise;
    ``almost`` are rules before it that accept this packet, if only it came from another source.
    """

    action: Action
    chain: Chain | None = None
    rule: Rule | None = None
    doubts: tuple[Rule, ...] = ()
    almost: tuple[Rule, ...] = ()

    @property
    def is_allow_list(self) -> bool:
        """Whether it blocks because the source is not on a list: of accepts, or of exceptions to a drop."""
        return self.blocks and (bool(self.almost) or (self.rule is not None and self.rule.excepts_sources))

    @property
    def blocks(self) -> bool:
        return self.action in (Action.DROP, Action.REJECT)

    def describe(self) -> str:
        """The deciding rule with its chain, as one line."""
        if self.chain is None:
            return "no chain decides"
        what = self.rule.text if self.rule is not None else f"policy {self.chain.policy}"
        return f"{self.chain.label}: {what}"


@dataclass(slots=True)
class _Walk:
    packet: GuestPacket
    chains: Mapping[tuple[str, str, str, str], Chain]
    doubts: list[Rule] = field(default_factory=list)
    almost: list[Rule] = field(default_factory=list)


def judge(ruleset: Ruleset, packet: GuestPacket, hooks: tuple[Hook, ...]) -> Ruling:
    """What ``ruleset`` does to ``packet`` at ``hooks``, in the order given."""
    walk = _Walk(packet, {(c.origin, c.family, c.table, c.name): c for c in ruleset.chains})
    for hook in hooks:
        for base in ruleset.base_chains(hook):
            if not base.concerns(packet):
                continue
            decided = _walk(walk, base, 0)
            action, chain, rule = decided if decided is not None else (base.policy, base, None)
            if action in (Action.DROP, Action.REJECT):
                return Ruling(action, chain, rule, tuple(walk.doubts), tuple(walk.almost))
    return Ruling(Action.ACCEPT, doubts=tuple(d for d in walk.doubts if d.action is not Action.ACCEPT))


def _walk(walk: _Walk, chain: Chain, depth: int) -> tuple[Action, Chain, Rule | None] | None:
    """The verdict of one chain, or None if it returns without one."""
    if depth > MAX_JUMPS:
        return None
    for rule in chain.rules:
        held = rule.holds(walk.packet)
        if held is False and rule.action is Action.ACCEPT and rule.misses_by_source(walk.packet):
            walk.almost.append(rule)
        if held is False or rule.action is Action.NONE:
            continue
        if held is None or rule.action is Action.UNKNOWN:
            if rule.action not in (Action.JUMP, Action.GOTO, Action.RETURN):
                walk.doubts.append(rule)
            elif rule.target is not None:
                # whether this jump is taken is unknown: what stands behind it is in doubt, not decided
                walk.doubts.extend(_possible_blocks(walk, chain, rule, depth))
            continue
        if rule.action is Action.RETURN:
            return None
        if rule.action in (Action.JUMP, Action.GOTO):
            inner = walk.chains.get((chain.origin, chain.family, chain.table, rule.target or ""))
            decided = _walk(walk, inner, depth + 1) if inner is not None else None
            if decided is not None or rule.action is Action.GOTO:
                return decided
            continue
        return rule.action, chain, rule
    return None


def _possible_blocks(walk: _Walk, chain: Chain, jump: Rule, depth: int) -> list[Rule]:
    inner = walk.chains.get((chain.origin, chain.family, chain.table, jump.target or ""))
    if inner is None:
        return []
    trial = _Walk(walk.packet, walk.chains)
    decided = _walk(trial, inner, depth + 1)
    blocking = decided is not None and decided[0] in (Action.DROP, Action.REJECT)
    return trial.doubts + (
        [decided[2]] if blocking and decided is not None and decided[2] is not None else []
    )
