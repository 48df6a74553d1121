"""What changes between two networks, for every pair of rows and columns, collected to rectangles.

Rows and columns are classes of ends, cells the numbers of sets of ports before and after
(:class:`~harness.policy.portmasks.PortMasks`). Who is behind them is :mod:`harness.policy.joint`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from harness.policy.portmasks import PortMasks
from harness.policy.portset import PortSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DENSE = 1 << 25
"""Pairs of set numbers up to which a whole table is quicker than sorting."""


class Changed(NamedTuple):
    """Where the same opens and closes: (rows, columns), every row with every column."""

    opened: PortSet
    closed: PortSet
    rectangles: list[tuple[list[int], list[int]]]


class ChangeMatrix:
    """Takes the matrix row by row; rows that are equal are kept once.

    ``masks`` are those of the numbers before and after, over the same atoms. Rows and columns have
    kinds (from 0): a change is reported for each pair of kinds by itself.
    """

    def __init__(self, masks: tuple[PortMasks, PortMasks], column_kinds: Sequence[int]) -> None:
        self._masks, self._column_kinds = masks, column_kinds
        self._changes: list[tuple[int, int]] = [(0, 0)]
        self._numbers: dict[tuple[int, int], int] = {}
        self._rows: dict[tuple[int, bytes], list[int]] = {}

    def codes(self, old: NDArray[np.int32], new: NDArray[np.int32]) -> NDArray[np.int32]:
        """Elementwise the number of what changes, 0 for nothing."""
        import numpy as np

        height, width = (len(masks) for masks in self._masks)
        pairs = old.astype(np.int64) * width + new
        if width * height <= _DENSE:
            present = np.zeros(width * height, dtype=np.bool_)
            present[pairs.ravel()] = True
            distinct = np.flatnonzero(present)
            table = np.zeros(width * height, dtype=np.int32)
            table[distinct] = self._codes_of(distinct.tolist(), width)
            found: NDArray[np.int32] = table[pairs]
            return found
        distinct, places = np.unique(pairs, return_inverse=True)
        codes = np.array(self._codes_of(distinct.tolist(), width), dtype=np.int32)
        return codes[places].reshape(pairs.shape)

    def add(self, row: int, kind: int, codes: NDArray[np.int32]) -> None:
        if codes.any():
            self._rows.setdefault((kind, codes.tobytes()), []).append(row)

    def regions(self) -> Iterator[Changed]:
        import numpy as np

        kinds = np.array(self._column_kinds, dtype=np.int64)
        width = int(kinds.max()) + 1
        found: dict[tuple[int, int], dict[bytes, tuple[NDArray[np.int64], list[int]]]] = {}
        for (kind, row), rows in self._rows.items():
            codes = np.frombuffer(row, dtype=np.int32).astype(np.int64)
            columns = np.flatnonzero(codes)
            parts = codes[columns] * width + kinds[columns]
            order = np.argsort(parts, kind="stable")
            starts = np.flatnonzero(np.diff(parts[order], prepend=-1))
            for group in np.split(columns[order], starts[1:]):
                part = int(codes[group[0]] * width + kinds[group[0]])
                same = found.setdefault((kind, part), {}).setdefault(group.tobytes(), (group, []))
                same[1].extend(rows)
        portset, number = self._masks[1].portset, self._masks[1].number
        for (_, part), rectangles in found.items():
            opened, closed = self._changes[part // width]
            where = [(rows, columns.tolist()) for columns, rows in rectangles.values()]
            yield Changed(portset(number(opened)), portset(number(closed)), where)

    def _codes_of(self, pairs: list[int], width: int) -> list[int]:
        before, after = self._masks[0].mask, self._masks[1].mask
        return [self._code(before(pair // width), after(pair % width)) for pair in pairs]

    def _code(self, old: int, new: int) -> int:
        if old == new:
            return 0
        change = (new & ~old, old & ~new)
        found = self._numbers.get(change)
        if found is None:
            found = self._numbers[change] = len(self._changes)
            self._changes.append(change)
        return found
