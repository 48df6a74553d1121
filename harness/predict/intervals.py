"""All port sets of an answer as intervals, one behind the other in arrays: hundreds of thousands at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.model import Protocol
from harness.policy.portmasks import PortMasks
from harness.policy.portset import PortSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PORTLESS = tuple(place for place, protocol in enumerate(Protocol) if not protocol.has_ports)

_CHUNK = 4096
"""Sets whose bits are unpacked at once."""


@dataclass(frozen=True)
class Intervals:
    """The intervals of set ``number`` are ``lengths[number]`` many, from ``begins[number]`` on.

    They are in order of protocol (its position in ``Protocol``) and port; protocols without ports have 0
    to 65535. One more length at the end is 0: the number -1 stands for no set.
    """

    lengths: NDArray[np.int64]
    begins: NDArray[np.int64]
    protocol: NDArray[np.uint8]
    first: NDArray[np.int32]
    last: NDArray[np.int32]

    @classmethod
    def of_sets(cls, sets: Iterable[PortSet]) -> Intervals:
        """Those of a few sets, which are numbered as they come."""
        import numpy as np

        position = {protocol: place for place, protocol in enumerate(Protocol)}
        found = [list(ports) for ports in sets]
        table = np.array(
            [(position[protocol], first, last) for own in found for protocol, first, last in own],
            dtype=np.int32,
        ).reshape(-1, 3)
        lengths = np.array([len(own) for own in found], dtype=np.int64)
        return cls._numbered(lengths, table[:, 0].astype(np.uint8), table[:, 1], table[:, 2])

    @classmethod
    def of_masks(cls, masks: PortMasks) -> Intervals:
        """Those of every set of ``masks``."""
        import numpy as np

        protocol, first, last = _bits(masks)
        width = len(first)
        # no interval goes on from one protocol's bits to the next
        opens, closes = first == 0, last == 65535
        lengths, begin_bits, end_bits = [], [], []
        table = masks.table()
        for start in range(0, len(table), _CHUNK):
            held = np.unpackbits(table[start : start + _CHUNK], axis=1, count=width, bitorder="little")
            held = held.astype(np.bool_)
            begins, ends = held.copy(), held
            begins[:, 1:] &= ~held[:, :-1] | opens[1:]
            lengths.append(begins.sum(axis=1))
            begin_bits.append(np.nonzero(begins)[1].astype(np.int32))
            ends[:, :-1] &= ~held[:, 1:] | closes[:-1]
            end_bits.append(np.nonzero(ends)[1].astype(np.int32))
        chosen = np.concatenate(begin_bits)
        return cls._numbered(
            np.concatenate(lengths), protocol[chosen], first[chosen], last[np.concatenate(end_bits)]
        )

    @classmethod
    def _numbered(
        cls,
        lengths: NDArray[np.int64],
        protocol: NDArray[np.uint8],
        first: NDArray[np.int32],
        last: NDArray[np.int32],
    ) -> Intervals:
        import numpy as np

        lengths = np.append(lengths, 0)
        return cls(lengths, np.cumsum(lengths) - lengths, protocol, first, last)

    def sizes(self) -> NDArray[np.int64]:
        """How large each set is, as :func:`harness.predict.portwords.size` counts; 0 for the number -1."""
        import numpy as np

        counts = np.where(np.isin(self.protocol, PORTLESS), 1, self.last - self.first + 1)
        totals = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        found: NDArray[np.int64] = totals[self.begins + self.lengths] - totals[self.begins]
        return found

    def of(self, numbers: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For all intervals of these sets: which place in ``numbers`` each is of, and where it is here."""
        import numpy as np

        lengths = self.lengths[numbers]
        owners = np.repeat(np.arange(len(numbers)), lengths)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return owners, self.begins[numbers][owners] + within


def _bits(masks: PortMasks) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
    """For each bit of a mask its protocol, its first and its last port."""
    import numpy as np

    ports = np.arange(65536, dtype=np.int32)
    protocols, firsts, lasts = [], [], []
    for place in range(len(Protocol)):
        bits = masks.bits(np.full(len(ports), place, dtype=np.uint8), ports)
        changes = np.flatnonzero(np.diff(bits)) + 1
        firsts.append(np.concatenate(([0], changes)))
        lasts.append(np.concatenate((changes - 1, [65535])))
        protocols.append(np.full(len(changes) + 1, place))
    return (
        np.concatenate(protocols).astype(np.uint8),
        np.concatenate(firsts).astype(np.int32),
        np.concatenate(lasts).astype(np.int32),
    )
