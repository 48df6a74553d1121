"""The answer as rows: one for each interval of ports that passes from a source to a target.

Rows come in batches of columns, so that any number of them passes through little memory. Sources
and targets are ends, or classes whose members are a table of their own (:func:`members`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.predict.ends import End
from harness.predict.grid import Grid, grid_of_classes, grid_of_ends
from harness.predict.intervals import Intervals
from harness.predict.prediction import Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ROWS = 10_000_000
"""More are written only if all of them are asked for: hundreds of megabytes of CSV."""

BATCH = 1 << 17
"""Rows of a batch, about."""

MEMBER_COLUMNS = ("class", "name", "nic", "address", "vnet", "subnet", "nsgs")


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as columns. Ends by their numbers, protocols by their positions in ``Protocol``."""

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    protocol: NDArray[np.uint8]
    first: NDArray[np.int32]
    last: NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """``names``: the columns that name a source or target (``""``: ``source``), a value for each number."""

    names: Mapping[str, Sequence[str | int]]
    grids: tuple[Grid, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in their order."""
        sides = (f"{side}{suffix}" for side in ("source", "target") for suffix in self.names)
        return (*sides, "protocol", "first_port", "last_port")

    @cached_property
    def count(self) -> int:
        """How many rows there are."""
        return sum(
            int(grid.answer.sets.intervals.lengths[row].sum()) for grid in self.grids for row in grid.rows()
        )

    def check(self) -> None:
        """Raises InputError where there are more rows than anybody wants by accident."""
        if self.count > MAX_ROWS:
            raise InputError(
                f"the answer has {self.count:,} rows, more than {MAX_ROWS:,}",
                hint="narrow it with --from, --to or --ports, or write them all with --all",
            )

    def batches(self) -> Iterator[Batch]:
        """All rows: by source, target, protocol, port."""
        for grid in self.grids:
            yield from _batches(grid)


def rows_of_ends(prediction: Prediction, sources: Sequence[int], targets: Sequence[int]) -> Rows:
    """From these ends to those (numbers); nothing from a machine to itself."""
    ends = prediction.ends
    names: dict[str, Sequence[str | int]] = {
        "": [end.name for end in ends],
        "_address": [end.address for end in ends],
    }
    grids = (grid_of_ends(prediction, answer, sources, targets) for answer in prediction.families)
    return Rows(names, tuple(grids))


def rows_of_classes(prediction: Prediction) -> Rows:
    """Between classes, numbered through all families as in :func:`members`."""
    grids, begin = [], 0
    for answer in prediction.families:
        grids.append(grid_of_classes(prediction, answer, range(len(answer.members)), begin))
        begin += len(answer.members)
    return Rows({"_class": range(begin)}, tuple(grids))


def members(prediction: Prediction) -> Iterator[tuple[int, End]]:
    """(class, end) for every end: what the classes of :func:`rows_of_classes` stand for."""
    classes = (own for answer in prediction.families for own in answer.members)
    for number, own in enumerate(classes):
        for end in own:
            yield number, prediction.ends[end]


def _batches(grid: Grid) -> Iterator[Batch]:
    import numpy as np

    lengths = grid.answer.sets.intervals.lengths
    pending: list[tuple[int, NDArray[np.int32], NDArray[np.int32]]] = []
    waiting = 0
    for source, row in zip(grid.sources.items.tolist(), grid.rows(), strict=True):
        columns = np.flatnonzero(row > 0)
        pending.append((source, grid.targets.items[columns], row[columns]))
        waiting += int(lengths[row].sum())
        if waiting >= BATCH:
            yield _batch(grid.answer.sets.intervals, pending)
            pending, waiting = [], 0
    if waiting:
        yield _batch(grid.answer.sets.intervals, pending)


def _batch(intervals: Intervals, pairs: Sequence[tuple[int, NDArray[np.int32], NDArray[np.int32]]]) -> Batch:
    """The rows of (source, its targets, the numbers of their sets)."""
    import numpy as np

    counts = [len(targets) for _, targets, _ in pairs]
    sources = np.repeat(np.array([source for source, _, _ in pairs], dtype=np.int32), counts)
    targets = np.concatenate([own for _, own, _ in pairs])
    owners, chosen = intervals.of(np.concatenate([numbers for _, _, numbers in pairs]))
    return Batch(
        sources[owners],
        targets[owners],
        intervals.protocol[chosen],
        intervals.first[chosen],
        intervals.last[chosen],
    )
