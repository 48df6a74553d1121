"""One list of rules against many addresses at once: the sets of ports that pass, by number.

Along an axis of addresses a prefix is one run, so the rules that hold an address change at a few
places only. Between two such places all have the same *signature*: the rules (as bits) that match on
that side. A pair of signatures is judged once, by one walk down the rules.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.model import Protocol
from harness.network.addresses import AddressSet, complement
from harness.network.model import Access, AdminAccess, Direction, SecurityAdminRule, SecurityRule
from harness.policy.classes import Axis
from harness.policy.portmasks import PortMasks
from harness.policy.security import AnyRuleList, CompiledRule, Side, allows_by_address
from harness.policy.tags import PRIVATE
from harness.text import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AnyRule = SecurityRule | SecurityAdminRule


@dataclass(frozen=True, slots=True)
class Walked:
    """What a list of rules does with every port: masks. ``explicit`` is allowed by a rule that names the
    other end; ``always`` and ``onward`` are admin rules' own: past the NSGs, and on to them."""

    allowed: int
    explicit: int = 0
    denied: int = 0
    always: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """One side of a list of rules: for each class the place of its signature, and the signatures."""

    places: NDArray[np.int32]
    signatures: tuple[int, ...]


class RuleTable:
    """A list of rules between two axes of addresses.

    ``reply``: the packets are answers, so that the service's port is their source port. ``client_port``
    is the other port, the same for all flows.
    """

    def __init__(
        self,
        rules: AnyRuleList,
        direction: Direction,
        sources: Axis,
        destinations: Axis,
        masks: PortMasks,
        client_port: int,
        *,
        reply: bool = False,
    ) -> None:
        self._list, self._masks = rules, masks
        self._rules: list[tuple[int, AnyRule, bool]] = []
        self._undefined: dict[int, str] = {}
        sides: tuple[list[Side], list[Side]] = ([], [])
        for compiled in rules.rules:
            mask = self._mask(compiled, client_port, reply)
            rule = compiled.rule
            explicit = isinstance(rule, SecurityRule) and allows_by_address(rule, direction)
            for source, destination, undefined in _readings(compiled):
                if undefined is not None:
                    self._undefined[len(self._rules)] = undefined
                self._rules.append((mask, rule, explicit))
                sides[0].append(source)
                sides[1].append(destination)
        self.source = self._columns(sides[0], sources)
        self.destination = self._columns(sides[1], destinations)
        self._walked: dict[int, Walked] = {}

    def _mask(self, compiled: CompiledRule[SecurityRule] | CompiledRule[SecurityAdminRule],
              client_port: int, reply: bool) -> int:  # fmt: skip
        service, client = compiled.destination_ports, compiled.source_ports
        if reply:
            service, client = client, service
        mask = 0
        if client is None or any(first <= client_port <= last for first, last in client):
            for protocol in (Protocol.TCP, Protocol.UDP):
                if compiled.protocol in (None, protocol):
                    mask |= self._masks.ports(protocol, service)
        if compiled.protocol is None:
            if service is None and client is None:
                mask |= self._masks.portless
        elif not compiled.protocol.has_ports:
            mask |= self._masks.ports(compiled.protocol, None)
        return mask

    def _columns(self, sides: list[Side], axis: Axis) -> Columns:
        """Signatures by address first: along the ordered addresses every range is one run."""
        import numpy as np

        numbers, family = axis.numbers, axis.family
        toggles: dict[int, int] = {0: 0}
        for place, side in enumerate(sides):
            bit = 1 << place
            ranges = ((0, _LAST),) if side.any else side.addresses.of_family(family)
            for first, last in ranges:
                begin, end = bisect_left(numbers, first), bisect_right(numbers, last)
                if begin < end:
                    toggles[begin] = toggles.get(begin, 0) ^ bit
                    toggles[end] = toggles.get(end, 0) ^ bit
        starts = sorted(start for start in toggles if start < len(numbers))
        signature, runs = 0, []
        for start in starts:
            signature ^= toggles[start]
            runs.append(signature)
        known = {item: number for number, item in enumerate(dict.fromkeys(runs))}
        lengths = np.diff(np.array([*starts, len(numbers)]))
        places = np.repeat(np.array([known[item] for item in runs], dtype=np.int32), lengths)
        if any(side.asgs for side in sides):
            return self._with_memberships(sides, axis, places, tuple(known))
        return Columns(places, tuple(known))

    def _with_memberships(
        self, sides: list[Side], axis: Axis, places: NDArray[np.int32], signatures: tuple[int, ...]
    ) -> Columns:
        """The rules that hold a class by its application security groups, beside those by address."""
        import numpy as np

        memberships = axis.memberships
        extra = [0] * memberships.count
        for place, side in enumerate(sides):
            for asg in side.asgs:
                for number in memberships.holding.get(asg, ()):
                    extra[number] |= 1 << place
        pairs = places.astype(np.int64) * memberships.count + memberships.places
        distinct, inverse = np.unique(pairs, return_inverse=True)
        found = [
            signatures[pair // memberships.count] | extra[pair % memberships.count]
            for pair in distinct.tolist()
        ]
        known = {item: number for number, item in enumerate(dict.fromkeys(found))}
        renumbered = np.array([known[item] for item in found], dtype=np.int32)
        return Columns(renumbered[inverse], tuple(known))

    def _unknown_tag(self, rule: AnyRule, tag: str) -> InputError:
        return InputError(
            f"rule '{plain(rule.name)}' of {plain(self._list.label)} would decide for public addresses, but"
            f" the addresses of the service tag '{plain(tag)}' are not known ({plain(rule.id)})",
            hint="give Microsoft's service tags file (--service-tags FILE) that defines it",
        )

    def walk(self, matching: int) -> Walked:
        """What passes where the rules of ``matching`` (bits) hold both addresses.

        Raises InputError where a rule decides whose service tag nothing defines.
        """
        found = self._walked.get(matching)
        if found is None:
            found = self._walked[matching] = self._walk(matching)
        return found

    def _walk(self, matching: int) -> Walked:
        remaining = self._masks.everything
        allowed = explicit = denied = always = 0
        rules = self._rules
        while matching and remaining:
            low = matching & -matching
            matching ^= low
            place = low.bit_length() - 1
            mask, rule, names_other_end = rules[place]
            mask &= remaining
            if not mask:
                continue
            if place in self._undefined:
                raise self._unknown_tag(rule, self._undefined[place])
            remaining ^= mask
            if rule.access is Access.ALLOW or rule.access is AdminAccess.ALLOW:
                allowed |= mask
                if names_other_end:
                    explicit |= mask
            elif rule.access is AdminAccess.ALWAYS_ALLOW:
                always |= mask
            else:
                denied |= mask
        return Walked(allowed, explicit, denied, always)

    def between(self, source: int, destination: int) -> Walked:
        """For one pair of classes."""
        return self.walk(
            self.source.signatures[self.source.places[source]]
            & self.destination.signatures[self.destination.places[destination]]
        )

    def toward_all(self, source: int, of: Callable[[Walked], int]) -> NDArray[np.int32]:
        """For one source class: the number of the set ``of`` makes, for every destination class."""
        import numpy as np

        mine = self.source.signatures[self.source.places[source]]
        numbers = [self._number(mine & other, of) for other in self.destination.signatures]
        return np.array(numbers, dtype=np.int32)[self.destination.places]

    def from_all(self, destination: int, of: Callable[[Walked], int]) -> NDArray[np.int32]:
        """For one destination class: the number of the set ``of`` makes, for every source class."""
        import numpy as np

        mine = self.destination.signatures[self.destination.places[destination]]
        numbers = [self._number(mine & other, of) for other in self.source.signatures]
        return np.array(numbers, dtype=np.int32)[self.source.places]

    def all_pairs(
        self, sources: NDArray[np.int64], destinations: NDArray[np.int64], of: Callable[[Walked], int]
    ) -> NDArray[np.int32]:
        """Elementwise, for pairs of classes."""
        import numpy as np

        mine, theirs = self.source.signatures, self.destination.signatures
        width = len(theirs)
        flat = self.source.places[sources].astype(np.int64) * width + self.destination.places[destinations]
        distinct, places = np.unique(flat, return_inverse=True)
        numbers = [self._number(mine[i // width] & theirs[i % width], of) for i in distinct.tolist()]
        return np.array(numbers, dtype=np.int32)[places].reshape(flat.shape)

    def _number(self, matching: int, of: Callable[[Walked], int]) -> int:
        return self._masks.number(of(self.walk(matching)))


_LAST = (1 << 128) - 1
_PUBLIC = AddressSet(complement(PRIVATE.v4, 4), complement(PRIVATE.v6, 6))


def _readings(
    compiled: CompiledRule[SecurityRule] | CompiledRule[SecurityAdminRule],
) -> Iterator[tuple[Side, Side, str | None]]:
    """The two sides of a rule; where a tag is undefined, first as far as they are known, then with every
    address that the tag might hold (it holds public ones only), and the tag."""
    sides = (compiled.source, compiled.destination)
    undefined = [tag for side in sides if not side.any for tag in side.unknown]
    yield sides[0], sides[1], None
    if undefined:
        source, destination = (
            replace(side, addresses=side.addresses | _PUBLIC) if side.unknown and not side.any else side
            for side in sides
        )
        yield source, destination, undefined[0]
