"""Sets of (protocol, port) as bits of one integer: what makes whole networks quick.

All ports that no rule tells apart are one bit, an *atom*. Sets are interned: equal sets have one
number, so that arrays of numbers stand for arrays of sets. Every mask belongs to one :class:`PortMasks`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from harness.model import Protocol
from harness.network.addresses import Ranges
from harness.policy.portset import ALL_PORTS, PortSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DENSE, _WORTH = 1 << 25, 16
"""A whole table of pairs of sets is quicker than sorting, up to a size and a multiple of the work."""


class PortMasks:
    """The atoms of one network: ``boundaries`` are ports at which some rule begins or ends to match."""

    def __init__(self, boundaries: Iterable[int]) -> None:
        self._starts = sorted({0, *(port for port in boundaries if 0 < port <= 65535)})
        count = len(self._starts)
        self._shift = {Protocol.TCP: 0, Protocol.UDP: count}
        self._single = {Protocol.ICMP: 2 * count, Protocol.ESP: 2 * count + 1, Protocol.AH: 2 * count + 2}
        self.everything = (1 << (2 * count + 3)) - 1
        self._portless = sum(1 << bit for bit in self._single.values())
        self._masks: list[int] = [0, self.everything]
        self._numbers: dict[int, int] = {0: 0, self.everything: 1}
        self._known_common: dict[tuple[int, int], int] = {}
        self._sets: dict[int, PortSet] = {}

    @property
    def portless(self) -> int:
        """The protocols without ports."""
        return self._portless

    def ports(self, protocol: Protocol, ranges: Sequence[tuple[int, int]] | None) -> int:
        """The mask of a protocol's ports (None: all)."""
        if not protocol.has_ports:
            return 1 << self._single[protocol]
        mask = 0
        for first, last in ALL_PORTS if ranges is None else ranges:
            begin = bisect_left(self._starts, first)
            end = bisect_left(self._starts, last + 1)
            mask |= (1 << end) - (1 << begin)
        return mask << self._shift[protocol]

    def bit(self, protocol: Protocol, port: int | None) -> int:
        """The number of the bit that a flow is."""
        if port is None or not protocol.has_ports:
            return self._single[protocol]
        return self._shift[protocol] + bisect_right(self._starts, port) - 1

    def number(self, mask: int) -> int:
        """The number of a set; the empty set is 0, everything is 1."""
        found = self._numbers.get(mask)
        if found is None:
            found = self._numbers[mask] = len(self._masks)
            self._masks.append(mask)
        return found

    def mask(self, number: int) -> int:
        return self._masks[number]

    def __len__(self) -> int:
        return len(self._masks)

    def common(self, one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int32]:
        """Elementwise: the numbers of the sets that both hold."""
        return self._elementwise(one, other, self._common_of)

    def either(self, one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int32]:
        """Elementwise: the numbers of the sets that one of the two holds."""
        return self._elementwise(one, other, self._either_of)

    def _elementwise(
        self,
        one: NDArray[np.int32],
        other: NDArray[np.int32],
        operation: Callable[[Iterable[int], int], list[int]],
    ) -> NDArray[np.int32]:
        """Every pair of numbers that occurs is worked out once."""
        import numpy as np

        count = len(self._masks)
        pairs = one.astype(np.int64) * count + other
        if count * count <= min(_DENSE, _WORTH * one.size):
            present = np.zeros(count * count, dtype=np.bool_)
            present[pairs.ravel()] = True
            distinct = np.flatnonzero(present)
            table = np.zeros(count * count, dtype=np.int32)
            table[distinct] = operation(distinct.tolist(), count)
            answer: NDArray[np.int32] = table[pairs]
            return answer
        distinct, places = np.unique(pairs, return_inverse=True)
        found = np.array(operation(distinct.tolist(), count), dtype=np.int32)
        return found[places].reshape(one.shape)

    def _either_of(self, pairs: Iterable[int], count: int) -> list[int]:
        return [self.number(self._masks[pair // count] | self._masks[pair % count]) for pair in pairs]

    def _common_of(self, pairs: Iterable[int], count: int) -> list[int]:
        masks, number, known = self._masks, self.number, self._known_common
        found = []
        for pair in pairs:
            first, second = divmod(pair, count)
            if first in (1, second):
                found.append(second)
            elif second == 1:
                found.append(first)
            elif not first or not second:
                found.append(0)
            else:
                identity = (first, second) if first < second else (second, first)
                answer = known.get(identity)
                if answer is None:
                    answer = known[identity] = number(masks[first] & masks[second])
                found.append(answer)
        return found

    def portset(self, number: int) -> PortSet:
        """What a set's number stands for."""
        found = self._sets.get(number)
        if found is None:
            mask = self._masks[number]
            found = self._sets[number] = PortSet(
                self._ranges(mask, Protocol.TCP),
                self._ranges(mask, Protocol.UDP),
                *(bool(mask >> self._single[protocol] & 1) for protocol in self._single),
            )
        return found

    def _ranges(self, mask: int, protocol: Protocol) -> Ranges:
        count = len(self._starts)
        mask = mask >> self._shift[protocol] & ((1 << count) - 1)
        found = []
        while mask:
            begin = (mask & -mask).bit_length() - 1
            mask += 1 << begin
            end = (mask & -mask).bit_length() - 1
            mask ^= 1 << end
            last = self._starts[end] - 1 if end < count else 65535
            found.append((self._starts[begin], last))
        return tuple(found)

    def table(self) -> NDArray[np.uint8]:
        """All sets as rows of packed bits, bit 0 first: for looking up many flows at once."""
        import numpy as np

        size = self.everything.bit_length() // 8 + 1
        rows = b"".join(mask.to_bytes(size, "little") for mask in self._masks)
        return np.frombuffer(rows, dtype=np.uint8).reshape(len(self._masks), size)

    def bits(self, protocols: NDArray[np.uint8], ports: NDArray[np.int32]) -> NDArray[np.int64]:
        """The bit of every flow; ``protocols`` are positions in :class:`~harness.model.Protocol`."""
        import numpy as np

        bits = np.searchsorted(np.array(self._starts), ports, side="right") - 1
        for place, protocol in enumerate(Protocol):
            where = protocols == place
            if protocol.has_ports:
                bits[where] += self._shift[protocol]
            else:
                bits[where] = self._single[protocol]
        return bits
