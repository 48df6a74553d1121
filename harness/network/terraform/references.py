"""Follows the references of an unknown value to the instances that it comes from.

A plan does not know the id of a resource that is yet to be made; its configuration says which
``references`` the value is computed of. They are followed through variables of modules, outputs,
``each`` and indices. Terraform writes neither the definitions of locals nor how an expression
combines its references, so what is followed is a set of candidates: where an index is computed
(``s[each.key]``, ``s[each.value.zone]``), the instance is the one whose key the index can be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from harness.network.fields import Fields
from harness.network.terraform.document import (
    Document,
    Instance,
    Module,
    ModuleConfiguration,
    ResourceConfiguration,
    split_call,
)
from harness.network.terraform.traversal import Index, Key, Step, longest, value_at

T = TypeVar("T")

_DIGITS = 10
"""No count has as many instances as a number with more digits says."""

_NOTHING = ResourceConfiguration(Fields({}, "", ""), Fields({}, "", ""))


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where an expression stands: its module instance, and the ``each.key`` or ``count.index`` there."""

    module: Module
    key: Key | None
    repetition: Fields
    keys: frozenset[str] = frozenset()
    """Keys that an index further out may have picked."""


class References:
    """Over all instances of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._instances: dict[tuple[Module, str], dict[Key | None, Instance]] = defaultdict(dict)
        self._modules: dict[tuple[Module, str], dict[Key | None, Module]] = defaultdict(dict)
        for item in document.instances:
            self._instances[item.module, item.label][item.index] = item
            for length, (name, index) in enumerate(item.module):
                self._modules[item.module[:length], name][index] = item.module[: length + 1]

    def configuration(self, instance: Instance) -> ResourceConfiguration:
        """The block that ``instance`` comes from; an empty one where the document holds none."""
        module = self._module_configuration(instance.module)
        found = module.resources.get(instance.label) if module else None
        return found or _NOTHING

    def follow(self, instance: Instance, expression: Fields) -> tuple[Instance, ...]:
        """The instances that ``expression``, of a block of ``instance``, can come from, in its order."""
        scope = _Scope(instance.module, instance.index, self.configuration(instance).repetition)
        return tuple(dict.fromkeys(self._expression(scope, expression, (), frozenset())))

    def siblings(self, instance: Instance) -> list[Instance]:
        """All instances of the same block, by index."""
        found = self._instances[instance.module, instance.label].values()
        return sorted(found, key=lambda item: (isinstance(item.index, str), item.index or 0))

    def _expression(
        self, scope: _Scope, expression: Fields, rest: tuple[Step, ...], seen: frozenset[object]
    ) -> Iterator[Instance]:
        paths = longest(expression.texts("references"))
        keys = {str(step.key) for step in rest if isinstance(step, Index)}.union(self._keys(scope, paths))
        inner = replace(scope, keys=scope.keys | keys)
        for path in paths:
            mark = (scope.module, path)
            if mark not in seen:
                yield from self._path(inner, path, rest, seen | {mark})

    def _path(
        self, scope: _Scope, path: tuple[Step, ...], rest: tuple[Step, ...], seen: frozenset[object]
    ) -> Iterator[Instance]:
        match path:
            case ("var", str(name), *more):
                call = self._call(scope.module)
                if call is not None:
                    outer = _Scope(scope.module[:-1], scope.module[-1][1], call[0].repetition, scope.keys)
                    given = call[0].expressions
                    if isinstance(given.values.get(name), Mapping):
                        yield from self._expression(outer, given.nested(name), (*more, *rest), seen)
            case ("each", "value", *more):
                inner = replace(scope, keys=scope.keys | self._each_keys(scope))
                yield from self._expression(inner, scope.repetition, (*more, *rest), seen)
            case ("module", *_):
                yield from self._output(scope, (*path, *rest), seen)
            case ("data", str(kind), str(name), *more):
                yield from self._of_resource(scope, f"data.{kind}.{name}", more)
            case (str(kind), str(name), *more):
                yield from self._of_resource(scope, f"{kind}.{name}", more)

    def _output(self, scope: _Scope, path: tuple[Step, ...], seen: frozenset[object]) -> Iterator[Instance]:
        call, more = split_call(path)
        if call is None:
            return
        name, index = call
        inside = self._modules[scope.module, name]
        for module in _chosen(inside, scope.keys) if index is None else filter(None, [inside.get(index)]):
            configuration = self._module_configuration(module)
            outputs = configuration.outputs if configuration else {}
            # after a computed index, module.net[each.key].id, the plan does not name the output
            for label in more[:1] or outputs:
                if isinstance(label, str) and label in outputs:
                    there = _Scope(module, None, _NOTHING.repetition, scope.keys)
                    yield from self._expression(there, outputs[label], more[1:], seen)

    def _of_resource(self, scope: _Scope, label: str, more: Sequence[Step]) -> Iterator[Instance]:
        found = self._instances[scope.module, label]
        if more and isinstance(more[0], Index):
            if more[0].key in found:
                yield found[more[0].key]
        else:
            yield from _chosen(found, scope.keys)

    def _keys(self, scope: _Scope, paths: Iterable[tuple[Step, ...]]) -> Iterator[str]:
        """What a computed index in an expression with these paths can be."""
        for path in paths:
            value = self._value(scope, path, 0)
            if isinstance(value, str | int):
                yield str(value)

    def _each_keys(self, scope: _Scope) -> frozenset[str]:
        """What for_each can have picked an instance by: the key, or a text in the value of it."""
        value = self._value(scope, ("each", "value"), 0)
        texts = value.values() if isinstance(value, Mapping) else (value,)
        return frozenset(item for item in texts if isinstance(item, str)) | {str(scope.key)}

    def _value(self, scope: _Scope, path: tuple[Step, ...], depth: int) -> Any:
        """The value of a path of variables and ``each``, None where the document does not tell."""
        if depth > len(scope.module) + 2:
            return None
        match path:
            case ("each", "key") | ("count", "index"):
                return scope.key
            case ("each", "value", *more):
                every = self._constant(scope, scope.repetition, depth)
                if isinstance(every, list):
                    return scope.key
                return value_at(every, (Index(scope.key), *more)) if scope.key is not None else None
            case ("var", str(name), *more) if not scope.module:
                return value_at(self._document.variables.get(name), more)
            case ("var", str(name), *more):
                call = self._call(scope.module)
                if call is None or not isinstance(call[0].expressions.values.get(name), Mapping):
                    return None
                outer = _Scope(scope.module[:-1], scope.module[-1][1], call[0].repetition)
                return value_at(self._constant(outer, call[0].expressions.nested(name), depth), more)
            case _:
                return None

    def _constant(self, scope: _Scope, expression: Fields, depth: int) -> Any:
        if "constant_value" in expression.values:
            return expression.values["constant_value"]
        values = (self._value(scope, path, depth + 1) for path in longest(expression.texts("references")))
        return next((value for value in values if value is not None), None)

    def _call(self, module: Module) -> tuple[ResourceConfiguration, ModuleConfiguration] | None:
        """The ``module`` block that made this module instance."""
        if not module:
            return None
        outer = self._module_configuration(module[:-1])
        return outer.calls.get(module[-1][0]) if outer else None

    def _module_configuration(self, module: Module) -> ModuleConfiguration | None:
        current: ModuleConfiguration | None = self._document.root
        for name, _ in module:
            call = current.calls.get(name) if current else None
            current = call[1] if call else None
        return current


def _chosen(found: Mapping[Key | None, T], keys: frozenset[str]) -> list[T]:
    """Those of several instances that a computed index can mean; all where no key tells."""
    candidates: list[Key] = [*sorted(keys)]
    candidates += [int(key) for key in sorted(keys) if key.isdecimal() and len(key) < _DIGITS]
    picked = [found[key] for key in candidates if key in found]
    return picked or list(found.values())
