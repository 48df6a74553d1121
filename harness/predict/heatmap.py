"""The picture as data: a level for each cell, and the labels of the axes. Draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import TYPE_CHECKING

from harness.policy.portset import EVERYTHING, PortSet
from harness.predict.grid import Grid, grid_of_classes, grid_of_ends
from harness.predict.portwords import size
from harness.predict.prediction import FamilyPrediction, Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ENDS = 2_000
"""Up to so many ends each has a row; beyond, each class has."""

MAX_CELLS = 4_500
"""Cells of an axis; beyond, neighbours share one, which shows the most that passes."""


class Level(IntEnum):
    """What passes from a source to a target. Ascending: of cells drawn as one the highest counts."""

    ITSELF = 0
    NOTHING = 1
    ONE = 2
    TENS = 3
    HUNDREDS = 4
    THOUSANDS = 5
    TEN_THOUSANDS = 6
    MANY = 7
    NEARLY_EVERYTHING = 8
    EVERYTHING = 9
    SOME_ASKED = 10
    ALL_ASKED = 11


NEARLY = 1_000
"""So many ports may be missing from what is nearly everything: an open network with a few closed ports."""

_ALL = size(EVERYTHING)


_DECADES = (
    (1, Level.ONE),
    (10, Level.TENS),
    (100, Level.HUNDREDS),
    (1_000, Level.THOUSANDS),
    (10_000, Level.TEN_THOUSANDS),
)


@dataclass(frozen=True, slots=True)
class Span:
    """The cells [begin, end) of an axis, and their common name."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Labels:
    """An axis at three depths, each covering all cells: ends (or classes), subnets, virtual networks."""

    ends: tuple[Span, ...]
    subnets: tuple[Span, ...]
    vnets: tuple[Span, ...]


@dataclass(frozen=True)
class HeatMap:
    """``levels[source, target]``; a cell stands for ``fold`` rows and columns of ``unit`` each.

    ``ports`` is what passes in a cell, None for a machine and itself; only for ``fold`` 1.
    """

    levels: NDArray[np.uint8]
    sources: Labels
    targets: Labels
    ports: Callable[[int, int], PortSet | None]
    unit: str
    fold: int
    family: int
    asked: PortSet | None


def level_of(number: int, asked: int | None) -> Level:
    """What a set of so many ports is drawn as: how much it is, or how much of the ports asked for."""
    if not number:
        return Level.NOTHING
    if asked is not None:
        return Level.ALL_ASKED if number == asked else Level.SOME_ASKED
    if number == _ALL:
        return Level.EVERYTHING
    if number >= _ALL - NEARLY:
        return Level.NEARLY_EVERYTHING
    return next((level for most, level in _DECADES if number <= most), Level.MANY)


def heat_map(
    prediction: Prediction,
    answer: FamilyPrediction,
    sources: Sequence[int],
    targets: Sequence[int],
    *,
    by_class: bool = False,
) -> HeatMap:
    """From these ends to those (numbers, in the order of the picture), or between all classes."""
    if by_class:
        ends = prediction.ends
        first = [min(own, key=lambda end: ends[end].order) for own in answer.members]
        order = sorted(range(len(first)), key=lambda number: ends[first[number]].order)
        grid = grid_of_classes(prediction, answer, order)
        rows = columns = [first[number] for number in order]
    else:
        grid = grid_of_ends(prediction, answer, sources, targets)
        rows, columns = grid.sources.items.tolist(), grid.targets.items.tolist()
    fold = -(-max(len(rows), len(columns), 1) // MAX_CELLS)
    return HeatMap(
        _folded(_levels(grid, prediction.asked), fold),
        _labels(prediction, rows, fold),
        _labels(prediction, columns, fold),
        _cells(grid),
        "class" if by_class else "address",
        fold,
        answer.family,
        prediction.asked,
    )


def _levels(grid: Grid, asked: PortSet | None) -> NDArray[np.uint8]:
    import numpy as np

    distinct, places = np.unique(grid.answer.sets.intervals.sizes(), return_inverse=True)
    most = size(asked) if asked is not None else None
    levels = np.array([level_of(number, most) for number in distinct.tolist()], dtype=np.uint8)[places]
    # the last, so that it is found by the number ITSELF
    levels[-1] = Level.ITSELF
    found = np.empty((len(grid.sources.items), len(grid.targets.items)), dtype=np.uint8)
    for place, row in enumerate(grid.rows()):
        found[place] = levels[row]
    return found


def _cells(grid: Grid) -> Callable[[int, int], PortSet | None]:
    def ports(row: int, column: int) -> PortSet | None:
        if grid.same(row, column):
            return None
        classes = grid.sources.classes[row], grid.targets.classes[column]
        return grid.answer.sets.portset(int(grid.answer.numbers[classes]))

    return ports


def _folded(levels: NDArray[np.uint8], fold: int) -> NDArray[np.uint8]:
    """Blocks of ``fold`` by ``fold`` cells made one, the highest of them."""
    import numpy as np

    if fold == 1:
        return levels
    padded = np.pad(levels, [(0, -length % fold) for length in levels.shape])
    rows, columns = (length // fold for length in padded.shape)
    found: NDArray[np.uint8] = padded.reshape(rows, fold, columns, fold).max(axis=(1, 3))
    return found


def _labels(prediction: Prediction, numbers: Sequence[int], fold: int) -> Labels:
    ends = [prediction.ends[number] for number in numbers]
    return Labels(
        tuple(
            Span(prediction.labels[number], place // fold, place // fold + 1)
            for place, number in enumerate(numbers)
        ),
        _spans([end.subnet for end in ends], fold),
        _spans([end.vnet for end in ends], fold),
    )


def _spans(names: Sequence[str], fold: int) -> tuple[Span, ...]:
    found, begin = [], 0
    for name, members in groupby(names):
        end = begin + len(list(members))
        found.append(Span(name, begin // fold, -(-end // fold)))
        begin = end
    return tuple(found)
