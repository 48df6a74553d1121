"""The answer for reading: sources that reach the same together, targets that get the same together.

Of a large network only the lines that stand for most pairs are kept; how many there are is counted.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.policy.portset import PortSet
from harness.predict.grid import grid_of_ends
from harness.predict.prediction import FamilyPrediction, Prediction, alike

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Line:
    """From each of ``sources`` to each of ``targets`` (ends) pass ``ports``; ``pairs`` leaves out itself."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    ports: PortSet
    pairs: int


@dataclass(frozen=True, slots=True)
class Digest:
    """The lines by source, of ``found``; of ``pairs`` pairs of ends ``passing`` pass anything."""

    lines: tuple[Line, ...]
    found: int
    pairs: int
    passing: int

    @property
    def shown(self) -> int:
        """The pairs that the lines stand for."""
        return sum(line.pairs for line in self.lines)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A line before its ends are collected: a group of sources, and the number of a set."""

    group: int
    number: int
    pairs: int


def digest_of_pairs(
    prediction: Prediction,
    answer: FamilyPrediction,
    sources: Sequence[int],
    targets: Sequence[int],
    limit: int,
) -> Digest:
    """A line for every pair of ends that passes anything, in the order given."""
    import numpy as np

    grid = grid_of_ends(prediction, answer, sources, targets)
    lines: list[Line] = []
    pairs = passing = 0
    for source, row in zip(grid.sources.items.tolist(), grid.rows(), strict=True):
        columns = np.flatnonzero(row > 0)
        pairs += int(np.count_nonzero(row >= 0))
        passing += len(columns)
        lines += [
            Line((source,), (int(grid.targets.items[column]),), answer.sets.portset(int(row[column])), 1)
            for column in columns[: limit - len(lines)].tolist()
        ]
    return Digest(tuple(lines), passing, pairs, passing)


def digest_of_groups(prediction: Prediction, answer: FamilyPrediction, limit: int) -> Digest:
    """At most ``limit`` lines between groups of classes: those that stand for most pairs."""
    groups = _Groups(prediction, answer)
    candidates = list(groups.candidates())
    kept = heapq.nlargest(limit, candidates, key=lambda found: found.pairs)
    lines = [groups.line(found) for found in kept]
    lines.sort(
        key=lambda line: [prediction.ends[members[0]].order for members in (line.sources, line.targets)]
    )
    return Digest(tuple(lines), len(candidates), groups.pairs(), sum(found.pairs for found in candidates))


class _Groups:
    """Classes grouped by what they reach."""

    def __init__(self, prediction: Prediction, answer: FamilyPrediction) -> None:
        import numpy as np

        self._prediction, self._answer = prediction, answer
        self._sizes = np.array([len(own) for own in answer.members], dtype=np.int64)
        groups: dict[int, list[int]] = {}
        for number, kind in enumerate(alike(answer.numbers)):
            groups.setdefault(kind, []).append(number)
        self._groups = list(groups.values())
        classes: dict[int, Counter[int]] = {}
        for number, own in enumerate(answer.members):
            for end in own:
                classes.setdefault(int(prediction.machines[end]), Counter())[number] += 1
        self._classes_of_machine = classes

    def candidates(self) -> Iterator[_Candidate]:
        for place, group in enumerate(self._groups):
            row = self._answer.numbers[group[0]]
            pairs = self._pairs(group)
            numbers, inverse = _distinct(row)
            counts = _sums(inverse, pairs, len(numbers))
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                if number and count:
                    yield _Candidate(place, number, count)

    def _pairs(self, group: Sequence[int]) -> NDArray[np.int64]:
        """For each class the pairs from the group's ends to its members, but for those of one machine."""
        found = self._sizes * int(self._sizes[group].sum())
        for number in group:
            for end in self._answer.members[number]:
                for other, count in self._classes_of_machine[int(self._prediction.machines[end])].items():
                    found[other] -= count
        return found

    def pairs(self) -> int:
        """All pairs of the family."""
        own = sum(sum(classes.values()) ** 2 for classes in self._classes_of_machine.values())
        return int(self._sizes.sum()) ** 2 - own

    def line(self, found: _Candidate) -> Line:
        import numpy as np

        group = self._groups[found.group]
        classes = np.flatnonzero(self._answer.numbers[group[0]] == found.number).tolist()
        return Line(
            self._ends(group), self._ends(classes), self._answer.sets.portset(found.number), found.pairs
        )

    def _ends(self, classes: Sequence[int]) -> tuple[int, ...]:
        ends = self._prediction.ends
        found = (end for number in classes for end in self._answer.members[number])
        return tuple(sorted(found, key=lambda end: ends[end].order))


def _distinct(row: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    import numpy as np

    return np.unique(row, return_inverse=True)


def _sums(places: NDArray[np.int64], values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    import numpy as np

    # exact: bincount's doubles hold every count of pairs that fits into memory
    return np.bincount(places, weights=values, minlength=count).astype(np.int64)
