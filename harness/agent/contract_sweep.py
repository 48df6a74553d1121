"""The contract of ``sweep``: thousands of connects, answered in columns (:mod:`harness.agent.contract`)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import Base64Bytes, Field

from harness.agent.contract import IcmpError
from harness.model import Outcome


@dataclass(frozen=True, slots=True)
class SweepGroup:
    """Targets of a ``sweep`` request: every address with every port, address after address."""

    addresses: tuple[str, ...]
    ports: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.addresses) * len(self.ports)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((address, port) for address in self.addresses for port in self.ports)


@dataclass(frozen=True, slots=True)
class SweepDetail:
    """What is known of one target beyond its outcome; only where there is something."""

    errno: str | None = None
    icmp: IcmpError | None = None
    detail: str | None = None
    retransmits: int = 0


SWEEP_OUTCOMES = {
    "c": Outcome.CONNECTED,
    "r": Outcome.REFUSED,
    "x": Outcome.RESET,
    "t": Outcome.TIMEOUT,
    "u": Outcome.UNREACHABLE,
    "p": Outcome.PROHIBITED,
    "n": Outcome.NO_ROUTE,
    "b": Outcome.BIND_ERROR,
}


@dataclass(frozen=True, slots=True)
class SweepAnswer:
    """``sweep`` as it is sent: columns in the targets' order.

    ``outcomes`` has a letter per target, ``rtt_us`` base64 of a little-endian 32-bit number per
    target (0: not measured); ``details`` and ``tries`` (where more than one) are by index.
    """

    outcomes: Annotated[str, Field(pattern=f"^[{''.join(SWEEP_OUTCOMES)}]*$")]
    rtt_us: Base64Bytes
    started: float
    ms: float
    processes: int
    details: Mapping[int, SweepDetail] = field(default_factory=dict)
    tries: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """A sweep's verdicts in the targets' order; ``rtt_ms`` (the kernel's) of connected ones only.

    ``details`` by index, where there are any; ``tries`` of targets that were tried more than
    once. ``ms`` is the time it took on the machine, in ``processes`` processes.
    """

    outcomes: tuple[Outcome, ...]
    rtt_ms: tuple[float | None, ...]
    details: Mapping[int, SweepDetail]
    tries: Mapping[int, int]
    started: float
    ms: float
    processes: int

    @classmethod
    def of(cls, answer: SweepAnswer) -> Self:
        """Raises ValueError where the columns are not equally long."""
        count = len(answer.outcomes)
        if len(answer.rtt_us) != 4 * count:
            raise ValueError(f"{len(answer.rtt_us) / 4:g} times for {count} outcomes")
        times = struct.unpack(f"<{count}I", answer.rtt_us)
        return cls(
            outcomes=tuple(map(SWEEP_OUTCOMES.__getitem__, answer.outcomes)),
            rtt_ms=tuple(time / 1000 if time else None for time in times),
            details=answer.details,
            tries=answer.tries,
            started=answer.started,
            ms=answer.ms,
            processes=answer.processes,
        )
