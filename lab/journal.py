"""The faults that stand in a lab: written down before they are made, undone in reverse order.

One JSON file in the lab's folder, replaced atomically, so that any process can mend what
another one broke, also after a crash in the middle.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import AzreachError, InputError, UnknownNameError
from harness.model import Flow, Protocol
from lab.changes import Change, from_json, to_json
from lab.client import Lab
from lab.errors import LabError
from lab.faults import find_fault, site_of


@dataclass(frozen=True, slots=True)
class Entry:
    """One injected fault: its name, the flow it was made for, its changes in order."""

    fault: str
    flow: Flow
    changes: tuple[Change, ...]


def entries(lab: Lab) -> list[Entry]:
    """What stands in the lab, the oldest first."""
    path = _path(lab)
    if not path.exists():
        return []
    return [
        Entry(item["fault"], _flow(item["flow"]), tuple(from_json(change) for change in item["changes"]))
        for item in json.loads(path.read_text(encoding="utf-8"))
    ]


def make(lab: Lab, fault: str, flow: Flow) -> Entry:
    """Makes ``fault`` for ``flow``, written down first; if one change fails, all are taken back.

    Raises UnknownNameError for an unknown fault, InputError where it does not fit the flow or
    stands already, LabError where the lab refuses a change.
    """
    chosen = find_fault(fault)
    with _locked(lab):
        standing = entries(lab)
        if any((other.fault, other.flow) == (fault, flow) for other in standing):
            raise InputError(f"lab '{lab.name}': {fault} stands already for {flow}")
        entry = Entry(fault, flow, tuple(chosen.changes(site_of(lab, flow))))
        inject(lab, entry, standing)
    return entry


def inject(lab: Lab, entry: Entry, standing: list[Entry]) -> None:
    """Writes ``entry`` down after those that stand, then makes its changes, all or none."""
    _write(lab, [*standing, entry])
    try:
        for change in entry.changes:
            change.apply(lab)
    except BaseException:
        for change in reversed(entry.changes):
            with contextlib.suppress(AzreachError):  # what was not done yet cannot be undone
                change.revert(lab)
        _write(lab, standing)
        raise


def mend(lab: Lab, fault: str | None = None) -> list[Entry]:
    """Takes back ``fault``, or everything; returns what was mended, the newest first.

    Faults made after it are taken back first and made again afterwards, since theirs may stand
    on its changes. Raises UnknownNameError if ``fault`` does not stand in the lab, and LabError
    if something could not be undone; what could be, is.
    """
    with _locked(lab):
        standing = entries(lab)
        positions = [n for n, entry in enumerate(standing) if fault is None or entry.fault == fault]
        if fault is not None and not positions:
            names = ", ".join(entry.fault for entry in standing) or "none"
            raise UnknownNameError(
                f"lab '{lab.name}' has no fault '{fault}' to mend", hint=f"it has: {names}"
            )
        if not positions:
            return []
        chosen = [standing[position] for position in positions]
        later = [entry for n, entry in enumerate(standing) if n > positions[0] and n not in positions]
        problems = _unwind(lab, standing, positions[0])
    for entry in later:
        try:
            make(lab, entry.fault, entry.flow)
        except AzreachError as error:
            problems.append(f"{entry.fault} could not be made again: {error.message}")
    if problems:
        raise LabError("\n".join(problems))
    return chosen[::-1]


def _unwind(lab: Lab, standing: list[Entry], first: int) -> list[str]:
    """Takes back every fault from the newest to the one at ``first``; what could not be undone, in words."""
    problems = []
    while len(standing) > first:
        entry = standing.pop()
        for change in reversed(entry.changes):
            try:
                change.revert(lab)
            except AzreachError as error:
                problems.append(f"{entry.fault}: {error.message}")
        _write(lab, standing)
    return problems


def _flow(item: dict[str, Any]) -> Flow:
    return Flow(item["source"], item["target"], Protocol(item["protocol"]), item["port"], item["family"])


def _path(lab: Lab) -> Path:
    return lab.directory / "faults.json"


def _write(lab: Lab, standing: list[Entry]) -> None:
    document = [
        {
            "fault": entry.fault,
            "flow": asdict(entry.flow),
            "changes": [to_json(change) for change in entry.changes],
        }
        for entry in standing
    ]
    partial = _path(lab).with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    partial.rename(_path(lab))


@contextlib.contextmanager
def _locked(lab: Lab) -> Iterator[None]:
    with (lab.directory / "faults.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
