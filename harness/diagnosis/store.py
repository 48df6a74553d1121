"""Diagnoses of one run, made once per flow, shared by test modules and by xdist's workers.

One file per flow in a folder of the run's own; the first worker that asks makes it while
the others wait on its lock. The files hold pickles of our own frozen classes, in a folder
that only this user can write to; they are not a format to keep.
"""

from __future__ import annotations

import fcntl
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

from harness.model import Diagnosis, Flow


class DiagnosisStore:
    """A folder of diagnoses by flow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, flow: Flow, make: Callable[[], Diagnosis]) -> Diagnosis:
        """The stored diagnosis of ``flow``, or the one that ``make`` returns, which is then stored."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(repr(flow).encode()).hexdigest()
        path = self._folder / name
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                stored = pickle.loads(path.read_bytes())
                assert isinstance(stored, Diagnosis)
                return stored
            diagnosis = make()
            partial = path.with_suffix(".partial")
            partial.write_bytes(pickle.dumps(diagnosis))
            partial.rename(path)
            return diagnosis
