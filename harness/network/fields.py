"""Reads typed values out of an ARM resource's JSON; every error names file, object and property.

For the loaders of this package. Knows JSON types, ids, addresses, prefixes and ports; knows
no resource type. ARM writes null for what is not set, so null counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache, lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, NoReturn, TypeVar

from harness.errors import SnapshotError
from harness.network.words import ANY_PORT, IPAddress, IPNetwork, PortRange
from harness.text import plain

_PREFIX = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_SHOWN = 80
REMEMBERED = 1 << 17
"""How many prefixes and port ranges are remembered: rules repeat them, and parsing is the slow part."""

Word = TypeVar("Word", bound=StrEnum)


def shown(value: object) -> str:
    """A value as an error message quotes it: one line, not longer than it helps."""
    text = plain(value if isinstance(value, str) else repr(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


class Fields:
    """One JSON object of a resource, and where it stands: file, object id, property path.

    A plain class, not a dataclass: a large snapshot has half a million of them.
    """

    __slots__ = ("origin", "owner", "path", "values")

    def __init__(self, values: Mapping[str, Any], origin: str, owner: str, path: str = "") -> None:
        self.values = values
        self.origin = origin
        self.owner = owner
        self.path = path

    def fail(self, name: str, problem: str, *, hint: str = "") -> NoReturn:
        """Raises SnapshotError: ``<file>: <object id>: <property>: <problem>``."""
        raise SnapshotError(f"{self.at(name)}: {problem}", hint=hint)

    def at(self, name: str = "") -> str:
        path = f"{self.path}.{name}" if self.path and name else self.path or name
        parts = (self.origin, plain(self.owner), plain(path))
        return ": ".join(part for part in parts if part)

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def nested(self, name: str) -> Fields:
        """A nested object; empty where it is absent."""
        value = self.values.get(name)
        return self._as_object(name, {} if value is None else value)

    def objects(self, name: str) -> Iterator[Fields]:
        """The objects of a list; none where it is absent."""
        for number, value in enumerate(self._list(name)):
            yield self._as_object(f"{name}[{number}]", value)

    def owned_by(self, owner: str) -> Fields:
        """The same object, named by its own id in errors."""
        return Fields(self.values, self.origin, owner)

    def text(self, name: str) -> str:
        """A string that must be there and must not be empty."""
        value = self.optional_text(name)
        if value is None:
            self.fail(name, "is missing" if self.values.get(name) is None else "is empty")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or None where it is absent or empty (ARM writes both)."""
        value = self.values.get(name)
        if value is None:
            return None
        return self._text(name, value) or None

    def texts(self, name: str) -> tuple[str, ...]:
        items = self._list(name)
        if not items:
            return ()
        return tuple(self._text(f"{name}[{number}]", value) for number, value in enumerate(items))

    def flag(self, name: str, default: bool) -> bool:
        value = self.optional_flag(name)
        return default if value is None else value

    def optional_flag(self, name: str) -> bool | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            self.fail(name, f"expected true or false, found {_kind(value)}")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        value = self.optional_integer(name, low, high)
        if value is None:
            self.fail(name, "is missing")
        return value

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(name, f"expected a whole number, found {_kind(value)}")
        if not low <= value <= high:
            self.fail(
                name, f"{shown(value) if abs(value) < 10**9 else 'the number'} is outside {low}..{high}"
            )
        return value

    def word(self, name: str, words: type[Word]) -> Word:
        """A member of an enumeration; ARM's own spelling differs in case between versions."""
        text = self.text(name)
        member: Word | None = _by_spelling(words).get(text.lower())
        if member is None:
            self.fail(name, f"'{shown(text)}' is none of {', '.join(words)}")
        return member

    def reference(self, name: str) -> str | None:
        """The id in ``{name: {"id": ...}}``, or None where it is absent."""
        value = self.values.get(name)
        if value is None:
            return None
        return self._as_object(name, value).arm_id()

    def references(self, name: str) -> tuple[str, ...]:
        return tuple(item.arm_id() for item in self.objects(name))

    def arm_id(self, name: str = "id") -> str:
        """The object's ``id``, or another property that holds an id."""
        text = self.text(name).strip()
        if text[:1] != "/" or not text.strip("/"):
            self.fail(name, f"'{shown(text)}' is no ARM id (they start with /subscriptions/)")
        return text

    def address(self, name: str) -> IPAddress:
        return self.parse_address(name, self.text(name))

    def optional_address(self, name: str) -> IPAddress | None:
        text = self.optional_text(name)
        return None if text is None else self.parse_address(name, text)

    def prefixes(self, name: str) -> tuple[IPNetwork, ...]:
        return tuple(
            self.parse_prefix(f"{name}[{number}]", text) for number, text in enumerate(self.texts(name))
        )

    def parse_address(self, name: str, text: str) -> IPAddress:
        address = _address(text)
        if address is None:
            self.fail(name, f"'{shown(text)}' is no IP address")
        return address

    def parse_prefix(self, name: str, text: str) -> IPNetwork:
        """A prefix or a single address; host bits are accepted, as Azure accepts them."""
        prefix = parsed_prefix(text)
        if prefix is None:
            self.fail(name, f"'{shown(text)}' is no address prefix")
        return prefix

    def parse_ports(self, name: str, text: str) -> PortRange:
        ports = parsed_ports(text)
        if ports is None:
            problem = "port range within 0-65535" if _PORTS.fullmatch(text) else "port, port range or *"
            self.fail(name, f"'{shown(text)}' is no {problem}")
        return ports

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            self.fail(name, f"expected a string, found {_kind(value)}")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                self.fail(name, "holds half of a surrogate pair, which is no text")
        return value

    def _list(self, name: str) -> Sequence[Any]:
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            self.fail(name, f"expected a list, found {_kind(value)}")
        return value

    def _as_object(self, name: str, value: object) -> Fields:
        # dict first: asking an abstract class takes its time
        if not isinstance(value, dict) and not isinstance(value, Mapping):
            self.fail(name, f"expected an object, found {_kind(value)}")
        return Fields(value, self.origin, self.owner, f"{self.path}.{name}" if self.path else name)


@cache
def _by_spelling(words: type[Word]) -> dict[str, Word]:
    return {word.value.lower(): word for word in words}


def _address(text: str) -> IPAddress | None:
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


@lru_cache(REMEMBERED)
def parsed_prefix(text: str) -> IPNetwork | None:
    """A prefix or a single address, host bits allowed; None where the text is neither."""
    try:
        return ip_network(text, strict=False) if _PREFIX.fullmatch(text) else None
    except ValueError:
        return None


@lru_cache(REMEMBERED)
def parsed_ports(text: str) -> PortRange | None:
    """``80``, ``80-90`` or ``*``; None where the text is none of them."""
    if text == "*":
        return ANY_PORT
    match = _PORTS.fullmatch(text)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return PortRange(first, last) if first <= last <= 65535 else None
