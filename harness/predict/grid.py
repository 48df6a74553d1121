"""Sources by targets, row by row: what rows of files, cells of pictures and lines of tables are read from.

An axis holds ends or classes of ends; nothing is made for all pairs at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.predict.prediction import FamilyPrediction, Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ITSELF = -1
"""In place of a set's number: the pair is one machine."""


@dataclass(frozen=True, slots=True)
class Axis:
    """``items`` are numbers of ends or of classes, ``classes`` their classes, ``machines`` their machines.

    A class of several machines has -1: it holds pairs of different ones.
    """

    items: NDArray[np.int32]
    classes: NDArray[np.int32]
    machines: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Grid:
    """One address family's sources and targets."""

    answer: FamilyPrediction
    sources: Axis
    targets: Axis

    def same(self, row: int, column: int) -> bool:
        """Whether a cell is one machine and itself."""
        return bool(self.sources.machines[row] == self.targets.machines[column] >= 0)

    def rows(self) -> Iterator[NDArray[np.int32]]:
        """For each source the numbers of the sets that pass to the targets; ITSELF for one machine."""
        targets = self.targets
        for number, machine in zip(self.sources.classes, self.sources.machines, strict=True):
            row = self.answer.numbers[number][targets.classes]
            if machine >= 0:
                row[targets.machines == machine] = ITSELF
            yield row


def grid_of_ends(
    prediction: Prediction, answer: FamilyPrediction, sources: Sequence[int], targets: Sequence[int]
) -> Grid:
    """The ends (numbers, in this order) that have an address of the family."""
    import numpy as np

    class_of = np.full(len(prediction.ends), -1, dtype=np.int32)
    for number, members in enumerate(answer.members):
        class_of[list(members)] = number

    def axis(ends: Sequence[int]) -> Axis:
        items = np.array(ends, dtype=np.int32)
        items = items[class_of[items] >= 0]
        return Axis(items, class_of[items], prediction.machines[items])

    return Grid(answer, axis(sources), axis(targets))


def grid_of_classes(
    prediction: Prediction, answer: FamilyPrediction, order: Sequence[int], begin: int = 0
) -> Grid:
    """The classes (numbers, in this order), against each other; as items they count from ``begin``."""
    import numpy as np

    classes = np.array(order, dtype=np.int32)
    machines = np.empty(len(classes), dtype=np.int32)
    for place, number in enumerate(order):
        own = np.unique(prediction.machines[list(answer.members[number])])
        machines[place] = own[0] if len(own) == 1 else -1
    axis = Axis(classes + begin, classes, machines)
    return Grid(answer, axis, axis)
