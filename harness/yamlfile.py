"""Reads a YAML file into a pydantic model; every error names file, line and key.

Used for environment files and lab files alike. Not for writing files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from harness.errors import InputError

if TYPE_CHECKING:
    from pydantic import BaseModel

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Model = TypeVar("Model", bound="BaseModel")

MAX_BYTES = 64 * 1024 * 1024
MAX_NESTING = 64


class PlacedError(ValueError):
    """For validators that look at several keys: names the one at fault by its path from the model."""

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.location = location


def read_text(path: Path) -> str:
    """The text of ``path``; raises InputError that says why it cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error


def load_model(path: Path, model: type[Model]) -> Model:
    """The file ``path`` as an instance of ``model``; raises InputError with file, line and key."""
    # here, not above: who only reads text need not wait for pydantic
    from pydantic import ValidationError

    node = _compose(path)
    if node is None:
        raise InputError(f"{path}: the file is empty")
    data = _construct(path, node)
    if not isinstance(data, dict):
        raise InputError(f"{path}:1: expected a mapping of keys, found {type(data).__name__}")
    try:
        return model.model_validate(data, context={"directory": path.parent.resolve()})
    except ValidationError as error:
        raise InputError("\n".join(_problem(path, node, item) for item in error.errors())) from error


def places(path: Path) -> Callable[[Sequence[str | int]], tuple[int, str]]:
    """Where a key of the file stands: maps its path from the root to its line (from 1) and dotted key."""
    root = _compose(path)

    def place(location: Sequence[str | int]) -> tuple[int, str]:
        return _locate(root, location) if root is not None else (1, ".".join(map(str, location)))

    return place


def _compose(path: Path) -> yaml.Node | None:
    text = read_text(path)
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.YAMLError as error:
        raise InputError(_yaml_problem(path, error)) from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply") from error
    finally:
        loader.dispose()


def _construct(path: Path, node: yaml.Node) -> Any:
    _refuse_duplicates_and_depth(path, node, 0, {})
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise InputError(_yaml_problem(path, error)) from error
    finally:
        loader.dispose()


def _refuse_duplicates_and_depth(path: Path, node: yaml.Node, depth: int, seen: dict[int, bool]) -> None:
    """YAML lets a later key silently replace an earlier one, and an alias contain itself."""
    line = node.start_mark.line + 1
    if depth > MAX_NESTING:
        raise InputError(f"{path}:{line}: nested too deeply")
    if id(node) in seen:
        if seen[id(node)]:
            raise InputError(f"{path}:{line}: an alias that contains itself")
        return
    seen[id(node)] = True
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key_node, value_node in node.value:
            name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else None
            if name in keys and name != "<<":
                raise InputError(f"{path}:{key_node.start_mark.line + 1}: key '{name}' stands twice")
            if name is not None:
                keys.add(name)
            _refuse_duplicates_and_depth(path, value_node, depth + 1, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates_and_depth(path, item, depth + 1, seen)
    seen[id(node)] = False


def _yaml_problem(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    return f"{path}:{mark.line + 1}: {what}" if mark is not None else f"{path}: {what}"


def _problem(path: Path, root: yaml.Node, item: Any) -> str:
    location: tuple[str | int, ...] = tuple(item["loc"])
    error = item.get("ctx", {}).get("error")
    if isinstance(error, PlacedError):
        location += error.location
    line, key = _locate(root, location)
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown key"
    elif item["type"] == "missing":
        message = "this key is required"
    return f"{path}:{line}: {key}: {message}" if key else f"{path}:{line}: {message}"


def _locate(node: yaml.Node, location: Sequence[str | int]) -> tuple[int, str]:
    """Line (from 1) and dotted key of a pydantic location, as deep as the file follows it."""
    line, names = node.start_mark.line + 1, []
    for part in location:
        step = _descend(node, part)
        if step is None:
            # a missing key is still worth naming; names of union branches are not
            if isinstance(node, yaml.MappingNode) and part == location[-1] and isinstance(part, str):
                names.append(part)
            continue
        node, line = step
        names.append(str(part))
    return line, ".".join(names)


def _descend(node: yaml.Node, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == str(part):
                return value_node, key_node.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item, item.start_mark.line + 1
    return None
