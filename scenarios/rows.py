"""Scenarios as rows of a table: the fault, the flow that it breaks, the cause that must be found."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model import Cause, Flow
from harness.target import parse_flow


@dataclass(frozen=True, slots=True)
class Scenario:
    """``fault`` is a name of `azreach lab faults`; ``source`` and ``target`` as on the command line."""

    fault: str
    cause: Cause
    source: str = "web-01"
    target: str = "db-01:1433/tcp"
    topology: str = "three-tier"
    family: int | None = None
    name: str = ""
    """The id, where the fault's name alone is not unique in its module."""

    @property
    def flow(self) -> Flow:
        return parse_flow(self.source, self.target, family=self.family)

    @property
    def id(self) -> str:
        return self.name or self.fault


@dataclass(frozen=True, slots=True)
class Healthy:
    """A topology in which nothing is broken: every flow that it declares does what is declared."""

    topology: str

    @property
    def id(self) -> str:
        return self.topology
