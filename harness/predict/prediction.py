"""The answer for a whole network, narrowed to what was asked: kept as classes of ends, never as pairs.

A class is a set of ends that nothing tells apart; ``numbers[source class, target class]`` is the
number of the set of ports that passes. Not for judging anything (:mod:`harness.policy.reachability`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.network.model import Network
from harness.policy.compiled import Compiled, compiled
from harness.policy.portmasks import PortMasks
from harness.policy.portset import PortSet
from harness.policy.reachability import FamilyAnswer, reachability
from harness.predict.ends import End, ends_of, labels_of
from harness.predict.intervals import Intervals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PortSets:
    """The sets by their numbers; 0 is the empty one. All intervals are made when they are asked for."""

    portset: Callable[[int], PortSet]
    make_intervals: Callable[[], Intervals]

    @cached_property
    def intervals(self) -> Intervals:
        return self.make_intervals()


@dataclass(frozen=True)
class FamilyPrediction:
    """One address family. ``members`` are the ends (numbers) of each class."""

    family: int
    members: tuple[tuple[int, ...], ...]
    numbers: NDArray[np.int32]
    sets: PortSets

    def merged(self) -> FamilyPrediction:
        """Classes with equal answers, as source and as target, made one."""
        import numpy as np

        identities = list(zip(alike(self.numbers), alike(self.numbers.T), strict=True))
        groups: dict[tuple[int, int], list[int]] = {}
        for number, identity in enumerate(identities):
            groups.setdefault(identity, []).append(number)
        first = np.array([group[0] for group in groups.values()], dtype=np.int64)
        return FamilyPrediction(
            self.family,
            tuple(
                tuple(end for number in group for end in self.members[number]) for group in groups.values()
            ),
            self.numbers[np.ix_(first, first)],
            self.sets,
        )


@dataclass(frozen=True)
class Prediction:
    """``ends`` by number; ``asked`` is None where every protocol and port was."""

    ends: tuple[End, ...]
    families: tuple[FamilyPrediction, ...]
    asked: PortSet | None

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """For each end what tables and pictures call it."""
        return labels_of(self.ends)

    @cached_property
    def machines(self) -> NDArray[np.int32]:
        """For each end the number of its machine."""
        import numpy as np

        known: dict[str, int] = {}
        return np.array([known.setdefault(end.machine, len(known)) for end in self.ends], dtype=np.int32)


def predict(
    network: Network | Compiled, *, asked: PortSet | None = None, family: int | None = None
) -> Prediction:
    """What passes between all ends of one address family, or of both. Raises InputError if there are none.

    A :class:`~harness.policy.compiled.Compiled` brings the options and service tags to judge by.
    """
    view = network if isinstance(network, Compiled) else compiled(network)
    answer = reachability(view)
    families = tuple(
        _narrowed(found, asked) for found in answer.answers if family in (None, found.classes.family)
    )
    if not families:
        kind = f"IPv{family} address" if family is not None else "network interface with an address"
        raise InputError(f"there is nothing to predict: the network has no {kind}")
    return Prediction(ends_of(view.network, answer.endpoints), families, asked)


def alike(rows: NDArray[np.int32]) -> list[int]:
    """For each row the number of its kind: equal rows are of one."""
    kinds: dict[bytes, int] = {}
    return [kinds.setdefault(row.tobytes(), len(kinds)) for row in rows]


def _narrowed(answer: FamilyAnswer, asked: PortSet | None) -> FamilyPrediction:
    members = tuple(item.members for item in answer.classes.classes)
    masks = answer.masks
    if asked is None:
        sets = PortSets(masks.portset, partial(Intervals.of_masks, masks))
        return FamilyPrediction(answer.classes.family, members, answer.numbers, sets)
    import numpy as np

    touched = _touched(masks, asked)
    known = {0: 0}
    numbers = [known.setdefault(masks.mask(number) & touched, len(known)) for number in range(len(masks))]
    narrow = [masks.portset(masks.number(mask)) & asked for mask in known]
    sets = PortSets(narrow.__getitem__, partial(Intervals.of_sets, narrow))
    renumbered = np.array(numbers, dtype=np.int32)[answer.numbers]
    return FamilyPrediction(answer.classes.family, members, renumbered, sets)


def _touched(masks: PortMasks, asked: PortSet) -> int:
    """The bits that hold an asked port; they may hold others beside it, which no rule tells apart from it."""
    mask = 0
    for protocol, first, last in asked:
        mask |= (2 << masks.bit(protocol, last)) - (1 << masks.bit(protocol, first))
    return mask
