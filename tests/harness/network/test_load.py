"""One entrance for every format: each is told by its content and gives the same network."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lab
from harness.errors import InputError, SnapshotError
from harness.network.jsonfile import MAX_BYTES
from harness.network.load import load_network, load_sources, source_of
from harness.network.snapshot import network_from_resources, network_from_sources
from harness.policy.routing import effective_routes
from tests.harness.network.arm.everything import everything
from tests.harness.network.builders import Resource, vnet
from tests.harness.network.test_template import SCHEMA, exported

TOPOLOGIES = Path(lab.__file__).parent / "topologies"

DOCUMENTS: dict[str, Callable[[], Any]] = {
    "snapshot": lambda: {"resources": everything()},
    "list": everything,
    "page": lambda: {"value": everything(), "nextLink": None},
    "resource-graph": lambda: {"count": 1, "data": everything(), "skip_token": None, "total_records": 1},
    "template": lambda: {"$schema": SCHEMA, "resources": [exported(item) for item in everything()]},
}


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("name", DOCUMENTS)
def test_json_documents(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "network.json", DOCUMENTS[name]())
    assert load_network(path) == network_from_resources(everything(), "test")


def test_the_name_of_a_json_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "network"
    path.write_text("\ufeff\n" + json.dumps(everything()))
    assert load_network(path) == network_from_resources(everything(), "test")


def test_one_resource(tmp_path: Path) -> None:
    path = write(tmp_path / "v.json", vnet("v", "10.0.0.0/16", {}) | {"resources": None})
    assert [found.name for found in load_network(path).vnets.values()] == ["v"]


def by_type(resources: list[Resource]) -> dict[str, list[Resource]]:
    kinds = sorted(resources, key=lambda item: item["type"])
    return {kind.replace("/", "-"): list(items) for kind, items in groupby(kinds, lambda item: item["type"])}


def test_a_directory_of_lists(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not read")
    (tmp_path / "old.json").mkdir()
    for kind, items in by_type(everything()).items():
        write(tmp_path / f"{kind}.json", items)
    found, whole = load_network(tmp_path), network_from_resources(everything(), "test")
    assert found.nics == whole.nics
    assert found.admin_rules == whole.admin_rules
    assert found.cloud_services == whole.cloud_services
    assert set(found.unmodelled) == set(whole.unmodelled)


def test_errors_in_a_directory_name_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a.json", [vnet("v", "10.0.0.0/16", {})])
    write(tmp_path / "b.json", [vnet("w", "10.0.0/16", {})])
    with pytest.raises(SnapshotError, match="addressSpace") as raised:
        load_network(tmp_path)
    assert raised.value.message.startswith(f"{tmp_path / 'b.json'}: /subscriptions/")


def test_a_resource_in_two_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.json", [vnet("v", "10.0.0.0/16", {})])
    with pytest.raises(SnapshotError, match=r"b\.json: .*/v: two resources"):
        load_network(tmp_path)


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_lab_files(topology: Path) -> None:
    network = load_network(topology)
    assert network.vms
    assert all(effective_routes(network, nic) for nic in network.nics.values())


def test_a_lab_file_that_is_wrong_names_its_key(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("version: 1\nvnets: {v: {address_space: 10.0.0/8}}\nvms: {}\n")
    with pytest.raises(InputError, match=rf"{path}:2: vnets\.v\.address_space"):
        load_network(path)


def test_terraform(tmp_path: Path) -> None:
    state = {"format_version": "1.0", "values": {"root_module": {"resources": []}}}
    assert load_network(write(tmp_path / "state.json", state)).vms == {}


UNREADABLE: dict[str, tuple[str, str]] = {
    "empty.json": ("", "empty"),
    "empty": (" \n", "empty"),
    "words.txt": ("hello", "neither JSON nor a lab file"),
    "other.yaml": ("services: {}\n", "neither JSON nor a lab file"),
    "cut.json": ("[", "not JSON"),
    "yaml.json": ("vnets: {}", "not JSON"),
    "no-list.json": ('{"a": []}', "holds no list of ARM resources"),
    "no-list-2.json": ('{"resources": {}}', "holds no list of ARM resources"),
    "number.json": ("5", "holds no list of ARM resources"),
    "no-object.json": ("[5]", r"resources\[0\]: expected an object"),
    "deep.json": ('[{"id": "/a", "x": ' + "[" * 800 + "]" * 800 + "}]", "nested too deeply|is missing"),
}


@pytest.mark.parametrize(
    ("name", "text", "message"), [(n, *row) for n, row in UNREADABLE.items()], ids=UNREADABLE
)
def test_files_that_cannot_be_used(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SnapshotError, match=message) as raised:
        load_network(path)
    assert str(path) in raised.value.message


def test_places_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path / "a\x00b", tmp_path):
        with pytest.raises(SnapshotError):
            load_sources(path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a hole, not a gigabyte
    with pytest.raises(SnapshotError, match="larger than 1024 MiB"):
        load_network(path)


def test_a_directory_without_files_says_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"no \*\.json file") as raised:
        load_network(tmp_path)
    assert "az ... list" in raised.value.hint


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "name", "resources", "value", "data", "$schema", "format_version", "properties"]
            )
            | st.text(max_size=3),
            inner | st.just(SCHEMA),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_loads_or_says_what_it_is_not(document: Any) -> None:
    try:
        network_from_sources([source_of(document, "x.json")], "x.json")
    except InputError as error:
        message = error.message
    else:
        return
    assert message.startswith("x.json: ")
