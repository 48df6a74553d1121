"""The answer on a terminal: under each group of sources what it reaches. Styled lines, printed elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from harness.predict.groups import Digest, Line
from harness.predict.names import SHOWN_PARTS, NameSummary, listed
from harness.predict.portwords import brief
from harness.predict.prediction import Prediction

MAX_LINES = 60
"""Lines of a table: what a person reads."""

PORTS_WIDTH = 72

Part = tuple[str, str]
"""A text and its style."""


class Descriptions:
    """Tells which ends a group is: their names, and where all of them are."""

    def __init__(self, prediction: Prediction) -> None:
        self._ends, self._labels = prediction.ends, prediction.labels
        self._summary = NameSummary(prediction.labels)
        self._vnets = Counter((end.family, end.vnet) for end in self._ends)
        self._subnets = Counter((end.family, end.subnet) for end in self._ends)

    def names(self, numbers: Sequence[int]) -> str:
        """``web-01..web-40 (40)``; where the names are many runs, whole places first: ``hub/*``."""
        parts = self._summary.parts([self._labels[number] for number in numbers])
        return listed(parts if len(parts) <= SHOWN_PARTS else self._by_place(numbers))

    def _by_place(self, numbers: Sequence[int]) -> list[tuple[str, int]]:
        """Virtual networks and subnets that are all there, then the names of the others."""
        ends = [self._ends[number] for number in numbers]
        vnets = _whole(Counter((end.family, end.vnet) for end in ends), self._vnets)
        subnets = _whole(
            Counter((end.family, end.subnet) for end in ends if (end.family, end.vnet) not in vnets),
            self._subnets,
        )
        places = [(f"{name}/*", count) for (_, name), count in (vnets | subnets).items()]
        others = [
            self._labels[number]
            for number, end in zip(numbers, ends, strict=True)
            if (end.family, end.vnet) not in vnets and (end.family, end.subnet) not in subnets
        ]
        return sorted(places, key=lambda part: -part[1]) + self._summary.parts(others)

    def place(self, numbers: Sequence[int]) -> str:
        """``vnet/subnet`` and the NSGs, as far as all of them share it."""
        ends = [self._ends[number] for number in numbers]
        subnets, vnets = {end.subnet for end in ends}, {end.vnet for end in ends}
        if len(subnets) == 1:
            where = ends[0].subnet
        elif len(vnets) == 1:
            where = f"{ends[0].vnet} ({len(subnets)} subnets)"
        else:
            where = f"{len(vnets)} virtual networks"
        nsgs = {end.nsgs for end in ends}
        return f"{where}, {' and '.join(ends[0].nsgs) or 'no NSG'}" if len(nsgs) == 1 else where


Population = Counter[tuple[int, str]]


def _whole(found: Population, all_of_them: Population) -> dict[tuple[int, str], int]:
    """Places with several ends, every one of which is found."""
    return {place: count for place, count in found.items() if 1 < count == all_of_them[place]}


def table_lines(digest: Digest, descriptions: Descriptions) -> Iterator[list[Part]]:
    """The lines of one address family."""
    for sources, mine in groupby(digest.lines, key=lambda line: line.sources):
        yield [(descriptions.names(sources), "bold"), (f"  {descriptions.place(sources)}", "dim")]
        yield from _targets(list(mine), descriptions)
        yield []


def _targets(lines: Sequence[Line], descriptions: Descriptions) -> Iterator[list[Part]]:
    names = [descriptions.names(line.targets) for line in lines]
    places = [descriptions.place(line.targets) for line in lines]
    for line, name, place in zip(lines, names, places, strict=True):
        yield [
            ("  -> ", "dim"),
            (name.ljust(max(map(len, names))), ""),
            (f"  {place.ljust(max(map(len, places)))}", "dim"),
            (f"  {brief(line.ports, PORTS_WIDTH)}", "green"),
        ]


def closing_lines(digest: Digest, family: int, addresses: int, classes: int | None) -> Iterator[str]:
    """What the table is of, and what it leaves out. ``classes`` is None where pairs are listed one by one."""
    alike = f" in {classes:,} classes" if classes is not None else ""
    yield (
        f"IPv{family}: {addresses:,} addresses{alike}; something passes between {digest.passing:,} of"
        f" {digest.pairs:,} pairs"
    )
    hidden = digest.found - len(digest.lines)
    if hidden:
        yield (
            f"shown are {len(digest.lines):,} of {digest.found:,} lines, {digest.shown:,} pairs; the others:"
            " --output FILE, or narrow with --from, --to, --ports"
        )
