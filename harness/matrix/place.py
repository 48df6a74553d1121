"""Where the journal of a matrix lies: the file that was named, or one that goes when it is not needed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def new_journal_path() -> Path:
    """A new, empty file of this user: in the state directory (XDG), else among temporary files."""
    try:
        return _new_file(_state_directory())
    except (OSError, RuntimeError):  # no home, or none that can be written
        return _new_file(None)


def _state_directory() -> Path:
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = (given if given.is_absolute() else Path.home() / ".local" / "state") / "azreach"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _new_file(folder: Path | None) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="matrix-", suffix=".jsonl", dir=folder)
    os.close(descriptor)
    return Path(name)
