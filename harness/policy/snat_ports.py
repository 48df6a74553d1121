"""How many SNAT ports a way out gives: Azure's arithmetic, without any network.

Azure: load-balancer-outbound-connections (preallocation table, blocks of eight), outbound-rules
(what is rejected), nat-gateway-resource (ports per address). Ports are per transport protocol: the
same number serves TCP and UDP.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from harness.network.words import PortRange

FRONTEND_PORTS = 64_000
"""What each public address of a load balancer has for SNAT."""

NAT_GATEWAY_PORTS = 64_512
"""What each public address of a NAT gateway has, for all instances, on demand."""

BLOCK = 8
"""Ports are given, and taken by rules, in aligned blocks of this size."""

DEFAULT_LIMIT = 1_024
"""The most that an instance gets without an explicit allocation, however many frontends there are."""

_POOL_SIZES = (50, 100, 200, 400, 800, 1_000)
_PREALLOCATED = (1_024, 512, 256, 128, 64, 32)


def default_ports(instances: int, frontends: int) -> int | None:
    """Ports per instance of a pool of that size: MIN(table x frontends, 1,024).

    None for a pool beyond the end of the table (1,000 instances).
    """
    row = bisect_left(_POOL_SIZES, instances)
    if row == len(_POOL_SIZES):
        return None
    return min(_PREALLOCATED[row] * frontends, DEFAULT_LIMIT)


def taken_ports(published: Iterable[PortRange]) -> int:
    """How many ports of one frontend its load-balancing and inbound NAT rules take.

    Each takes the blocks that its frontend ports lie in; rules in the same block share it.
    """
    blocks = {block for ports in published for block in range(ports.first // BLOCK, ports.last // BLOCK + 1)}
    return len(blocks) * BLOCK


def allocation_fault(allocated: int, instances: int, frontends: int, taken: int = 0) -> str | None:
    """What is wrong with an outbound rule's ``allocatedOutboundPorts``; None if nothing is.

    ``taken`` are the ports of all its frontends together that other rules take. Zero stands for
    the default table and is never wrong.
    """
    if allocated % BLOCK:
        return f"{allocated:,} ports per instance are rejected by Azure: not a multiple of {BLOCK}"
    wanted, given = instances * allocated, frontends * FRONTEND_PORTS
    sum_ = f"{instances:,} instances x {allocated:,} ports = {wanted:,}"
    if wanted > given:
        return f"{sum_} are rejected by Azure: {_addresses(frontends)} {given:,}"
    if wanted > given - taken:
        return f"{sum_} are more than the {given - taken:,} that inbound rules leave of {given:,}"
    return None


def _addresses(count: int) -> str:
    return "one public address gives" if count == 1 else f"{count} public addresses give"
