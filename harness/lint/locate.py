"""On which line of a JSON file an ARM resource stands.

Cheap rather than complete: the resources of the file's list are found with the JSON decoder itself,
and a child (rule, route, peering, subnet) by its id or name within its parent's text. What is not
found has no line. Not for reading networks (:mod:`harness.network`).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from harness.network.armids import parent
from harness.network.model import key, short_name

_GAP = re.compile(r"[\s,:]*")
_DECODER = json.JSONDecoder()
_LISTS = frozenset({"resources", "value"})
"""Under which keys snapshots, templates and answers of Azure's API hold their resources."""

Span = tuple[int, int]


class Lines:
    """The places of one file's resources."""

    def __init__(self, text: str) -> None:
        self._text = text

    def of(self, arm_id: str) -> int | None:
        """The line (from 1) where the object with that id begins, or else the one it belongs to."""
        name, missing = key(arm_id), []
        while name not in self._resources:
            missing.append(name)
            name = parent(name)
            if name.count("/") < 8:
                return None
        first, last = self._resources[name]
        start = first
        for child in reversed(missing):
            found = self._child(child, start, last)
            start = found if found is not None else start
        return bisect_right(self._ends, start) + 1

    def _child(self, name: str, first: int, last: int) -> int | None:
        """Where in a part of the text a child says its id, or its name."""
        by_id = re.compile(rf'"id"\s*:\s*{re.escape(json.dumps(name))}', re.IGNORECASE)
        by_name = re.compile(rf'"name"\s*:\s*{re.escape(json.dumps(short_name(name)))}', re.IGNORECASE)
        found = by_id.search(self._text, first, last) or by_name.search(self._text, first, last)
        return found.start() if found is not None else None

    @cached_property
    def _ends(self) -> list[int]:
        """The offsets of line ends."""
        return [match.start() for match in re.finditer("\n", self._text)]

    @cached_property
    def _resources(self) -> Mapping[str, Span]:
        """Start and end of the text of each resource in the file's list, by key."""
        found: dict[str, Span] = {}
        try:
            for body, span in self._values(self._list()):
                identity = body.get("id") if isinstance(body, dict) else None
                if isinstance(identity, str):
                    found.setdefault(key(identity), span)
        except (ValueError, RecursionError):
            # not JSON, or not to its end: the network was read from it in another way
            return found
        return found

    def _list(self) -> int:
        """Where the list's first item is: the file is the list, or an object that holds it."""
        start = self._next(self._text.startswith("\ufeff"))
        if self._text.startswith("{", start):
            place, name = start + 1, None
            while not (name in _LISTS and self._text.startswith("[", self._next(place))):
                name, place = self._decode(place) if name is None else (None, self._decode(place)[1])
            start = self._next(place)
        return start + 1

    def _values(self, place: int) -> Iterator[tuple[Any, Span]]:
        while not self._text.startswith("]", start := self._next(place)):
            value, place = self._decode(start)
            yield value, (start, place)

    def _decode(self, place: int) -> tuple[Any, int]:
        return _DECODER.raw_decode(self._text, self._next(place))

    def _next(self, place: int) -> int:
        """The next place with something else than separators."""
        gap = _GAP.match(self._text, place)
        return gap.end() if gap is not None else place
