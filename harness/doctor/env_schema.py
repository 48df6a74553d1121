"""The JSON schema of the environment file, for editors that complete and check while one types.

pydantic knows types and defaults; what the keys are for stands in the docstrings of
:mod:`harness.environment`, also those below single fields, which are read from its source. The
keys are those of the file (``from``, not ``source``).
"""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

from harness import environment
from harness.environment import Environment

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELINE = "# yaml-language-server: $schema="
"""The first line that makes an editor's YAML language server use a schema, before its path."""


def environment_schema() -> dict[str, Any]:
    """The whole schema, as it is printed."""
    schema = Environment.model_json_schema(by_alias=True)
    fields = _field_docstrings()
    definitions: dict[str, Any] = schema.get("$defs", {})
    for name, model in (("Environment", schema), *definitions.items()):
        if "description" in model:
            model["description"] = _prose(model["description"])
        for key, text in fields.get(name, {}).items():
            properties = model.get("properties", {})
            if key in properties:
                properties[key].setdefault("description", text)
    _allow_short_forms(definitions)
    rest = {key: value for key, value in schema.items() if key not in ("title", "$defs")}
    return {
        "$schema": DIALECT,
        "title": "azreach environment file",
        **rest,
        "$defs": definitions,
    }


def _allow_short_forms(definitions: dict[str, Any]) -> None:
    """``become: sudo`` is a mapping with one key; the validator that says so is not seen by pydantic."""
    become = definitions.get("Become")
    if become is not None:
        method = {"$ref": "#/$defs/BecomeMethod"}
        description = become.pop("description", None)
        long = {**become}
        become.clear()
        become.update({"title": "Become", "description": description, "anyOf": [method, long]})


def _field_docstrings() -> dict[str, dict[str, str]]:
    """Per class and key of the file, the text that stands below the field in the source."""
    tree = ast.parse(inspect.getsource(environment))
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    model = getattr(environment, node.name)
    for field, after in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            known = getattr(model, "model_fields", {}).get(field.target.id)
            alias = getattr(known, "alias", None) or field.target.id
            found[alias] = _prose(str(after.value.value))
    return found


def _prose(text: str) -> str:
    """A docstring on one line, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "`")).strip()
