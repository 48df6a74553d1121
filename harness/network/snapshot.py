"""Loads a snapshot, ``{"resources": [...]}`` of ARM resources as GET returns them, into a Network.

Associations are followed from whichever side declares them; what contradicts itself or
refers to something absent is a :class:`~harness.errors.SnapshotError` that names file,
object and property. Other formats come through :mod:`harness.network.load`. Not for asking
Azure (``harness.azure``) nor for judging packets (``harness.policy``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import SnapshotError
from harness.network.arm.resources import Resources
from harness.network.collection import collection_paused
from harness.network.jsonfile import read_json
from harness.network.model import Network
from harness.text import plain


class Source(NamedTuple):
    """ARM resources from one place; ``origin`` names it in errors, ``notes`` say what was assumed."""

    origin: str
    resources: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def load_snapshot(path: Path) -> Network:
    """The snapshot at ``path``; raises SnapshotError that names file, object and property."""
    document, origin = read_json(path), plain(str(path))
    if not isinstance(document, dict) or not isinstance(document.get("resources"), list):
        raise SnapshotError(
            f'{origin}: expected {{"resources": [...]}}, a list of ARM resources as GET returns them'
        )
    return network_from_resources(document["resources"], origin)


def network_from_resources(resources: Sequence[Mapping[str, Any]], origin: str) -> Network:
    """A Network of ARM resources; ``origin`` names their source in errors."""
    return network_from_sources([Source(origin, resources)], origin)


def network_from_sources(sources: Iterable[Source], origin: str) -> Network:
    """A Network of all resources of several sources; ``origin`` names the whole in errors."""
    try:
        with collection_paused():
            return _network(sources, origin)
    except RecursionError:
        raise SnapshotError(f"{origin}: nested too deeply") from None


def _network(sources: Iterable[Source], origin: str) -> Network:
    found = Resources()
    for source in sources:
        for number, body in enumerate(source.resources):
            place = f"resources[{number}]"
            if not isinstance(body, Mapping):
                raise SnapshotError(f"{source.origin}: {place}: expected an object")
            found.read(body, source.origin, place)
    return found.network(origin)
