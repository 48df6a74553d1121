"""The nft script that turns one program of the fabric into another.

Pure text, touching what differs and never the flow state. Not for what a program says (``program``),
nor for running nft (``nftables``).
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.program import Program
from lab.ruleset import INGRESS, ContainerKind

TABLE = "netdev fabric"
BASE_CHAIN = "ingress"
ANCHOR = "lo"
"""A link that is always there, so that the base chain does not vanish with its last port."""
MAX_DEVICES = 200
"""More than 255 devices in one statement are refused (EFBIG)."""
MAX_ELEMENTS = 500
"""In one statement, so that no step is too large to be sent by itself."""


def transaction(old: Program | None, new: Program) -> str:
    """The nft script that turns ``old`` (None: nothing at all) into ``new``.

    Touches what differs, and never the flow state. A link that is gone has left the base chain by
    itself. Empty when nothing differs.
    """
    return "".join(steps(old, new))


def steps(old: Program | None, new: Program) -> list[str]:
    """The same script in pieces that may also be run one after the other, in this order.

    No step leaves a chain without its rules, or an element of both programs missing.
    """
    before = old or Program({}, {}, frozenset(), {})
    gone = [name for name in before.chains if name not in new.chains]
    parts: list[tuple[str, ...]] = [] if old else [(f"add table {TABLE}",)]
    parts += [(line,) for line in _declarations(before, new)]
    for name, rules in new.chains.items():
        known = before.chains.get(name, ())
        if known != rules:
            flush = (f"flush chain {TABLE} {name}",) if known else ()
            parts.append((*flush, *(f"add rule {TABLE} {name} {rule}" for rule in rules)))
    parts += _element_changes(before, new)
    # what goes refers to each other, so that all is emptied before any is deleted
    parts += [(f"flush chain {TABLE} {name}",) for name in gone if before.chains[name]]
    parts += [(f"delete chain {TABLE} {name}",) for name in gone]
    parts += [
        (f"delete {container.kind} {TABLE} {name}",)
        for name, container in before.containers.items()
        if name not in new.containers
    ]
    parts += [(line,) for line in _hooks(sorted(new.links - before.links))]
    if old is None:
        parts.append((*_hooks([ANCHOR]), *(f"add rule {TABLE} {BASE_CHAIN} {rule}" for rule in INGRESS)))
    return ["".join(f"{line}\n" for line in part) for part in parts]


def _declarations(old: Program, new: Program) -> Iterator[str]:
    # chains first: nft sends the elements of a new interval map along with its declaration
    for name in new.chains:
        if name not in old.chains:
            yield f"add chain {TABLE} {name}"
    for name, container in new.containers.items():
        known = old.containers.get(name)
        if known is None:
            yield f"add {container.kind} {TABLE} {name} {{ {container.declaration} }}"
        else:
            assert known.declaration == container.declaration, f"{name} cannot change what it holds"


def _element_changes(old: Program, new: Program) -> Iterator[tuple[str, ...]]:
    """Elements to delete and to add; one with another value is both."""
    for name in dict.fromkeys((*old.containers, *new.containers)):
        before, after = (side.containers.get(name) for side in (old, new))
        if after is None and before is not None and before.kind is ContainerKind.SET:
            continue  # goes as a whole; a map's elements hold references to chains
        had = {} if before is None or before.dynamic else before.elements
        gets = {} if after is None or after.dynamic else after.elements
        differing = [
            element
            for element in dict.fromkeys((*had, *gets))
            if had.get(element, "") != gets.get(element, "")
        ]
        for start in range(0, len(differing), MAX_ELEMENTS):
            piece = differing[start : start + MAX_ELEMENTS]
            lines = {
                "delete": [element for element in piece if element in had],
                "add": [_element(element, gets[element]) for element in piece if element in gets],
            }
            yield tuple(
                f"{verb} element {TABLE} {name} {{ {', '.join(words)} }}"
                for verb, words in lines.items()
                if words
            )


def _element(element: str, value: str | None) -> str:
    return element if value is None else f"{element} : {value}"


def _hooks(links: list[str]) -> Iterator[str]:
    """Adds links to the base chain; repeating the declaration with other devices is how nft adds them."""
    for start in range(0, len(links), MAX_DEVICES):
        devices = ", ".join(links[start : start + MAX_DEVICES])
        hook = f"type filter hook ingress devices = {{ {devices} }} priority 0;"
        yield f"add chain {TABLE} {BASE_CHAIN} {{ {hook} }}"
