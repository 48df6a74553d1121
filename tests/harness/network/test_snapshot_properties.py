"""A snapshot that is broken anywhere, in any way, loads or gives one SnapshotError; never anything else."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import AzreachError, SnapshotError
from harness.model import Flow, Protocol
from harness.network.model import Network
from harness.network.snapshot import network_from_resources
from harness.policy.explain import explain
from harness.text import plain
from tests.harness.network.arm.everything import everything
from tests.harness.network.test_snapshot import valid

VALID, EVERYTHING = valid(), everything()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON document below its top."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    found = []
    for step, child in children:
        found += [(*path, step), *places(child, (*path, step))]
    return found


PLACES = places(VALID)
PLACES_OF_EVERYTHING = places(EVERYTHING)
TEXTS = sorted({v for v in (json.dumps(EVERYTHING).replace("\\", "").split('"')) if v.strip(" ,:[]{}")})

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    st.text(max_size=20),
    st.sampled_from(TEXTS),
    st.sampled_from(
        [
            "",
            "*",
            "10.0.0.0/8",
            "::/0",
            "/",
            "//",
            "/a/providers/b/c/d",
            "80-79",
            "0.0.0.0",
            "\x1b[2J",
            "\u202e",
            "\ud800",
            "9" * 400,
            "1.2.3.4/-1",
            "fe80::1%eth0",
        ]
    ),
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "name", "properties", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def mutate(document: Any, path: tuple[Any, ...], how: str, value: Any) -> None:
    for step in path[:-1]:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return  # an earlier mutation took that place away
    last = path[-1]
    try:
        if how == "set":
            document[last] = value
        elif how == "delete":
            del document[last]
        elif how == "double" and isinstance(document, list):
            document.append(copy.deepcopy(document[last]))
        elif how == "clear":
            document[last] = type(document[last])()
    except (KeyError, IndexError, TypeError):
        return


def loaded(resources: list[Any]) -> Network | None:
    """The network, or None where loading says well what is wrong."""
    try:
        return network_from_resources(resources, "snap.json")
    except SnapshotError as error:
        message = error.message
    assert message.startswith("snap.json: ")
    assert message.encode()
    assert plain(message) == message
    return None


Mutation = tuple[tuple[Any, ...], str, Any]


def mutations(of: list[tuple[Any, ...]]) -> st.SearchStrategy[list[Mutation]]:
    how = st.sampled_from(["set", "set", "delete", "double", "clear"])
    return st.lists(st.tuples(st.sampled_from(of), how, junk), min_size=1, max_size=3)


@settings(max_examples=1800, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations(PLACES))
def test_any_mutation_loads_or_says_where_it_is_wrong(changes: list[Mutation]) -> None:
    resources = copy.deepcopy(VALID)
    for path, how, value in changes:
        mutate(resources, path, how, value)
    network = loaded(resources)
    if network is None:
        return
    # what loads can be explained: allow, deny, or an error of ours
    for vm in network.vms:
        with contextlib.suppress(AzreachError):
            explain(network, Flow(vm, "10.0.2.4", Protocol.TCP, 80))


@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations(PLACES_OF_EVERYTHING))
def test_any_mutation_of_everything_loads_or_says_where_it_is_wrong(changes: list[Mutation]) -> None:
    resources = copy.deepcopy(EVERYTHING)
    for path, how, value in changes:
        mutate(resources, path, how, value)
    loaded(resources)


@settings(max_examples=300, deadline=None)
@given(junk)
def test_anything_at_all_as_a_resource(value: Any) -> None:
    for resources in ([value], [*VALID, value]):
        loaded(resources)


def test_deep_nesting_inside_a_property() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    resources = copy.deepcopy(VALID)
    resources[2]["properties"]["securityRules"] = deep
    with pytest.raises(SnapshotError):
        network_from_resources(resources, "snap.json")
    for _ in range(100_000):
        deep = deep[0]  # freed level by level, so that the interpreter's stack is not needed
