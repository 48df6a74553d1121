"""What the linter says, and what a check is.

A check is a generator over a :class:`~harness.lint.survey.Survey`; its docstring is its
documentation: the first line is its title, the rest tells what is counted. Not for running
checks (:mod:`harness.lint.registry`) nor for printing findings.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.lint.survey import Survey


class Severity(StrEnum):
    """SARIF's levels. ERROR: traffic is lost or let in; WARNING: surely not meant; NOTE: worth a look."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 is the most severe."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Defect:
    """What a check found, at which object (ARM id) and which of its properties (ARM's path).

    ``related`` are ids of the other objects it takes; ``fix`` are Azure CLI commands: alternatives, or
    what is to be made anew after what is to be deleted. ``severity`` None is the check's own.
    """

    object_id: str
    reason: str
    property: str = ""
    related: tuple[str, ...] = ()
    fix: tuple[str, ...] = ()
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class LintFinding:
    """A defect, the check that found it (its id), and how severe it is."""

    check: str
    severity: Severity
    object_id: str
    property: str
    reason: str
    related: tuple[str, ...]
    fix: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """``id`` is ``<family>/<name>`` and never changes; ``severity`` is that of most of its findings."""

    id: str
    severity: Severity
    title: str
    description: str
    find: Callable[[Survey], Iterator[Defect]]

    def __call__(self, survey: Survey) -> Iterator[LintFinding]:
        for defect in self.find(survey):
            yield LintFinding(
                self.id, defect.severity or self.severity, defect.object_id, defect.property,
                defect.reason, defect.related, defect.fix,
            )  # fmt: skip


def check(identity: str, severity: Severity) -> Callable[[Callable[[Survey], Iterator[Defect]]], Check]:
    """Makes a :class:`Check` of a generator function."""

    def made(find: Callable[[Survey], Iterator[Defect]]) -> Check:
        title, _, rest = inspect.cleandoc(find.__doc__ or "").partition("\n")
        return Check(identity, severity, title, " ".join(rest.split()), find)

    return made
