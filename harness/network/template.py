"""An exported ARM template as ARM resources: what has no id there gets the one that it would have.

Only templates without expressions: evaluating them is Azure's business. Subscription and resource
group are those of the ids in the template if they all agree, else placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.network.fields import Fields, shown

PLACEHOLDER = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/template"

_SCOPE = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+", re.IGNORECASE)
_IGNORED = frozenset({"apiVersion", "comments", "condition", "dependsOn", "metadata", "resources", "tags"})
"""What says nothing of the network, or is read by itself."""

_HINT = (
    "only templates without expressions can be read, and 'az group export' leaves expressions for ids even"
    " with --skip-all-params: write the resources themselves instead, 'az network vnet list > vnets.json'"
    " and so on, and give the directory"
)


def is_template(document: Mapping[str, Any]) -> bool:
    schema = document.get("$schema")
    return isinstance(schema, str) and "deploymenttemplate.json" in schema.lower()


def template_resources(document: Mapping[str, Any], origin: str) -> list[dict[str, Any]]:
    """The resources of a template as GET would return them; ``origin`` names the template in errors."""
    scope = _scope(document)
    return [
        {
            # what has nothing to say may leave its properties out
            "properties": {},
            **{name: _literal(value) for name, value in item.values.items() if name not in _IGNORED},
            "type": kind,
            "name": label,
            "id": _id(item, kind, label, scope),
        }
        for item, kind, label in _flat(Fields(document, origin, ""), "", "")
    ]


def _flat(fields: Fields, kind: str, name: str) -> Iterator[tuple[Fields, str, str]]:
    """Every resource with its type and name in full; those that stand inside another one after it."""
    for item in _items(fields):
        if item.values.get("condition") is False or item.values.get("existing") is True:
            continue
        own_kind, own_name = item.text("type"), item.text("name")
        own = item.owned_by(f"{shown(own_kind)} '{shown(own_name)}'")
        for property_name, value in own.values.items():
            if property_name not in _IGNORED:
                _refuse_expressions(own, property_name, value)
        # inside its parent, a child may leave out the parent's type and name
        if kind and not own_kind.lower().startswith(f"{kind.lower()}/"):
            own_kind, own_name = f"{kind}/{own_kind}", f"{name}/{own_name}"
        yield own, own_kind, own_name
        yield from _flat(own, own_kind, own_name)


def _items(fields: Fields) -> Iterator[Fields]:
    """A list of resources, or an object of them by symbolic name."""
    listed = fields.values.get("resources")
    if isinstance(listed, Mapping):
        body = fields.nested("resources")
        return (body.nested(name) for name in listed)
    return fields.objects("resources")


def _refuse_expressions(fields: Fields, place: str, value: object) -> None:
    if isinstance(value, str):
        if value.startswith("[") and not value.startswith("[[") and value.endswith("]"):
            fields.fail(place, f"holds the expression '{shown(value)}'", hint=_HINT)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _refuse_expressions(fields, f"{place}[{number}]", item)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _refuse_expressions(fields, f"{place}.{name}", item)


def _literal(value: Any) -> Any:
    """``[[text]`` stands for ``[text]``."""
    if isinstance(value, str):
        return value[1:] if value.startswith("[[") and value.endswith("]") else value
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _literal(item) for name, item in value.items()}
    return value


def _id(fields: Fields, kind: str, name: str, scope: str) -> str:
    provider, *types = kind.split("/")
    names = name.split("/")
    if not types or len(types) != len(names) or not all(names):
        fields.fail("name", f"has {len(names)} segments, its type '{shown(kind)}' {len(types)}")
    pairs = (f"{one}/{other}" for one, other in zip(types, names, strict=True))
    return f"{scope}/providers/{provider}/{'/'.join(pairs)}"


def _scope(document: Mapping[str, Any]) -> str:
    found: dict[str, str] = {}
    for scope in _scopes(document):
        found.setdefault(scope.lower(), scope)
    return next(iter(found.values())) if len(found) == 1 else PLACEHOLDER


def _scopes(value: object) -> Iterator[str]:
    """Subscription and resource group of every id in a document."""
    if isinstance(value, str):
        if match := _SCOPE.match(value):
            yield match[0]
    elif isinstance(value, list):
        for item in value:
            yield from _scopes(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _scopes(item)
