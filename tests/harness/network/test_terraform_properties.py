"""A plan that is broken anywhere, in any way, loads or gives one SnapshotError; never anything else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import SnapshotError
from harness.network.snapshot import network_from_resources
from harness.network.terraform import translation_of
from harness.network.terraform.traversal import Index, longest, steps
from harness.text import plain
from tests.harness.network.terraform_documents import Json, ref
from tests.harness.network.test_snapshot_properties import junk, mutate, places
from tests.harness.network.test_terraform import three_tiers

VALID = three_tiers()
PLACES = places(VALID)
EXPRESSIONS = [path for path in PLACES if path[-1] == "references"]

paths = st.sampled_from(
    ["azurerm_subnet.tier", "var.tiers", "each.value", "each.key", "count.index", "local.x", "module.db",
     "module.db.nic_id", "var.subnet_id", "data.azurerm_subscription.current.id", "[", "a[", 'a["', ""]
)  # fmt: skip
mutations = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(PLACES), st.sampled_from(["set", "delete", "delete", "double", "clear"]), junk
        ),
        st.tuples(st.sampled_from(EXPRESSIONS), st.just("set"), st.lists(paths, max_size=3)),
    ),
    min_size=1,
    max_size=3,
)


def load(document: Any) -> None:
    """Loads, or says well what is wrong."""
    try:
        translation = translation_of(document, "plan.json")
        network_from_resources(translation.resources, "plan.json")
        said = [*translation.notes, "plan.json: loads"]
    except SnapshotError as error:
        said = [error.message]
    assert said[-1].startswith("plan.json: ")
    assert all(plain(text) == text and text.encode() for text in said)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations)
def test_any_mutation_loads_or_says_where_it_is_wrong(
    changes: list[tuple[tuple[Any, ...], str, Any]],
) -> None:
    document = copy.deepcopy(VALID)
    for path, how, value in changes:
        mutate(document, path, how, value)
    load(document)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*VALID, "values", "version"]), junk))
def test_anything_at_all_as_a_document(document: Json) -> None:
    load(document)
    load({"format_version": "1.2"} | document)


def test_variables_and_outputs_that_go_in_a_circle() -> None:
    document = copy.deepcopy(VALID)
    call = document["configuration"]["root_module"]["module_calls"]["db"]
    call["expressions"]["subnet_id"] = ref("module.db.nic_id").expression()
    call["module"]["outputs"]["nic_id"] = {"expression": ref("var.subnet_id").expression()}
    with pytest.raises(SnapshotError, match=r"module\.db\.nic_id, module\.db leads to no"):
        translation_of(document, "plan.json")


def test_modules_in_modules_without_end() -> None:
    deep: Json = {}
    for _ in range(100_000):
        deep = {"child_modules": [{"address": "module.a"} | deep]}
    with pytest.raises(SnapshotError, match="nested too deeply"):
        translation_of({"format_version": "1.2", "values": {"root_module": deep}}, "plan.json")
    while "child_modules" in deep:
        deep = deep["child_modules"][0]  # freed level by level, so that the interpreter's stack is not needed


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
keys = st.one_of(st.integers(0, 999), st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"])))


@given(st.lists(st.tuples(names, st.none() | keys), min_size=1))
def test_paths_are_taken_apart_as_they_are_written(parts: list[tuple[str, str | int | None]]) -> None:
    text, expected = "", list[Any]()
    for name, index in parts:
        text += f".{name}" if text else name
        expected.append(name)
        if index is not None:
            quoted = (
                str(index)
                if isinstance(index, int)
                else '"' + index.replace("\\", "\\\\").replace('"', '\\"') + '"'
            )
            text += f"[{quoted}]"
            expected.append(Index(index))
    assert steps(text) == tuple(expected)
    # Terraform lists every path with its shorter forms
    forms = [text]
    while len(shorter := forms[-1].rpartition(".")[0]) > 0 and steps(shorter):
        forms.append(shorter)
    assert longest(forms) == [tuple(expected)]


@given(st.text())
def test_any_text_is_a_path_or_none(text: str) -> None:
    assert all(isinstance(step, str | Index) for step in steps(text))
