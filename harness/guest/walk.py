"""What a guest's packet filter does to one packet.

Walks the rules as netfilter does: base chains of a hook in the order of their priorities, a
drop ends everything, an accept ends its own base chain only. Where a rule cannot be decided,
both ways are followed: the ruling is certain only if they lead to the same end. Not for
reading rules (``nftables.py``, ``iptables.py``) nor for what packets prove.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from harness.guest.ruleset import Action, AddressIn, Chain, GuestPacket, Hook, Rule, Ruleset, Side

MAX_JUMPS = 64

_BLOCKS = (Action.DROP, Action.REJECT)
_PLATFORM = (ip_address("168.63.129.16"), ip_address("169.254.169.254"))
"""Azure's own addresses: allowing them says nothing of whom else the port is for."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the filter does to a packet: the action, and the chain and rule (None: the policy) that decided.

    Where it is not ``certain``, action, chain and rule are those of the way on which no
    undecided rule holds, and ``doubts`` are the undecided rules and those that may block.
    ``almost`` are rules that accept this packet, if only it came from another source.
    ``translated``: its destination may be changed on the way, so that it meets other rules.
    """

    action: Action
    chain: Chain | None = None
    rule: Rule | None = None
    certain: bool = True
    doubts: tuple[Rule, ...] = ()
    almost: tuple[Rule, ...] = ()
    translated: bool = False

    @property
    def blocks(self) -> bool:
        """Whether it blocks on every way."""
        return self.certain and self.action in _BLOCKS

    @property
    def passes(self) -> bool:
        """Whether it lets through on every way."""
        return self.certain and self.action not in _BLOCKS

    @property
    def is_allow_list(self) -> bool:
        """Whether it blocks because the source is not on a list: of accepts, or of exceptions to a drop."""
        if self.action not in _BLOCKS:
            return False
        if self.rule is not None and self.rule.excepts_sources:
            return True
        of_this_port = any(rule.names_port for rule in self.almost)
        blocks_the_rest = self.rule is None or not self.rule.names_port
        return of_this_port or (blocks_the_rest and any(not _for_platform(rule) for rule in self.almost))

    def describe(self) -> str:
        """The deciding rule with its chain, as one line."""
        if self.chain is None:
            return "no chain decides"
        what = self.rule.text if self.rule is not None else f"policy {self.chain.policy}"
        return f"{self.chain.label}: {what}"


def _for_platform(rule: Rule) -> bool:
    sources = [c for c in rule.conditions if isinstance(c, AddressIn) and c.side is Side.SOURCE]
    return bool(sources) and all(
        net.is_loopback
        or any(net.version == own.version and net.num_addresses == 1 and own in net for own in _PLATFORM)
        for condition in sources
        for net in condition.networks
    )


@dataclass(frozen=True, slots=True)
class _Ending:
    """One way in which a chain may end; action NONE: it returns. ``likely``: no undecided rule held."""

    action: Action
    chain: Chain
    rule: Rule | None = None
    likely: bool = True


@dataclass(slots=True)
class _Walk:
    packet: GuestPacket
    chains: dict[tuple[str, str, str, str], Chain]
    undecided: list[Rule] = field(default_factory=list)
    almost: list[Rule] = field(default_factory=list)
    walked: dict[int, tuple[_Ending, ...]] = field(default_factory=dict)

    def endings(self, chain: Chain, depth: int = 0) -> tuple[_Ending, ...]:
        """Every way in which ``chain`` may end; a chain is walked once, however often it is jumped to."""
        if depth > MAX_JUMPS:
            return (_Ending(Action.NONE, chain),)
        if id(chain) not in self.walked:
            # netfilter refuses chains that jump in a circle; so that hostile input ends too
            self.walked[id(chain)] = (_Ending(Action.NONE, chain),)
            self.walked[id(chain)] = tuple(self._walk(chain, depth))
        return self.walked[id(chain)]

    def _walk(self, chain: Chain, depth: int) -> Iterator[_Ending]:
        likely = True  # whether the way on which no undecided rule holds comes as far as this rule
        for rule in chain.rules:
            held = rule.holds(self.packet)
            if held is False or rule.action is Action.NONE:
                if rule.action is Action.ACCEPT and rule.misses_by_source(self.packet):
                    self.almost.append(rule)
                continue
            decided = held is True and rule.action is not Action.UNKNOWN
            if not decided:
                self.undecided.append(rule)
            if rule.action in (Action.JUMP, Action.GOTO):
                inner = self._inner(chain, rule, depth)
                for ending in inner:
                    if ending.action is not Action.NONE or rule.action is Action.GOTO:
                        yield replace(ending, likely=ending.likely and likely and decided)
                returns = [ending for ending in inner if ending.action is Action.NONE]
                if decided and (rule.action is Action.GOTO or not returns):
                    return
                if decided:
                    likely = likely and any(ending.likely for ending in returns)
                continue
            action = Action.NONE if rule.action is Action.RETURN else rule.action
            yield _Ending(action, chain, rule, likely=likely and decided)
            if decided:
                return
        yield _Ending(Action.NONE, chain, likely=likely)

    def _inner(self, chain: Chain, rule: Rule, depth: int) -> tuple[_Ending, ...]:
        inner = self.chains.get((chain.origin, chain.family, chain.table, rule.target or ""))
        return self.endings(inner, depth + 1) if inner is not None else (_Ending(Action.NONE, chain),)


def judge(ruleset: Ruleset, packet: GuestPacket, hooks: tuple[Hook, ...]) -> Ruling:
    """What ``ruleset`` does to ``packet`` at ``hooks``, in the order given."""
    walk = _Walk(packet, {(c.origin, c.family, c.table, c.name): c for c in ruleset.chains})
    possible: list[_Ending] = []
    translated = False
    for hook in hooks:
        for base in ruleset.base_chains(hook):
            concerned = base.concerns(packet)
            if concerned is False:
                continue
            endings = [_with_policy(ending, base) for ending in walk.endings(base)]
            if hook is Hook.NAT_PREROUTING:
                translated = translated or any(ending.action is Action.UNKNOWN for ending in endings)
                continue
            blocks = [ending for ending in endings if ending.action in _BLOCKS]
            if blocks and len(blocks) == len(endings) and concerned and not translated:
                end = _likely(blocks) or blocks[0]
                return Ruling(end.action, end.chain, end.rule, almost=tuple(walk.almost))
            possible += blocks
    if not possible and not translated:
        return Ruling(Action.ACCEPT)
    doubts = dict.fromkeys(
        (*walk.undecided, *(ending.rule for ending in possible if ending.rule is not None))
    )
    almost = tuple(walk.almost)
    if (expected := _likely(possible)) is None:
        return Ruling(
            Action.ACCEPT, certain=False, doubts=tuple(doubts), almost=almost, translated=translated
        )
    return Ruling(expected.action, expected.chain, expected.rule, False, tuple(doubts), almost, translated)


def _with_policy(ending: _Ending, base: Chain) -> _Ending:
    """A base chain that returns ends with its policy."""
    return (
        replace(ending, action=base.policy, chain=base, rule=None) if ending.action is Action.NONE else ending
    )


def _likely(endings: list[_Ending]) -> _Ending | None:
    return next((ending for ending in endings if ending.likely), None)
