"""What ``terraform show -json`` prints, as instances of resources and the configuration behind them.

The format: Terraform's "JSON Output Format", of a plan (``planned_values``, ``configuration``,
``prior_state`` for the data sources that were read) or of a state (``values``). OpenTofu prints the
same. Knows no provider's resource types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import SnapshotError
from harness.network.fields import Fields, shown
from harness.network.model import key
from harness.network.terraform.traversal import Index, Key, Step, steps

Module = tuple[tuple[str, Key | None], ...]
"""A module instance: the calls that lead to it from the root, each with its index."""

_FORMAT = 1
"""The major ``format_version`` this reads (0.x came before it, in the same form)."""

_HINT = "write it with: terraform plan -out=FILE && terraform show -json FILE"


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One instance of a resource or data source.

    ``fields`` lacks what is not known before apply; ``unknown`` says of a plan which attributes that
    are (``after_unknown``), None where the document does not.
    """

    address: str
    module: Module
    data: bool
    type: str
    name: str
    index: Key | None
    fields: Fields
    unknown: Mapping[str, Any] | None

    @property
    def label(self) -> str:
        """How configuration refers to its block: ``azurerm_subnet.a``, ``data.azurerm_subnet.a``."""
        return f"data.{self.type}.{self.name}" if self.data else f"{self.type}.{self.name}"


@dataclass(frozen=True, slots=True)
class ResourceConfiguration:
    """The expressions of one resource block; ``repetition`` is that of its for_each."""

    expressions: Fields
    repetition: Fields


@dataclass(frozen=True, slots=True)
class ModuleConfiguration:
    """``calls`` holds expressions, for_each and module of every ``module`` block, by name."""

    resources: Mapping[str, ResourceConfiguration] = field(default_factory=dict)
    outputs: Mapping[str, Fields] = field(default_factory=dict)
    calls: Mapping[str, tuple[ResourceConfiguration, ModuleConfiguration]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """``variables`` are the root module's, ``deleted`` the ids (keys) that the plan takes away."""

    origin: str
    instances: tuple[Instance, ...]
    root: ModuleConfiguration
    variables: Mapping[str, Any]
    deleted: frozenset[str]
    is_plan: bool
    complete: bool


def read_document(document: Mapping[str, Any], origin: str) -> Document:
    """A plan or a state; raises SnapshotError for what is neither."""
    top = Fields(document, origin, "terraform show -json")
    _check_form(top, origin)
    is_plan = top.has("planned_values")
    found: dict[str, Instance] = {}
    # a data source that was read stands in prior_state, one that is still to be read in planned_values
    if is_plan:
        prior = top.nested("prior_state").nested("values").nested("root_module")
        found |= {item.address: item for item in _instances(prior, (), {}, origin) if item.data}
    values = top.nested("planned_values" if is_plan else "values").nested("root_module")
    for item in _instances(values, (), _unknown(top), origin):
        found[item.address] = item
    variables = {name: body.values.get("value") for name, body in _members(top.nested("variables"))}
    return Document(
        origin=origin,
        # a data source may read what is managed here, too
        instances=tuple(sorted(found.values(), key=lambda item: item.data)),
        root=_module(top.nested("configuration").nested("root_module")),
        variables=variables,
        deleted=frozenset(_deleted(top)),
        is_plan=is_plan,
        complete=top.flag("complete", default=True),
    )


def _check_form(top: Fields, origin: str) -> None:
    version = top.optional_text("format_version")
    if version is None:
        raw_state = "lineage" in top.values or isinstance(top.values.get("version"), int)
        what = "is Terraform's own state file" if raw_state else "has no format_version"
        raise SnapshotError(f"{origin}: {what}, not the output of terraform show -json", hint=_HINT)
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major[:9]) > _FORMAT:
        raise SnapshotError(
            f"{origin}: format_version '{shown(version)}' is not supported, only {_FORMAT}.x", hint=_HINT
        )
    if not (top.has("planned_values") or top.has("values")):
        raise SnapshotError(
            f"{origin}: holds neither planned_values (a plan) nor values (a state)", hint=_HINT
        )
    if top.flag("errored", default=False):
        raise SnapshotError(
            f"{origin}: the plan ended with an error, so that it is not whole",
            hint="mend what terraform plan reports and write the plan again",
        )


def _instances(
    module: Fields, path: Module, unknown: Mapping[str, Mapping[str, Any]], origin: str
) -> Iterator[Instance]:
    for body in module.objects("resources"):
        address = body.text("address")
        named = Fields(body.values, origin, address)
        if named.optional_text("mode") not in ("managed", "data"):
            named.fail("mode", "is neither managed nor data")
        index = body.values.get("index")
        if index is not None and (isinstance(index, bool) or not isinstance(index, str | int)):
            named.fail("index", "is neither a string nor a whole number")
        values = named.nested("values")
        yield Instance(
            address=address,
            module=path,
            data=named.text("mode") == "data",
            type=named.text("type"),
            name=named.text("name"),
            index=index,
            fields=Fields(values.values, origin, address),
            unknown=unknown.get(address),
        )
    for child in module.objects("child_modules"):
        yield from _instances(child, _module_path(child), unknown, origin)


def _module_path(child: Fields) -> Module:
    """``module.a["x"].module.b`` -> (("a", "x"), ("b", None))."""
    found: list[tuple[str, Key | None]] = []
    rest = steps(child.text("address"))
    while rest:
        call, rest = split_call(rest)
        if call is None:
            child.fail("address", "is no address of a module")
        found.append(call)
    if not found:
        child.fail("address", "is no address of a module")
    return tuple(found)


def split_call(path: tuple[Step, ...]) -> tuple[tuple[str, Key | None] | None, tuple[Step, ...]]:
    """The module call that ``path`` begins with, its index, and the rest."""
    match path:
        case ("module", str(name), Index(index), *rest):
            return (name, index), tuple(rest)
        case ("module", str(name), *rest):
            return (name, None), tuple(rest)
        case _:
            return None, path


def _module(body: Fields) -> ModuleConfiguration:
    resources = {}
    for item in body.objects("resources"):
        label = f"{item.text('type')}.{item.text('name')}"
        if item.optional_text("mode") == "data":
            label = f"data.{label}"
        resources[label] = ResourceConfiguration(
            item.nested("expressions"), item.nested("for_each_expression")
        )
    return ModuleConfiguration(
        resources=resources,
        outputs={name: item.nested("expression") for name, item in _members(body.nested("outputs"))},
        calls={
            name: (
                ResourceConfiguration(call.nested("expressions"), call.nested("for_each_expression")),
                _module(call.nested("module")),
            )
            for name, call in _members(body.nested("module_calls"))
        },
    )


def _members(body: Fields) -> Iterator[tuple[str, Fields]]:
    for name in body.values:
        yield name, body.nested(name)


def _unknown(top: Fields) -> dict[str, Mapping[str, Any]]:
    changes = ((item.text("address"), item.nested("change")) for item in top.objects("resource_changes"))
    return {
        address: change.nested("after_unknown").values
        for address, change in changes
        if change.has("after_unknown")
    }


def _deleted(top: Fields) -> Iterator[str]:
    for item in top.objects("resource_changes"):
        change = item.nested("change")
        if "delete" in change.texts("actions"):
            before = change.values.get("before")
            arm_id = before.get("id") if isinstance(before, Mapping) else None
            if isinstance(arm_id, str):
                yield key(arm_id)
