"""Ends: their names and places, and what a pattern means."""

from __future__ import annotations

import pytest

from harness.errors import UnknownNameError
from harness.predict.ends import End, chosen, labels_of
from harness.predict.prediction import predict
from tests.harness.network.builders import machine, network, nsg, vnet
from tests.harness.predict.networks import tiers_network

WEB = ["web-01", "web-02", "web-03"]


@pytest.fixture(scope="module")
def ends() -> tuple[End, ...]:
    return predict(tiers_network()).ends


def test_an_end_knows_its_place(ends: tuple[End, ...]) -> None:
    web = next(end for end in ends if end.name == "web-02")
    assert (web.address, web.nic, web.vnet, web.subnet, web.nsgs) == (
        "10.1.1.5", "nic-web-02", "prod", "prod/web", ("nsg-web",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["WEB-*"], WEB),
        (["nic-db-*"], ["db-01", "db-02"]),
        (["10.1.2.*"], ["app-01", "app-02", "fw"]),
        (["10.1.2.0/24", "jump-0[2-9]"], ["jump-02", "app-01", "app-02", "fw"]),
        (["10.1.3.4"], ["db-01"]),
        (["fw-1"], ["fw"]),
        # the order of tables: virtual network, subnet, name, address
        ([], ["jump-01", "jump-02", "app-01", "app-02", "fw", "db-01", "db-02", "fw", *WEB]),
    ],
)  # fmt: skip
def test_patterns(ends: tuple[End, ...], patterns: list[str], expected: list[str]) -> None:
    assert [ends[number].name for number in chosen(ends, patterns, "--from")] == expected


def test_a_pattern_that_means_nothing(ends: tuple[End, ...]) -> None:
    with pytest.raises(UnknownNameError, match=r"--to: 'x\\x1b' matches no VM, NIC or address") as caught:
        chosen(ends, ["web-*", "x\x1b"], "--to")
    assert "web-01" in caught.value.hint


def test_only_a_machine_with_several_addresses_is_told_with_its_address(ends: tuple[End, ...]) -> None:
    labels = set(labels_of(ends))
    assert {"web-01", "fw 10.1.1.100", "fw 10.1.2.100"} <= labels
    assert "fw" not in labels


def test_an_nsg_at_both_places_is_named_once_each() -> None:
    found = predict(
        network(
            vnet("v", "10.0.0.0/16", {"s": "10.0.0.0/24"}, nsgs={"s": "outer"}),
            nsg("outer"),
            nsg("inner"),
            machine("one", "v/s", "10.0.0.4", nsg="inner"),
            machine("two", "v/s", "10.0.0.5", nsg="outer"),
        )
    ).ends
    assert [end.nsgs for end in found] == [("outer", "inner"), ("outer",)]
