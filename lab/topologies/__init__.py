"""Lab files that come with azreach; ``azreach lab up NAME`` takes their names."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UnknownNameError

_DIRECTORY = Path(__file__).parent


def names() -> list[str]:
    """The names of all topologies."""
    return sorted(path.stem for path in _DIRECTORY.glob("*.yaml"))


def source_path(source: str | Path) -> Path:
    """The file of a topology's name, or the path as given; raises UnknownNameError if there is neither."""
    path = Path(source)
    if path.exists():
        return path
    if str(source) in names():
        return _DIRECTORY / f"{source}.yaml"
    raise UnknownNameError(
        f"{source}: no such file, and no topology of that name", hint=f"topologies: {', '.join(names())}"
    )
