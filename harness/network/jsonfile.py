"""Reads a JSON file strictly: what is ambiguous or no JSON is an error that names file and line.

Refuses a key that stands twice in one object, NaN and Infinity. Knows nothing of what the file is about.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import SnapshotError
from harness.network.collection import collection_paused
from harness.network.fields import shown
from harness.text import plain

MAX_BYTES = 1 << 30


def read_json(path: Path) -> Any:
    """The document at ``path``; raises SnapshotError that says why it cannot be used."""
    origin = plain(str(path))
    return parse_json(read_text(path), origin)


def read_text(path: Path) -> str:
    """The text of ``path`` without a byte order mark; raises SnapshotError."""
    origin = plain(str(path))
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise SnapshotError(f"{origin}: {size >> 20} MiB, larger than {MAX_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise SnapshotError(f"{origin}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SnapshotError(f"{origin}: not UTF-8 text (byte {error.start})") from error
    except ValueError as error:
        # a path that no system call takes
        raise SnapshotError(f"{origin}: {error}") from error


def parse_json(text: str, origin: str) -> Any:
    """The document that ``text`` holds; ``origin`` names it in errors."""
    if not text.strip():
        raise SnapshotError(f"{origin}: the file is empty")

    def refuse(constant: str) -> NoReturn:
        raise SnapshotError(f"{origin}: {constant} is no JSON number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise SnapshotError(f"{origin}: the key '{shown(twice)}' stands twice in one object")
        return found

    try:
        with collection_paused():
            return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise SnapshotError(
            f"{origin}:{error.lineno}: not JSON: {error.msg} (column {error.colno})"
        ) from error
    except RecursionError:
        raise SnapshotError(f"{origin}: nested too deeply") from None
    except ValueError as error:
        # a number with more digits than Python converts
        raise SnapshotError(f"{origin}: not usable JSON: {error}") from error
