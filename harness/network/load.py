"""Loads a network from whatever describes it: the format is told by the content.

- a snapshot, ``{"resources": [...]}`` of ARM resources as GET returns them; a bare list of them, as
  ``az ... list`` prints it (flattened or not), a page of the REST API (``{"value": [...]}``), an answer
  of Resource Graph (``{"data": [...]}``), or one resource;
- a directory of such files, ``az network vnet list > vnets.json`` and so on;
- an exported ARM template without expressions;
- what ``terraform show -json`` prints of a plan or a state;
- what another package reads: a function of the entry-point group ``azreach.networks``, which takes a
  path and returns the ARM resources, or None for a file that is not its own.

Not for what a resource means (:mod:`harness.network.arm`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from harness.errors import SnapshotError
from harness.network.azcli import arm_shape
from harness.network.jsonfile import parse_json, read_text
from harness.network.model import Network
from harness.network.snapshot import Source, network_from_sources
from harness.network.template import is_template, template_resources
from harness.text import plain

ENTRY_POINTS = "azreach.networks"

_LISTS = ("resources", "value", "data")
"""Where a document keeps its resources: a snapshot, a page of the REST API, an answer of Resource Graph."""

_HINT = (
    "a snapshot {\"resources\": [...]}, the output of 'az ... list' (one file, or a directory of them),"
    " an ARM template, 'terraform show -json' or a lab file can be read"
)


def load_network(path: Path) -> Network:
    """The network that a file or directory describes; raises InputError that names the place."""
    return network_from_sources(load_sources(path), plain(str(path)))


def load_sources(path: Path) -> list[Source]:
    """The ARM resources of a file, or of every ``*.json`` file of a directory, by name."""
    if not path.is_dir():
        return [_load_file(path)]
    files = sorted(file for file in path.glob("*.json") if file.is_file())
    if not files:
        raise SnapshotError(f"{plain(str(path))}: the directory holds no *.json file", hint=_HINT)
    return [_load_file(file) for file in files]


def source_of(document: Any, origin: str) -> Source:
    """The ARM resources of a JSON document; ``origin`` names it in errors."""
    if isinstance(document, dict) and "format_version" in document:
        from harness.network.terraform import translation_of

        translation = translation_of(document, origin)
        return Source(origin, translation.resources, translation.notes)
    try:
        return Source(origin, _resources_in(document, origin))
    except RecursionError:
        raise SnapshotError(f"{origin}: nested too deeply") from None


def _resources_in(document: Any, origin: str) -> Sequence[Any]:
    if isinstance(document, list):
        return [arm_shape(item) for item in document]
    if isinstance(document, dict):
        if is_template(document):
            return template_resources(document, origin)
        if isinstance(document.get("id"), str):
            return [arm_shape(document)]
        for name in _LISTS:
            if isinstance(document.get(name), list):
                return [arm_shape(item) for item in document[name]]
    raise SnapshotError(f"{origin}: holds no list of ARM resources", hint=_HINT)


def _load_file(path: Path) -> Source:
    origin = plain(str(path))
    text = read_text(path)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("", "{", "["):
        return source_of(parse_json(text, origin), origin)
    for point in entry_points(group=ENTRY_POINTS):
        resources = point.load()(path)
        if resources is not None:
            return Source(origin, resources)
    raise SnapshotError(f"{origin}: neither JSON nor a lab file", hint=_HINT)
