"""Terraform's written paths, ``module.net["a"].azurerm_subnet.s[0].id``, taken apart.

Addresses of resources and the ``references`` of expressions have the same form. Not for what
they lead to (:mod:`harness.network.terraform.references`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Key = str | int
"""The index of an instance: a string under ``for_each``, a number under ``count``."""

_STEP = re.compile(r'\.?(?P<name>[^.\[\]"]+)|\[(?P<number>\d{1,9})\]|\[(?P<text>"(?:[^"\\]|\\.)*")\]')


@dataclass(frozen=True, slots=True)
class Index:
    """``["a"]`` or ``[0]``."""

    key: Key


Step = str | Index


def steps(text: str) -> tuple[Step, ...]:
    """The steps of a path; empty where it is none."""
    found: list[Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            return ()
        position = match.end()
        if match["name"] is not None:
            found.append(match["name"])
        elif match["number"] is not None:
            found.append(Index(int(match["number"])))
        else:
            found.append(Index(_unquoted(match["text"])))
    return tuple(found)


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def longest(references: Iterable[str]) -> list[tuple[Step, ...]]:
    """The paths that an expression writes.

    Terraform lists each one together with its shorter forms, the longest first:
    ``azurerm_subnet.a.id``, ``azurerm_subnet.a``.
    """
    found: list[tuple[Step, ...]] = []
    for reference in references:
        path = steps(reference)
        if path and not (found and found[-1][: len(path)] == path):
            found.append(path)
    return list(dict.fromkeys(found))


def value_at(value: Any, path: Iterable[Step]) -> Any:
    """What stands at ``path`` in a value; None where nothing does."""
    for step in path:
        name = step.key if isinstance(step, Index) else step
        if isinstance(value, Mapping):
            value = value.get(name, value.get(str(name)))
        elif isinstance(value, list) and isinstance(name, int) and 0 <= name < len(value):
            value = value[name]
        else:
            return None
    return value
