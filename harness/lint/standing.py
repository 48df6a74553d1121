"""How each rule of a list stands to those before it: what it decides, who takes its packets.

Exact: the union of all earlier rules is subtracted from a rule as boxes. Which of the answers is
worth a finding is :mod:`harness.lint.rules`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.lint.boxes import Box, Pile, contains, intersection, left_over, overlap, uncovered
from harness.lint.matches import AnyRule, Matches, everything, example
from harness.network.model import SecurityRule
from harness.policy.packet import Packet


@dataclass(frozen=True, slots=True)
class Standing:
    """One rule among those before it.

    ``witness`` is a part of what it decides, None where it decides nothing: then ``takers`` are
    the rules that decide its packets instead (none where no packet matches it in the first place).
    """

    rule: SecurityRule
    family: int
    witness: Box | None
    takers: tuple[SecurityRule, ...] = ()

    @property
    def packet(self) -> Packet | None:
        """A packet that the rule decides."""
        return example(self.witness, self.family) if self.witness is not None else None


@dataclass(frozen=True, slots=True)
class Crossing:
    """Two rules of opposite access, each with packets of its own and ``contested`` ones in common.

    Their order decides those; neither is an exception to the other.
    """

    earlier: SecurityRule
    later: SecurityRule
    family: int
    contested: Box


def standings(rules: Sequence[Matches[SecurityRule]]) -> Iterator[Standing]:
    """For each of ``rules``, in the order in which they are asked."""
    earlier: dict[int, Pile[None]] = {4: Pile(), 6: Pile()}
    for number, rule in enumerate(rules):
        family, witness = 0, None
        for version, boxes in rule.boxes.items():
            for box in boxes:
                if witness is None:
                    touching = [other for other, _ in earlier[version].touching(box)]
                    family, witness = version, uncovered(box, touching)
        takers = () if witness is not None else _takers(rule, rules[:number])
        yield Standing(rule.rule, family, witness, takers)
        for version, boxes in rule.boxes.items():
            for box in boxes:
                earlier[version].add(box, None)


def _takers(rule: Matches[SecurityRule], before: Sequence[Matches[SecurityRule]]) -> tuple[SecurityRule, ...]:
    """The rules of ``before`` that decide packets of ``rule``."""
    found: dict[str, SecurityRule] = {}
    for version, boxes in rule.boxes.items():
        for box in boxes:
            found |= {taker.id: taker for taker, _ in taken(before, version, [box])}
    return tuple(sorted(found.values(), key=lambda taker: taker.priority))


def taken(
    rules: Sequence[Matches[AnyRule]], family: int, boxes: Sequence[Box]
) -> Iterator[tuple[AnyRule, Box]]:
    """Who decides what of disjoint ``boxes``: the rules are asked in order, the first match decides."""
    left = [*boxes]
    for rule in rules:
        for mine in rule.boxes[family]:
            touched = [box for box in left if overlap(box, mine)]
            for box in touched:
                yield rule.rule, intersection(box, mine)
            if touched:
                left = left_over(left, mine)


def crossings(rules: Sequence[Matches[SecurityRule]]) -> Iterator[Crossing]:
    """Every pair of ``rules`` that cross, unless earlier rules decide all that they have in common."""
    piles: dict[int, Pile[int]] = {4: Pile(), 6: Pile()}
    for number, later in enumerate(rules):
        met: dict[int, list[_Meeting]] = {}
        for version, boxes in later.boxes.items():
            for box in boxes:
                touching = piles[version].touching(box)
                for other, place in touching:
                    if rules[place].rule.access is not later.rule.access:
                        met.setdefault(place, []).append(_Meeting(version, box, other, touching))
        for place, meetings in sorted(met.items()):
            earlier = rules[place]
            if not (_within(earlier, later) or _within(later, earlier)):
                for meeting in meetings:
                    contested = meeting.undecided(place)
                    if contested is not None:
                        yield Crossing(earlier.rule, later.rule, meeting.family, contested)
                        break
        for version, boxes in later.boxes.items():
            for box in boxes:
                piles[version].add(box, number)


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Two boxes that overlap, and all that touch the later one, with their rules' places."""

    family: int
    later: Box
    earlier: Box
    touching: list[tuple[Box, int]]

    def undecided(self, place: int) -> Box | None:
        """Packets of both that no rule before ``place`` matches."""
        before = [box for box, owner in self.touching if owner < place]
        return uncovered(intersection(self.later, self.earlier), before)


def _within(small: Matches[SecurityRule], big: Matches[SecurityRule]) -> bool:
    return all(
        uncovered(box, big.boxes[version]) is None for version, boxes in small.boxes.items() for box in boxes
    )


def is_everything(rule: Matches[SecurityRule]) -> bool:
    """Whether every packet that there can be matches the rule."""
    return all(
        any(contains(box, everything(version)) for box in boxes) for version, boxes in rule.boxes.items()
    )
