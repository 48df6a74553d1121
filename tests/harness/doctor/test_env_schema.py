"""The JSON schema of the environment file: the file's own keys, and what they are for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from harness import environment
from harness.doctor.env_schema import DIALECT, environment_schema


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return environment_schema()


def test_it_is_a_json_document_of_the_dialect_that_it_names(schema: dict[str, Any]) -> None:
    assert json.loads(json.dumps(schema))["$schema"] == DIALECT
    assert schema["required"] == ["machines"]


def test_keys_are_those_of_the_file(schema: dict[str, Any]) -> None:
    rule = schema["$defs"]["FlowRule"]
    assert {"from", "to", "port", "because"} <= set(rule["properties"])
    assert {"source", "target"}.isdisjoint(rule["properties"])
    assert set(rule["required"]) == {"from", "to"}


def test_unknown_keys_are_marked_everywhere(schema: dict[str, Any]) -> None:
    for name, model in (("Environment", schema), *schema["$defs"].items()):
        for part in model.get("anyOf", [model]):
            if "properties" in part:
                assert part["additionalProperties"] is False, name


def test_docstrings_are_descriptions(schema: dict[str, Any]) -> None:
    assert "Another machine of this file" in schema["$defs"]["Ssh"]["properties"]["jump"]["description"]
    assert "only with `expect: deny`" in schema["$defs"]["FlowRule"]["properties"]["because"]["description"]
    assert schema["$defs"]["Ssh"]["description"].startswith("How to log in by SSH.")
    for name, definition in schema["$defs"].items():
        model = getattr(environment, name, None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            assert definition["description"], name


def test_the_short_form_of_become(schema: dict[str, Any]) -> None:
    short, long = schema["$defs"]["Become"]["anyOf"]
    assert short == {"$ref": "#/$defs/BecomeMethod"}
    assert "password" in long["properties"]


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for item in node for found in references(item)] if isinstance(node, list) else []

    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]
