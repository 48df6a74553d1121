"""The shape that all ARM bodies have in common: name, properties, children.

Not for any one resource type: those are the other modules of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from harness.errors import SnapshotError
from harness.network.armids import kind_of, machine_name, parent
from harness.network.fields import Fields, shown
from harness.network.words import key, short_name
from harness.text import plain

Reader = Callable[[Fields, str, str], None]
"""Takes in one resource: its JSON, its id, its name."""

Draft = TypeVar("Draft")


class Family(Protocol):
    """What reads a family of resource types: a reader for each, by the type's lower-case name."""

    readers: Mapping[str, Reader]


def properties(fields: Fields) -> Fields:
    if not fields.has("properties"):
        fields.fail("properties", "is missing")
    return fields.nested("properties")


def name_of(fields: Fields, arm_id: str) -> str:
    """The id's last segment; what the body says itself has to agree."""
    stated, last = fields.optional_text("name"), short_name(arm_id)
    if stated is None or stated == last:
        return last
    # templates and some lists name a child "parent/child", and a scale set's VM is "set_0"
    if last.lower() != stated.rpartition("/")[2].lower() and stated.lower() != machine_name(arm_id).lower():
        fields.fail("name", f"'{shown(stated)}' differs from the id's last segment '{shown(last)}'")
    return last


def children(body: Fields, name: str, of: str, kind: str, read: Reader) -> None:
    """The resources that stand in a list of ``of``; where one has no id, parent and name make it."""
    distinct(body, name)
    usual = f"{of}/{name}/"
    for child in body.objects(name):
        if child.has("id"):
            child_id = child.arm_id()
            # the rest of these checks is for ids that are spelled otherwise
            if not child_id.startswith(usual) or "/" in child_id[len(usual) :]:
                _check_child(child, child_id, of, kind)
        else:
            child_name = child.text("name")
            if "/" in child_name:
                child.fail("name", f"'{shown(child_name)}' is no name")
            child_id = usual + child_name
        own = child.owned_by(child_id)
        read(own, child_id, name_of(own, child_id))


def _check_child(child: Fields, child_id: str, of: str, kind: str) -> None:
    if kind_of(child_id) != kind:
        child.fail("id", f"'{shown(child_id)}' is no id of {kind}")
    if key(parent(child_id)) != key(of):
        child.fail("id", f"{plain(child_id)} does not belong to {plain(of)}, in which it stands")


def distinct(body: Fields, name: str) -> None:
    """Refuses what stands twice in one list; a child that also stands beside its parent is another matter."""
    seen: set[str] = set()
    for child in body.objects(name):
        label = child.optional_text("id") or child.optional_text("name")
        if label is None:
            child.fail("id", "is missing, and so is the name")
        if key(label) in seen:
            child.fail("id" if child.has("id") else "name", f"{plain(label)} stands twice in this list")
        seen.add(key(label))


def store(table: dict[str, Draft], arm_id: str, draft: Draft, fields: Fields) -> None:
    """Keeps a child, which may stand inside its parent and beside it; both must say the same."""
    other = table.setdefault(key(arm_id), draft)
    if other is not draft and other != draft:
        raise SnapshotError(f"{fields.origin}: {plain(arm_id)}: stands twice, with different content")


def parent_in(known: Mapping[str, object], arm_id: str, kind: str, origin: str) -> str:
    """The key of the resource that a child belongs to; it has to be among ``known``."""
    owner = parent(arm_id)
    if key(owner) not in known:
        raise SnapshotError(
            f"{origin}: {plain(arm_id)}: its {kind} {plain(owner)} is not in the snapshot",
            hint="add that resource to the snapshot",
        )
    return key(owner)
