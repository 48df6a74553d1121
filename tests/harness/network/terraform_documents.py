"""``terraform show -json`` documents in few words, for tests of the Terraform loader.

One description of a resource gives both halves of a plan: a :class:`Ref` among its attributes is left
out of the planned values, as Terraform leaves out what is not known, and written as ``references``
in the configuration, with every shorter form of its path as Terraform lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Ref:
    """An expression over these paths, not known before apply."""

    paths: tuple[str, ...]

    def expression(self) -> Json:
        return {"references": [form for path in self.paths for form in _forms(path)]}


def ref(*paths: str) -> Ref:
    return Ref(paths)


def _forms(path: str) -> list[str]:
    """``azurerm_subnet.a.id`` -> itself, ``azurerm_subnet.a``; never the type alone."""
    steps = re.findall(r'\.?[^.\[\]]+|\[\d+\]|\["[^"]*"\]', path)
    least = {"data": 3, "each": 2, "count": 2}.get(steps[0], 2)
    return ["".join(steps[:length]) for length in range(len(steps), least - 1, -1)]


@dataclass(frozen=True)
class Block:
    """A ``resource`` or ``data`` block with its instances; ``unwritten`` blocks come from ``dynamic``."""

    type: str
    name: str
    instances: Mapping[Any, Json]
    for_each: Ref | Any = None
    data: bool = False
    unwritten: tuple[str, ...] = ()
    whole: Mapping[str, Ref] = field(default_factory=dict)
    """Attributes that blocks are written in: one expression for all of them."""

    def planned(self, prefix: str) -> list[Json]:
        return [
            {
                "address": f"{prefix}{'data.' if self.data else ''}{self.type}.{self.name}{_index(key)}",
                "mode": "data" if self.data else "managed",
                "type": self.type,
                "name": self.name,
                **({} if key is None else {"index": key}),
                "provider_name": "registry.terraform.io/hashicorp/azurerm",
                "schema_version": 0,
                "values": {
                    name: _known(value) for name, value in given.items() if not isinstance(value, Ref)
                },
                "sensitive_values": {},
            }
            for key, given in self.instances.items()
        ]

    def configured(self) -> Json:
        first = next(iter(self.instances.values()))
        expressions = {
            name: _expression(value)
            for name, value in first.items()
            if value is not None and name != "id" and name not in self.unwritten
        }
        expressions |= {name: expression.expression() for name, expression in self.whole.items()}
        body: Json = {
            "address": f"{'data.' if self.data else ''}{self.type}.{self.name}",
            "mode": "data" if self.data else "managed",
            "type": self.type,
            "name": self.name,
            "provider_config_key": "azurerm",
            "expressions": expressions,
            "schema_version": 0,
        }
        if self.for_each is not None:
            body["for_each_expression"] = _expression(self.for_each)
        elif all(isinstance(key, int) for key in self.instances):
            body["count_expression"] = {"constant_value": len(self.instances)}
        return body

    def changes(self, prefix: str) -> list[Json]:
        """Every instance is made new."""
        return [
            {
                "address": item["address"],
                "change": {
                    "actions": ["create"],
                    "before": None,
                    "after": item["values"],
                    "after_unknown": _unknown(given),
                },
            }
            for item, given in zip(self.planned(prefix), self.instances.values(), strict=True)
        ]


def _index(key: str | int | None) -> str:
    return "" if key is None else f'["{key}"]' if isinstance(key, str) else f"[{key}]"


def _known(value: Any) -> Any:
    if isinstance(value, list):
        return [None if isinstance(item, Ref) else _known(item) for item in value]
    if isinstance(value, dict):
        return {name: _known(item) for name, item in value.items() if not isinstance(item, Ref)}
    return value


def _unknown(value: Any) -> Any:
    """``after_unknown``: true in the place of what is not known, and the shape of the rest."""
    if isinstance(value, Ref):
        return True
    if isinstance(value, list):
        return [_unknown(item) for item in value]
    if isinstance(value, dict):
        marks = {name: _unknown(item) for name, item in value.items()}
        return {name: mark for name, mark in marks.items() if mark is not False}
    return False


def _expression(value: Any) -> Any:
    if isinstance(value, Ref):
        return value.expression()
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [
            {name: _expression(item) for name, item in block.items() if item is not None} for block in value
        ]
    if isinstance(value, list) and any(isinstance(item, Ref) for item in value):
        listed = [item.expression()["references"] for item in value if isinstance(item, Ref)]
        return {"references": [form for forms in listed for form in forms]}
    return {"constant_value": value}


@dataclass(frozen=True)
class Module:
    """A ``module`` block; ``instances`` are its keys, ``content`` gives the blocks of one of them."""

    name: str
    content: Mapping[Any, list[Block | Module]]
    given: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Ref] = field(default_factory=dict)
    for_each: Any = None


def one(kind: str, label: str, /, *, unwritten: tuple[str, ...] = (), **attributes: Any) -> Block:
    """A resource without count and for_each."""
    return Block(kind, label, {None: attributes}, unwritten=unwritten)


def named(kind: str, label: str, /, **attributes: Any) -> Block:
    """As :func:`one`, with what nearly every resource has: its name and a resource group."""
    usual = {"name": label, "resource_group_name": "rg", "location": "westeurope"}
    return one(kind, label, **usual | attributes)


def data(kind: str, label: str, /, **attributes: Any) -> Block:
    return Block(kind, label, {None: attributes}, data=True)


def plan(
    *parts: Block | Module, variables: Json | None = None, deleted: Iterable[Json] = (), **more: Any
) -> Json:
    """A plan that makes everything in ``parts``; data sources have been read, ``deleted`` goes away."""
    gone = [
        {"address": "azurerm_subnet.gone", "change": {"actions": ["delete"], "before": before}}
        for before in deleted
    ]
    read = [part for part in parts if isinstance(part, Block) and part.data]
    made = [part for part in parts if not (isinstance(part, Block) and part.data)]
    return {
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "variables": {name: {"value": value} for name, value in (variables or {}).items()},
        "planned_values": {"root_module": _values(made, "")},
        "resource_changes": [*_changes(made, ""), *gone],
        "prior_state": {"format_version": "1.0", "values": {"root_module": _values(read, "")}},
        "configuration": {"root_module": _configuration(parts)},
        "complete": True,
        "errored": False,
        **more,
    }


def state(*parts: Block | Module) -> Json:
    return {
        "format_version": "1.0",
        "terraform_version": "1.11.4",
        "values": {"root_module": _values(parts, "")},
    }


def _values(parts: Iterable[Block | Module], prefix: str) -> Json:
    resources: list[Json] = []
    children: list[Json] = []
    for part in parts:
        if isinstance(part, Block):
            resources += part.planned(prefix)
        else:
            for key, content in part.content.items():
                address = f"{prefix}module.{part.name}{_index(key)}"
                children.append(_values(content, f"{address}.") | {"address": address})
    resources.sort(key=lambda item: str(item["address"]))
    return {"resources": resources} | ({"child_modules": children} if children else {})


def _changes(parts: Iterable[Block | Module], prefix: str) -> list[Json]:
    found: list[Json] = []
    for part in parts:
        if isinstance(part, Block):
            found += part.changes(prefix)
        else:
            for key, content in part.content.items():
                found += _changes(content, f"{prefix}module.{part.name}{_index(key)}.")
    return found


def _configuration(parts: Iterable[Block | Module]) -> Json:
    return {
        "resources": [part.configured() for part in parts if isinstance(part, Block)],
        "module_calls": {
            part.name: {
                "source": f"./{part.name}",
                "expressions": {name: _expression(value) for name, value in part.given.items()},
                **({} if part.for_each is None else {"for_each_expression": _expression(part.for_each)}),
                "module": _configuration(next(iter(part.content.values())))
                | {
                    "outputs": {
                        name: {"expression": item.expression()} for name, item in part.outputs.items()
                    },
                    "variables": {name: {} for name in part.given},
                },
            }
            for part in parts
            if isinstance(part, Module)
        },
    }


def rule(name: str, priority: int, access: str, ports: str, **more: Any) -> Json:
    """The attributes of a security rule, in a group or a resource of its own."""
    return {
        "name": name, "priority": priority, "access": access, "direction": "Inbound", "protocol": "Tcp",
        "source_port_range": "*", "destination_port_range": ports, "source_address_prefix": "*",
        "destination_address_prefix": "*", "source_port_ranges": [], "destination_port_ranges": [],
        "source_address_prefixes": [], "destination_address_prefixes": [],
        "source_application_security_group_ids": [], "destination_application_security_group_ids": [],
    } | more  # fmt: skip


def configuration(subnet: Any, address: str | None = None, **more: Any) -> Json:
    """The ``ip_configuration`` block of a network interface."""
    body = {"name": "ipconfig1", "subnet_id": subnet, "private_ip_address_version": "IPv4", **more}
    allocation = "Dynamic" if address is None else "Static"
    body |= {} if address is None else {"private_ip_address": address}
    return body | {"private_ip_address_allocation": allocation}
