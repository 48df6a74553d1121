"""What differs between two networks as configuration: objects that were added, removed or changed.

Objects are the same where their ARM ids are. Rules and routes count as objects of their own, so
that a changed rule is named, not the whole group that holds it. Not for what the changes do
(:mod:`harness.policy.difference`).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

from harness.model import Protocol
from harness.network.addresses import Ranges, merged
from harness.network.model import ANY_PORT, Network, RuleProtocol, key
from harness.policy.portset import NOTHING, PortSet


class ObjectChangeKind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """``properties`` names what differs, (name, before, after), of a changed object.

    ``owner`` is the key of the object that holds it: a rule's group, a peering's virtual network; its own
    for what stands by itself.
    """

    kind: ObjectChangeKind
    id: str
    owner: str
    properties: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        told = "; ".join(f"{name}: {before} -> {after}" for name, before, after in self.properties)
        return f"{self.kind} {self.id}" + (f" ({told})" if told else "")


_PARTS = ("rules", "routes", "tag_routes", "peerings", "ip_configurations", "nat_rules", "outbound_rules",
          "frontends", "pools", "probes", "endpoints")  # fmt: skip
"""Properties that hold objects with ids of their own."""


def object_changes(before: Network, after: Network) -> tuple[ObjectChange, ...]:
    """Every object that differs, by id; what is part of an object that was added or removed goes with it."""
    old, new = dict(_objects(before)), dict(_objects(after))
    found = []
    for name in sorted({*old, *new}):
        if name not in new:
            owner, item = old[name]
            if name == owner or owner in new:
                found.append(ObjectChange(ObjectChangeKind.REMOVED, item.id, owner))
        elif name not in old:
            owner, item = new[name]
            if name == owner or owner in old:
                found.append(ObjectChange(ObjectChangeKind.ADDED, item.id, owner))
        else:
            owner, item = new[name]
            properties = tuple(_differences(old[name][1], item))
            if properties:
                found.append(ObjectChange(ObjectChangeKind.CHANGED, item.id, owner, properties))
    return tuple(found)


def named_ports(network: Network, names: Container[str]) -> frozenset[PortSet]:
    """What of protocols and ports the named objects (keys) are for: rules, endpoints."""
    return frozenset(
        _ports(item) for name, (_, item) in _objects(network) if name in names and hasattr(item, "protocol")
    )


def _ports(item: Any) -> PortSet:
    for name in ("backend_port", "private_port"):
        if hasattr(item, name):
            port = getattr(item, name)
            return _of_protocol(item.protocol, ((port, port),))
    ranges = getattr(item, "destination_ports", (ANY_PORT,))
    return _of_protocol(item.protocol, merged((part.first, part.last) for part in ranges))


def _of_protocol(protocol: RuleProtocol, ranges: Ranges) -> PortSet:
    found = NOTHING
    for item in Protocol:
        if protocol is RuleProtocol.ANY or protocol.value.lower() == item.value:
            found |= PortSet.of(item, ranges)
    return found


def _objects(network: Network) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Key, and the object with its owner's key."""
    for item in fields(network):
        table = getattr(network, item.name)
        if not isinstance(table, Mapping):
            continue
        for value in table.values():
            for entry in value if isinstance(value, tuple) else (value,):
                yield from _with_parts(entry)


def _with_parts(entry: Any) -> Iterator[tuple[str, tuple[str, Any]]]:
    owner = key(entry.id)
    yield owner, (owner, entry)
    for name in _PARTS:
        for part in getattr(entry, name, ()):
            if getattr(part, "id", None):
                yield key(part.id), (owner, part)


def _differences(old: Any, new: Any) -> Iterator[tuple[str, str, str]]:
    for item in fields(new):
        if item.name in (*_PARTS, "id", "name"):
            continue
        one, other = getattr(old, item.name, None), getattr(new, item.name)
        if one != other:
            yield item.name, _shown(one), _shown(other)


def _shown(value: Any) -> str:
    """A value as people read it: the parts of a selector, prefixes, ports; not Python's own form."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value) or "none"
    if is_dataclass(value):
        if hasattr(value, "first") and hasattr(value, "last"):
            return f"{value.first}" if value.first == value.last else f"{value.first}-{value.last}"
        parts = [getattr(value, item.name) for item in fields(value)]
        return ", ".join(_shown(part) for part in parts if part not in (None, (), False)).replace("True", "*")
    return str(value)
