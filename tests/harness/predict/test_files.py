"""Rows in files: each is what explain says, all formats hold the same, and none is missing."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from harness.model import Flow, Protocol
from harness.network.model import Network
from harness.policy.compiled import compiled
from harness.policy.explain import explain
from harness.policy.portset import PortSet
from harness.predict import rows as rows_module
from harness.predict.ends import chosen
from harness.predict.files import (
    members_path,
    write_csv,
    write_json,
    write_members_csv,
    write_members_parquet,
    write_parquet,
)
from harness.predict.prediction import Prediction, predict
from harness.predict.rows import Rows, members, rows_of_classes, rows_of_ends
from tests.harness.network.builders import machine, network, vnet
from tests.harness.predict.networks import random_network, tiers_network

Key = tuple[str, str, str]


def all_pairs(prediction: Prediction) -> Rows:
    ends = chosen(prediction.ends, (), "--from")
    return rows_of_ends(prediction, ends, ends)


def as_csv(rows: Rows) -> list[dict[str, str]]:
    stream = io.StringIO()
    write_csv(stream, rows)
    stream.seek(0)
    return list(csv.DictReader(stream))


def as_json(rows: Rows) -> list[dict[str, Any]]:
    stream = io.StringIO()
    write_json(stream, rows, {"snapshot": "x"})
    document: dict[str, Any] = json.loads(stream.getvalue())
    assert document["snapshot"] == "x"
    return list(document["rows"])


def ranges_of(listed: list[dict[str, str]]) -> dict[Key, list[tuple[int, int]]]:
    found: dict[Key, list[tuple[int, int]]] = defaultdict(list)
    for row in listed:
        ports = (int(row["first_port"] or 0), int(row["last_port"] or 65535))
        found[row["source_address"], row["target_address"], row["protocol"]].append(ports)
    return found


@pytest.mark.parametrize("net", [tiers_network(), random_network(5, 12)], ids=["tiers", "random"])
def test_every_pair_is_as_explain_says(net: Network) -> None:
    """The bounds of every row pass, what is just outside does not, and a pair without rows passes nothing."""
    view = compiled(net, service_tags=None)
    prediction = predict(net)
    found = ranges_of(as_csv(all_pairs(prediction)))
    asked = 0
    for source, target in permutations(prediction.ends, 2):
        if source.machine == target.machine:
            assert not any((source.address, target.address, protocol) in found for protocol in Protocol)
            continue
        for protocol in Protocol:
            ranges = found.get((source.address, target.address, protocol.value), [])
            edges = {port for a, b in ranges for port in (a - 1, a, b, b + 1)} | {22, 443, 1433}
            for port in (
                sorted(edge for edge in edges if 1 <= edge <= 65535) if protocol.has_ports else [None]
            ):
                expected = explain(view, Flow(source.address, target.address, protocol, port)).allowed
                assert expected == (any(a <= port <= b for a, b in ranges) if port else bool(ranges)), (
                    source.name, target.name, protocol, port,
                )  # fmt: skip
                asked += 1
    assert asked > 1000


def test_columns_and_order() -> None:
    prediction = predict(tiers_network(), asked=PortSet(((22, 22), (80, 443)), icmp=True))
    ends = prediction.ends
    rows = rows_of_ends(
        prediction, chosen(ends, ["jump-01"], ""), chosen(ends, ["app-01", "web-01", "jump-*"], "")
    )
    stream = io.StringIO()
    write_csv(stream, rows)
    assert stream.getvalue().splitlines() == [
        "source,source_address,target,target_address,protocol,first_port,last_port",
        "jump-01,10.0.1.4,jump-02,10.0.1.5,tcp,22,22",
        "jump-01,10.0.1.4,jump-02,10.0.1.5,tcp,80,443",
        "jump-01,10.0.1.4,jump-02,10.0.1.5,icmp,,",
        "jump-01,10.0.1.4,app-01,10.1.2.4,icmp,,",
        "jump-01,10.0.1.4,web-01,10.1.1.4,tcp,22,22",
        "jump-01,10.0.1.4,web-01,10.1.1.4,tcp,80,80",
        "jump-01,10.0.1.4,web-01,10.1.1.4,tcp,443,443",
    ]
    assert rows.count == 7


@pytest.mark.parametrize("by_class", [False, True])
def test_csv_json_and_parquet_hold_the_same(
    by_class: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import parquet

    monkeypatch.setattr(rows_module, "BATCH", 50)
    prediction = predict(random_network(7))
    rows = rows_of_classes(prediction) if by_class else all_pairs(prediction)
    assert sum(1 for _ in rows.batches()) > 3
    path = tmp_path / "rows.parquet"
    write_parquet(path, rows)
    table = parquet.read_table(path)
    assert tuple(table.column_names) == rows.columns
    assert parquet.ParquetFile(path).num_row_groups > 3
    as_text = [{name: "" if v is None else str(v) for name, v in row.items()} for row in table.to_pylist()]
    assert as_json(rows) == table.to_pylist()
    assert as_csv(rows) == as_text
    assert len(as_text) == rows.count > 100
    assert {row["first_port"] is None for row in table.to_pylist() if row["protocol"] == "icmp"} == {True}


def test_classes_and_their_members_make_the_pairs(tmp_path: Path) -> None:
    from pyarrow import parquet

    prediction = predict(random_network(8))
    stream = io.StringIO()
    write_members_csv(stream, members(prediction))
    stream.seek(0)
    who: dict[str, list[str]] = defaultdict(list)
    for row in csv.DictReader(stream):
        who[row["class"]].append(row["address"])
    machines = {end.address: end.machine for end in prediction.ends}
    expanded = sorted(
        (source, target, row["protocol"], row["first_port"], row["last_port"])
        for row in as_csv(rows_of_classes(prediction))
        for source in who[row["source_class"]]
        for target in who[row["target_class"]]
        if machines[source] != machines[target]
    )
    assert expanded == sorted(
        (row["source_address"], row["target_address"], row["protocol"], row["first_port"], row["last_port"])
        for row in as_csv(all_pairs(prediction))
    )
    path = members_path(tmp_path / "reach.parquet")
    write_members_parquet(path, members(prediction))
    assert path.name == "reach.members.parquet"
    written = parquet.read_table(path).to_pylist()
    assert {str(row["class"]): row["address"] for row in written} == {c: own[-1] for c, own in who.items()}
    assert any(len(row["nsgs"]) == 2 for row in written)


def test_the_members_of_a_class_of_one_machine_are_not_asked_for_themselves() -> None:
    prediction = predict(tiers_network())
    rows = as_csv(rows_of_classes(prediction))
    of = {end.address: str(number) for number, end in members(prediction)}
    mine = {of["10.1.1.100"], of["10.1.2.100"]}
    alone = {name for name in mine if sum(other == name for other in of.values()) == 1}
    assert not any(row["source_class"] in alone and row["target_class"] in alone for row in rows)


def test_both_families() -> None:
    net = network(
        vnet("v", ["10.0.0.0/16", "fd00::/48"], {"s": ["10.0.0.0/24", "fd00::/64"]}),
        machine("one", "v/s", "10.0.0.4", "fd00::4"),
        machine("two", "v/s", "10.0.0.5", "fd00::5"),
    )
    prediction = predict(net, asked=PortSet(((22, 22),)))
    pairs = [(row["source_address"], row["target_address"]) for row in as_csv(all_pairs(prediction))]
    assert pairs == [
        ("10.0.0.4", "10.0.0.5"), ("10.0.0.5", "10.0.0.4"), ("fd00::4", "fd00::5"), ("fd00::5", "fd00::4"),
    ]  # fmt: skip
    assert {number for number, _ in members(prediction)} == {
        int(row[side])
        for row in as_csv(rows_of_classes(prediction))
        for side in ("source_class", "target_class")
    }


def test_too_many_rows_are_refused_before_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = all_pairs(predict(tiers_network()))
    monkeypatch.setattr(rows_module, "MAX_ROWS", rows.count)
    rows.check()
    monkeypatch.setattr(rows_module, "MAX_ROWS", rows.count - 1)
    with pytest.raises(InputError, match=f"the answer has {rows.count:,} rows, more than") as caught:
        rows.check()
    assert "--all" in caught.value.hint
