"""Two networks side by side: which classes of flows pass in one and not in the other.

Endpoints are the same where their IP configuration has the same id. Exact and without reasons, which
are :mod:`harness.policy.difference`'s business: pairs of ends with the same change are kept as
rectangles, sources times targets, since a small change may be about millions of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.network.addresses import Ranges, merged
from harness.network.model import key
from harness.policy.changematrix import ChangeMatrix
from harness.policy.classes import Endpoint
from harness.policy.compiled import Compiled
from harness.policy.outside import UNKNOWN, Outside, outside
from harness.policy.places import Place, place_of
from harness.policy.portmasks import PortMasks
from harness.policy.portset import PortSet
from harness.policy.reachability import FamilyAnswer, port_boundaries, reachability
from harness.policy.rectangles import End, Ends, Rectangle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Callable[[Endpoint | None, Endpoint | None], Hashable]
"""What was changed about an endpoint, before and after (None: it is not there)."""

Untouched = Callable[[Endpoint | None, Endpoint | None], bool]
"""Whether nothing was changed that may tell what an endpoint exchanges with the internet."""

_BLOCK = 1 << 22
"""Pairs of classes that are compared at once."""


@dataclass(frozen=True, slots=True)
class Region:
    """Pairs with the same change, between ends about which the same was changed."""

    opened: PortSet
    closed: PortSet
    rectangles: tuple[Rectangle, ...]


class Joint:
    """Compares two networks whole; :meth:`regions` once, then read ``unknown``."""

    def __init__(self, before: Compiled, after: Compiled, kind: Kind, untouched: Untouched) -> None:
        self._views, self._kind, self._untouched = (before, after), kind, untouched
        edges = port_boundaries(before) | port_boundaries(after)
        self._reach = (reachability(before, also=edges), reachability(after, also=edges))
        names: dict[str, list[Endpoint | None]] = {}
        self._numbers: dict[str, list[int]] = {}
        for side, reach in enumerate(self._reach):
            for number, end in enumerate(reach.endpoints):
                name = key(end.configuration.id)
                names.setdefault(name, [None, None])[side] = end
                self._numbers.setdefault(name, [-1, -1])[side] = number
        self._ends = names
        self._untold = False
        self.internet: dict[tuple[int, bool], Ranges] = {}
        """All places together, by family and whether they are the clients."""
        self.unknown: tuple[str, ...] = ()
        """Why of some flows to or from the internet nothing is said, each reason once."""

    def regions(self) -> Iterator[Region]:
        """Everything that changes, the internet last."""
        sides = [outside(view, reach) for view, reach in zip(self._views, self._reach, strict=True)]
        for family in (4, 6):
            yield from self._between_endpoints(family)
            answers = [next((answer for answer in found if answer.family == family), None) for found in sides]
            yield from self._with_the_internet(family, answers)
        if self._untold:
            reasons = (why for found in sides for answer in found for why in answer.unknown)
            self.unknown = tuple(dict.fromkeys(reasons))

    def _of_family(self, name: str, family: int) -> tuple[Endpoint | None, Endpoint | None]:
        before, after = (end if end and end.family == family else None for end in self._ends[name])
        return before, after

    def _same(self, end: Endpoint) -> bool:
        """Whether the two networks cannot differ in what ``end`` exchanges with the internet."""
        before, after = self._of_family(key(end.configuration.id), end.family)
        return self._untouched(before, after)

    # -- between endpoints ------------------------------------------------------------------------

    def _between_endpoints(self, family: int) -> Iterator[Region]:
        import numpy as np

        answers = [
            next((answer for answer in reach.answers if answer.classes.family == family), None)
            for reach in self._reach
        ]
        classes = self._joint_classes(family)
        if not classes:
            return
        identities, ends = list(classes), list(classes.values())
        matrix = ChangeMatrix(self._masks(answers), [identity[2] for identity in identities])
        # one more row and column: what is absent passes nothing
        padded = [
            np.zeros((1, 1), dtype=np.int32) if answer is None else np.pad(answer.numbers, ((0, 1), (0, 1)))
            for answer in answers
        ]
        places = [np.array([identity[side] for identity in identities]) for side in (0, 1)]
        step = max(1, _BLOCK // len(identities))
        for begin in range(0, len(identities), step):
            old, new = (
                numbers[place[begin : begin + step, None], place[None, :]]
                for numbers, place in zip(padded, places, strict=True)
            )
            codes = matrix.codes(old, new)
            for row in np.flatnonzero(codes.any(axis=1)).tolist():
                matrix.add(begin + row, identities[begin + row][2], codes[row])
        for opened, closed, parts in matrix.regions():
            rectangles = ((_all(ends, rows), _all(ends, columns)) for rows, columns in parts)
            yield Region(opened, closed, tuple(rectangles))

    def _masks(self, answers: Sequence[FamilyAnswer | Outside | None]) -> tuple[PortMasks, PortMasks]:
        """The masks of both sides; a family that is not there needs none of its own."""
        before, after = (answer.masks if answer is not None else None for answer in answers)
        found = before or after
        assert found is not None  # a family is asked about that one of them has
        return before or found, after or found

    def _joint_classes(self, family: int) -> dict[tuple[int, int, int], list[End]]:
        """By the classes that they are of before and after (-1: absent), and what was changed about them."""
        kinds: dict[Hashable, int] = {}
        found: dict[tuple[int, int, int], list[End]] = {}
        for name, numbers in self._numbers.items():
            ends = self._of_family(name, family)
            classes = [
                reach.class_of[number][1] if end is not None else -1
                for reach, number, end in zip(self._reach, numbers, ends, strict=True)
            ]
            end = ends[1] or ends[0]
            if end is not None:
                kind = kinds.setdefault(self._kind(*ends), len(kinds))
                found.setdefault((classes[0], classes[1], kind), []).append(end)
        return found

    # -- with the internet ------------------------------------------------------------------------

    def _with_the_internet(self, family: int, answers: Sequence[Outside | None]) -> Iterator[Region]:
        shared = _shared_places(answers)
        for inward in (True, False):
            rows = self._rows(family, answers, inward)
            columns = [item for item in shared if inward or not item.own]
            if not rows or not columns:
                continue
            matrix = ChangeMatrix(self._masks(answers), [0] * len(columns))
            groups = list(rows.values())
            places = [[item.numbers[side] for item in columns] for side in (0, 1)]
            for number, (kind, ends, sets) in enumerate(groups):
                old, new = (_at(row, numbers) for row, numbers in zip(sets, places, strict=True))
                told = (old != UNKNOWN) & (new != UNKNOWN)
                self._untold |= not told.all() and not all(map(self._same, ends))
                matrix.add(number, kind, matrix.codes(old * told, new * told))
            self.internet[family, inward] = merged(span for item in columns for span in item.ranges)
            for opened, closed, parts in matrix.regions():
                rectangles = []
                for chosen, reached in parts:
                    inside = tuple(end for row in chosen for end in groups[row][1])
                    place: Ends = (_together(family, [columns[c] for c in reached]),)
                    rectangles.append((place, inside) if inward else (inside, place))
                yield Region(opened, closed, tuple(rectangles))

    def _rows(
        self, family: int, answers: Sequence[Outside | None], inward: bool
    ) -> dict[Hashable, tuple[int, list[Endpoint], list[NDArray[np.int32] | None]]]:
        """Endpoints with the same sets towards all places: the kind, who they are, both networks' sets."""
        kinds: dict[Hashable, int] = {}
        found: dict[Hashable, tuple[int, list[Endpoint], list[NDArray[np.int32] | None]]] = {}
        for name, numbers in self._numbers.items():
            ends = self._of_family(name, family)
            end = ends[1] or ends[0]
            sets = [
                (answer.inward if inward else answer.outward).get(number)
                if answer is not None and present is not None
                else None
                for answer, number, present in zip(answers, numbers, ends, strict=True)
            ]
            if end is not None and any(row is not None for row in sets):
                kind = kinds.setdefault(self._kind(*ends), len(kinds))
                identity = (kind, *(row.tobytes() if row is not None else None for row in sets))
                found.setdefault(identity, (kind, [], sets))[1].append(end)
        return found


def _all(ends: Sequence[Sequence[End]], chosen: Iterable[int]) -> Ends:
    return tuple(end for number in chosen for end in ends[number])


def _at(row: NDArray[np.int32] | None, numbers: Sequence[int]) -> NDArray[np.int32]:
    """The sets at some places; nothing passes where there are none."""
    import numpy as np

    if row is None:
        return np.zeros(len(numbers), dtype=np.int32)
    places = np.array(numbers)
    return np.where(places < 0, 0, row[places]).astype(np.int32)


@dataclass(frozen=True, slots=True)
class _SharedPlace:
    """Addresses that are of one place in both networks: its numbers there (-1: the family is not there)."""

    ranges: Ranges
    numbers: tuple[int, int]
    own: bool

    @property
    def size(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)


def _shared_places(answers: Sequence[Outside | None]) -> list[_SharedPlace]:
    before, after = (answer.places if answer is not None else None for answer in answers)
    if before is None or after is None:
        return [
            _SharedPlace(place.ranges, (-1, n) if before is None else (n, -1), place.own)
            for n, place in enumerate(before or after or ())
        ]
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    one, other = _spans(before), _spans(after)
    i = j = 0
    while i < len(one) and j < len(other):
        first, last = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if first <= last:
            found.setdefault((one[i][2], other[j][2]), []).append((first, last))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return [
        _SharedPlace(merged(ranges), (n, m), before[n].own or after[m].own)
        for (n, m), ranges in found.items()
    ]


def _spans(places: Sequence[Place]) -> list[tuple[int, int, int]]:
    return sorted((first, last, n) for n, place in enumerate(places) for first, last in place.ranges)


def _together(family: int, places: Sequence[_SharedPlace]) -> Place:
    ranges = merged(span for place in places for span in place.ranges)
    return place_of(family, ranges, own=all(place.own for place in places))
