"""For tables of what is wrong: a change to the network of everything, and what the error has to name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import SnapshotError
from harness.network.snapshot import network_from_resources
from harness.network.words import key
from tests.harness.network.arm.everything import everything
from tests.harness.network.builders import Resource

Change = Callable[[list[Resource]], None]
Refusal = tuple[Change, list[str]]

DELETE = object()


def find(resources: list[Resource], identity: str) -> Resource:
    return next(item for item in resources if key(item["id"]) == key(identity))


def edit(identity: str, *path: str | int, value: Any) -> Change:
    """Sets one property of a resource; ``DELETE`` removes it."""

    def change(resources: list[Resource]) -> None:
        place: Any = find(resources, identity)["properties"]
        for step in path[:-1]:
            place = place[step]
        if value is DELETE:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


def remove(identity: str) -> Change:
    return lambda resources: resources.remove(find(resources, identity))


def add(*more: Resource) -> Change:
    return lambda resources: resources.extend(more)


def check_refused(change: Change, words: list[str]) -> None:
    """The changed network is refused by one error of one line that names all ``words``."""
    resources = everything()
    change(resources)
    with pytest.raises(SnapshotError) as raised:
        network_from_resources(resources, "snap.json")
    for word in ("snap.json", *words):
        assert word.lower() in str(raised.value).lower()
    assert "\n" not in raised.value.message
