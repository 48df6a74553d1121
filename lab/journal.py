"""The faults that stand in a lab: written down before they are made, undone in reverse order.

One JSON file in the lab's folder, replaced atomically, so that any process can mend what
another one broke, also after a crash in the middle.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UnknownNameError
from lab.changes import Change, from_json, to_json
from lab.client import Lab


@dataclass(frozen=True, slots=True)
class Entry:
    """One injected fault: its name, the flow it was made for (as text), its changes in order."""

    fault: str
    flow: str
    changes: tuple[Change, ...]


def entries(lab: Lab) -> list[Entry]:
    """What stands in the lab, the oldest first."""
    path = _path(lab)
    if not path.exists():
        return []
    return [
        Entry(item["fault"], item["flow"], tuple(from_json(change) for change in item["changes"]))
        for item in json.loads(path.read_text(encoding="utf-8"))
    ]


def inject(lab: Lab, entry: Entry) -> None:
    """Writes ``entry`` down, then makes its changes; if one fails, all of them are taken back."""
    with _locked(lab):
        _write(lab, [*entries(lab), entry])
        try:
            for change in entry.changes:
                change.apply(lab)
        except BaseException:
            for change in reversed(entry.changes):
                change.revert(lab)
            _write(lab, entries(lab)[:-1])
            raise


def mend(lab: Lab, fault: str | None = None) -> list[Entry]:
    """Takes back ``fault``, or everything; returns what was mended, the newest first.

    Raises UnknownNameError if ``fault`` does not stand in the lab.
    """
    with _locked(lab):
        standing = entries(lab)
        chosen = [entry for entry in standing if fault is None or entry.fault == fault]
        if fault is not None and not chosen:
            names = ", ".join(entry.fault for entry in standing) or "none"
            raise UnknownNameError(
                f"lab '{lab.name}' has no fault '{fault}' to mend", hint=f"it has: {names}"
            )
        chosen.reverse()
        for entry in chosen:
            for change in reversed(entry.changes):
                change.revert(lab)
            standing.remove(entry)
            _write(lab, standing)
    return chosen


def _path(lab: Lab) -> Path:
    return lab.directory / "faults.json"


def _write(lab: Lab, standing: list[Entry]) -> None:
    document = [
        {"fault": entry.fault, "flow": entry.flow, "changes": [to_json(change) for change in entry.changes]}
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
