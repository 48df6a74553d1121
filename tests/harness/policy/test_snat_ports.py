"""SNAT ports: the table, its limit, what an outbound rule may allocate, and what inbound rules take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.network.model import PortRange
from harness.policy.snat_ports import (
    DEFAULT_LIMIT,
    FRONTEND_PORTS,
    allocation_fault,
    default_ports,
    taken_ports,
)

pool_sizes = st.integers(1, 1_000)
frontend_counts = st.integers(1, 64)


@pytest.mark.parametrize(
    ("instances", "ports"),
    [
        (1, 1_024), (50, 1_024), (51, 512), (100, 512), (101, 256), (200, 256), (201, 128), (400, 128),
        (401, 64), (800, 64), (801, 32), (1_000, 32), (1_001, None),
    ],
)  # fmt: skip
def test_table(instances: int, ports: int | None) -> None:
    assert default_ports(instances, 1) == ports


def test_more_frontends_give_more_up_to_the_limit() -> None:
    assert [default_ports(100, count) for count in (1, 2, 3)] == [512, 1_024, 1_024]
    assert default_ports(1_000, 3) == 96


@given(pool_sizes, frontend_counts)
def test_no_instance_gets_more_than_the_limit(instances: int, frontends: int) -> None:
    ports = default_ports(instances, frontends)
    assert ports is not None
    assert 0 < ports <= DEFAULT_LIMIT
    assert ports % 8 == 0


@given(pool_sizes, frontend_counts)
def test_the_table_never_gives_out_more_than_there_is(instances: int, frontends: int) -> None:
    ports = default_ports(instances, frontends)
    assert ports is not None
    assert allocation_fault(ports, instances, frontends) is None


@given(pool_sizes, pool_sizes, frontend_counts)
def test_a_larger_pool_never_gives_more(one: int, other: int, frontends: int) -> None:
    small, large = sorted((one, other))
    few, many = default_ports(large, frontends), default_ports(small, frontends)
    assert few is not None
    assert many is not None
    assert few <= many


def test_zero_stands_for_the_table() -> None:
    assert allocation_fault(0, 1_000, 1) is None


def test_seven_times_ten_thousand_on_one_address() -> None:
    fault = allocation_fault(10_000, 7, 1)
    assert fault == (
        "7 instances x 10,000 ports = 70,000 are rejected by Azure: one public address gives 64,000"
    )
    assert allocation_fault(10_000, 7, 2) is None


def test_what_is_no_multiple_of_eight_is_rejected() -> None:
    assert (
        allocation_fault(1_001, 1, 1) == "1,001 ports per instance are rejected by Azure: not a multiple of 8"
    )


@given(st.integers(0, FRONTEND_PORTS), st.integers(1, 100), frontend_counts)
def test_rejected_is_what_does_not_divide_or_does_not_fit(ports: int, instances: int, frontends: int) -> None:
    fits = ports % 8 == 0 and instances * ports <= frontends * 64_000
    assert (allocation_fault(ports, instances, frontends) is None) is fits


def test_inbound_rules_leave_less() -> None:
    assert allocation_fault(64_000, 1, 1) is None
    fault = allocation_fault(64_000, 1, 1, taken=8)
    assert (
        fault
        == "1 instances x 64,000 ports = 64,000 are more than the 63,992 that inbound rules leave of 64,000"
    )


@pytest.mark.parametrize(
    ("ranges", "ports"),
    [
        ((), 0),
        ((PortRange(80, 80),), 8),
        ((PortRange(80, 80), PortRange(87, 87)), 8),
        ((PortRange(80, 80), PortRange(88, 88)), 16),
        ((PortRange(443, 443), PortRange(443, 443)), 8),
        ((PortRange(500, 519),), 24),
    ],
)
def test_each_rule_takes_its_block_of_eight(ranges: tuple[PortRange, ...], ports: int) -> None:
    assert taken_ports(ranges) == ports


@given(st.lists(st.integers(1, 65_535), max_size=20))
def test_rules_share_blocks(ports: list[int]) -> None:
    taken = taken_ports(PortRange(port, port) for port in ports)
    assert taken == 8 * len({port // 8 for port in ports})
