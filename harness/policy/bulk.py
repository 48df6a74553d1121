"""One list of security rules against millions of packets: which rule decides each of them.

For replaying recorded flows (NSG flow logs) against rules, where the addresses are any and not those
of a network's endpoints. IPv4, and between machines in no application security group: an address does
not tell its groups, so rules by group match nothing here. Whole networks are
:mod:`harness.policy.reachability`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InputError
from harness.model import Protocol
from harness.network.addresses import LAST
from harness.network.model import Access, Direction, NetworkSecurityGroup
from harness.policy.portset import ALL_PORTS
from harness.policy.security import CompiledRule, Side, compile_rules
from harness.policy.tags import TagScope
from harness.text import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.network.model import SecurityRule

_WORD = 64
NO_RULE = -1
"""The place of the rule where none matches (an NSG without its default rules)."""


class GroupTable:
    """An NSG's rules in one direction, prepared: for every dimension of a packet, which rules match there.

    Between two edges of rules all addresses (or ports) match the same rules, kept as bits, 64 rules
    a word; the rule that decides is the lowest bit that all dimensions have.
    """

    def __init__(self, group: NetworkSecurityGroup, direction: Direction, scope: TagScope) -> None:
        """Raises InputError where a rule names a service tag that ``scope`` does not define."""
        listed = compile_rules(f"network security group '{group.name}'", group.ordered(direction), scope)
        self.rules: tuple[SecurityRule, ...] = tuple(compiled.rule for compiled in listed.rules)
        for compiled in listed.rules:
            for tag in (*compiled.source.unknown, *compiled.destination.unknown):
                raise InputError(
                    f"rule '{plain(compiled.rule.name)}' of {plain(listed.label)} names the service tag"
                    f" '{plain(tag)}', whose addresses are not known",
                    hint="give Microsoft's service tags file (--service-tags FILE) that defines it",
                )
        self._words = max(1, -(-len(listed.rules) // _WORD))
        self._allows = np.array([rule.access is Access.ALLOW for rule in self.rules] + [False])
        self._source = self._dimension([_addresses(c.source) for c in listed.rules])
        self._destination = self._dimension([_addresses(c.destination) for c in listed.rules])
        self._source_port = self._dimension([_ports(c.source_ports) for c in listed.rules])
        self._destination_port = self._dimension([_ports(c.destination_ports) for c in listed.rules])
        self._portless = self._bits(
            place
            for place, c in enumerate(listed.rules)
            if c.protocol is not None or (c.source_ports is None and c.destination_ports is None)
        )
        self._protocols = np.stack(
            [self._bits(_for_protocol(listed.rules, protocol)) for protocol in Protocol], axis=1
        )

    def decide(
        self,
        sources: NDArray[np.uint32],
        source_ports: NDArray[np.int32],
        destinations: NDArray[np.uint32],
        destination_ports: NDArray[np.int32],
        protocols: NDArray[np.uint8],
    ) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Whether each packet is allowed, and the place in :attr:`rules` of the rule that decides it.

        ``protocols`` are positions in :class:`~harness.model.Protocol`; where that has no ports, the
        packet's are not looked at.
        """
        places = [
            np.searchsorted(edges, values, side="right") - 1
            for (edges, _), values in (
                (self._source, sources),
                (self._destination, destinations),
                (self._source_port, source_ports),
                (self._destination_port, destination_ports),
            )
        ]
        tables = [self._source[1], self._destination[1], self._source_port[1], self._destination_port[1]]
        with_ports = np.array([protocol.has_ports for protocol in Protocol])[protocols]
        rule = np.full(len(sources), NO_RULE, dtype=np.int32)
        for word in range(self._words):
            ports = tables[2][word][places[2]] & tables[3][word][places[3]]
            ports = np.where(with_ports, ports, self._portless[word])
            matching = tables[0][word][places[0]] & tables[1][word][places[1]] & ports
            matching &= self._protocols[word][protocols]
            found = (rule == NO_RULE) & (matching != 0)
            lowest = matching[found] & (~matching[found] + np.uint64(1))
            rule[found] = np.bitwise_count(lowest - np.uint64(1)).astype(np.int32) + word * _WORD
        return self._allows[rule], rule

    def _dimension(
        self, ranges: Sequence[Sequence[tuple[int, int]]]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """The edges of one dimension, and [word, place between edges]: the rules that match there."""
        edges = sorted({0, *(edge for own in ranges for first, last in own for edge in (first, last + 1))})
        starts = np.array(edges, dtype=np.int64)
        table = np.zeros((self._words, len(edges)), dtype=np.uint64)
        for place, own in enumerate(ranges):
            bit = np.uint64(1 << place % _WORD)
            for first, last in own:
                begin, end = np.searchsorted(starts, (first, last + 1))
                table[place // _WORD, begin:end] |= bit
        return starts, table

    def _bits(self, places: Iterable[int]) -> NDArray[np.uint64]:
        words = [0] * self._words
        for place in places:
            words[place // _WORD] |= 1 << place % _WORD
        return np.array(words, dtype=np.uint64)


def _addresses(side: Side) -> Sequence[tuple[int, int]]:
    return ((0, LAST[4]),) if side.any else side.addresses.v4


def _ports(ranges: tuple[tuple[int, int], ...] | None) -> Sequence[tuple[int, int]]:
    return ALL_PORTS if ranges is None else ranges


def _for_protocol(rules: Sequence[CompiledRule[SecurityRule]], protocol: Protocol) -> Iterable[int]:
    return (place for place, rule in enumerate(rules) if rule.protocol in (None, protocol))
