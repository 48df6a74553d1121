"""Files that are written whole or not at all: what was there before stays until the new one is complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.errors import InputError
from harness.text import plain


def check_writable(path: Path) -> None:
    """Raises InputError where ``path`` could not be written: better before the work than after it."""
    folder = path.resolve().parent
    if path.is_dir():
        raise InputError(f"{_name(path)}: it is a directory")
    if not is_stream(path) and not folder.is_dir():
        raise InputError(f"{_name(path)}: there is no directory {_name(folder)}")
    if not os.access(path if is_stream(path) else folder, os.W_OK):
        raise InputError(f"{_name(path)}: permission denied")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path to write to; at the end it becomes ``path``, if that is no stream. Raises InputError."""
    try:
        if is_stream(path):
            yield path
            return
        whole = path.resolve()
        draft = whole.with_name(f".{whole.name}.{os.getpid()}.part")
        try:
            yield draft
            draft.replace(whole)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{_name(path)}: {error.strerror or error}") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """The same, open for text in UTF-8 with line ends as they are written. A stream is continued."""
    with (
        replacing(path) as place,
        place.open("a" if is_stream(path) else "w", encoding="utf-8", newline="") as file,
    ):
        yield file


def is_stream(path: Path) -> bool:
    """A pipe, a device, or /dev/stdout, which may lead to a file that others write to: never replaced."""
    return path.absolute().parts[1:2] in (("dev",), ("proc",)) or (path.exists() and not path.is_file())


def _name(path: Path) -> str:
    return plain(str(path))
