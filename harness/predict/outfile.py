"""Files that are written whole or not at all: what was there before stays until the new one is complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path to write to; at the end it becomes ``path``, if that is no stream. Raises InputError."""
    try:
        if is_stream(path):
            yield path
            return
        path = path.resolve()
        draft = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            yield draft
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def is_stream(path: Path) -> bool:
    """A pipe, a device, or /dev/stdout, which may lead to a file that others write to: never replaced."""
    return path.absolute().parts[1:2] in (("dev",), ("proc",)) or (path.exists() and not path.is_file())


def members_path(path: Path) -> Path:
    """Where the members of the classes go: beside ``reach.csv`` in ``reach.members.csv``."""
    return path.with_name(f"{path.stem}.members{path.suffix}")
