"""Adds entries to the ``machines`` mapping of an environment file by editing its text.

Whatever stood in the file stays byte for byte, comments, order and line ends included: the new
text is the old one with one piece put in. The place is found from the parser's own marks, and
the result is parsed and compared before anybody gets it; a file in which no such place can be
found is refused. Pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from harness.errors import InputError

KEY = "machines"
STEP = 2
"""Columns of indentation for what stands below."""

# libyaml where it is there: a file of a thousand machines takes the other one seconds
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def scalar(text: str) -> str:
    """``text`` as a YAML scalar on one line: plain where that is safe beyond doubt, else double-quoted."""
    simple = (
        text.isascii() and text.replace("-", "").replace("_", "").replace(".", "").replace("/", "").isalnum()
    )
    if simple and not text.startswith("-") and _parse_scalar(text) == text:
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', width=1 << 30, allow_unicode=False)
    return quoted.rstrip("\n")


def block(value: Any, indent: int) -> list[str]:
    """The lines of a mapping in block style; what stands in its lists and below is written in flow style."""
    lines = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            lines += [f"{' ' * indent}{scalar(key)}:", *block(item, indent + STEP)]
        else:
            lines.append(f"{' ' * indent}{scalar(key)}: {flow(item)}")
    return lines


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(key)}: {flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(flow(item) for item in value)}]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else scalar(str(value))


def insert_machines(text: str, machines: Mapping[str, Any]) -> str:
    """``text`` with these machines added after those that it has; raises InputError where it cannot be."""
    old = _parse(text)
    if old is None:
        old = {}
    if not isinstance(old, dict) or not isinstance(old.get(KEY) or {}, dict):
        raise InputError(f"there is no mapping '{KEY}' to add to")
    for name in machines:
        if name in (old.get(KEY) or {}):
            raise InputError(f"there is a machine '{name}' already")
    wanted = {**old, KEY: {**(old.get(KEY) or {}), **_plain(machines)}}
    for at, piece in _candidates(text, machines):
        new = text[:at] + piece + text[at:]
        if _same(new, wanted):
            return new
    lines = "\n".join(block(machines, STEP))
    raise InputError(
        f"the mapping '{KEY}' is written in a way that cannot be added to without changing the rest",
        hint=f"add this by hand:\n{lines}",
    )


@dataclass(slots=True)
class _Place:
    """The root mapping, and ``machines`` in it: where they end, and how they are indented.

    ``*_end``: after the last thing in it (block style), or before the closing brace (flow style).
    """

    root_flow: bool = False
    root_column: int = 0
    root_end: int = 0
    has_key: bool = False
    flow: bool = False
    empty: bool = True
    column: int | None = None
    end: int = 0


def _candidates(text: str, machines: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Places and pieces to try, the most natural first."""
    newline = "\r\n" if "\r\n" in text else "\n"
    place = _Walk(text).place
    if place is None:  # nothing but comments
        yield len(text), _lines([f"{KEY}:", *block(machines, STEP)], text, len(text), newline)
        return
    if place.has_key and place.flow:
        inner = flow(machines)[1:-1]
        yield place.end, inner if place.empty else f", {inner}"
        yield place.end, f" {inner}"  # a comma stands there already
    elif place.has_key:
        column = place.column if place.column is not None else place.root_column + STEP
        lines = block(machines, column)
        # comments that are indented as the machines are belong to them
        after = _after_comments(text, _line_end(text, place.end), column)
        for at in dict.fromkeys((after, _line_end(text, place.end))):
            yield at, _lines(lines, text, at, newline)
    elif place.root_flow:
        inner = f"{KEY}: {flow(machines)}"
        yield place.root_end, f", {inner}"
        yield place.root_end, inner
    else:
        lines = [f"{' ' * place.root_column}{KEY}:", *block(machines, place.root_column + STEP)]
        at = _line_end(text, place.root_end)
        for position in dict.fromkeys((_after_comments(text, at, place.root_column), at)):
            yield position, _lines(lines, text, position, newline)


class _Walk:
    """Walks the parser's events, which have marks of their own for every alias and every empty value.

    Nodes would not do: an alias has the marks of what it stands for, and the end of a block is
    where the next thing begins, comments between them included.
    """

    def __init__(self, text: str) -> None:
        self.place: _Place | None = None
        self._text = text
        self._depth = 0
        self._key: str | None = None
        self._expects_key = True
        self._inside = False
        self._last = 0
        """The end of the last thing that stands in the text."""
        for event in _events(text):
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._start(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._end(event)
            elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
                self._leaf(event)

    def _start(self, event: Any) -> None:
        self._depth += 1
        if self._depth == 1:
            self.place = _Place(bool(event.flow_style), event.start_mark.column)
        elif self.place is None:
            return
        elif self._depth == 2 and self._key == KEY:
            self._inside = self.place.has_key = True
            self.place.flow = bool(event.flow_style)
            if event.anchor is None and event.tag is None:
                # where its first key begins, "? key" too; with an anchor it begins there
                self.place.column = event.start_mark.column
        elif self._inside:
            self.place.empty = False

    def _end(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        if self._text[start:end] in ("}", "]"):
            self._last = end
        if self.place is not None and self._depth == 2 and self._inside:
            self.place.end = start if self.place.flow else self._last
            self._inside = False
        elif self.place is not None and self._depth == 1:
            self.place.root_end = start if self.place.root_flow else self._last
        self._depth -= 1
        self._expects_key = self._depth == 1

    def _leaf(self, event: Any) -> None:
        self._last = event.end_mark.index
        if self.place is None:
            return
        if self._inside:
            self.place.empty = False
            if self._depth == 2 and self.place.column is None:
                self.place.column = event.start_mark.column
        elif self._depth == 1 and self._expects_key:
            self._key = getattr(event, "value", None)
            self._expects_key = False
        elif self._depth == 1:
            if self._key == KEY:  # "machines:" with nothing after it
                self.place.has_key, self.place.end = True, self._last
            self._expects_key = True


def _events(text: str) -> Iterator[Any]:
    loader = _Loader(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _line_end(text: str, at: int) -> int:
    """After the line in which ``at`` is; ``at`` itself where a line begins there."""
    if at > 0 and text[at - 1] == "\n":
        return at
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _after_comments(text: str, at: int, column: int) -> int:
    """After the comment lines that follow and are indented at least as far, blank lines between included."""
    end = at
    while at < len(text):
        stop = text.find("\n", at) + 1 or len(text)
        line = text[at:stop]
        words = line.lstrip(" ")
        if words.startswith("#") and len(line) - len(words) >= max(column, 1):
            end = stop
        elif words.strip():
            break
        at = stop
    return end


def _lines(lines: list[str], text: str, at: int, newline: str) -> str:
    """The lines as a piece to put in at ``at``, which is at the begin of a line or at the text's end."""
    before = newline if at > 0 and text[at - 1] != "\n" else ""
    return before + newline.join(lines) + newline


def _parse(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise InputError(f"not YAML: {getattr(error, 'problem', None) or error}") from error
    finally:
        loader.dispose()


def _parse_scalar(text: str) -> Any:
    try:
        return _parse(text)
    except InputError:
        return None


def _same(text: str, wanted: Any) -> bool:
    """Whether the text says exactly what is wanted, in that order."""
    try:
        found = _parse(text)
    except InputError:
        return False
    try:
        return bool(found == wanted) and list(found[KEY]) == list(wanted[KEY])
    except RecursionError:
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
