"""What ``azreach diff`` prints: the flows that open and close, and the objects that changed.

Text: for each set of changed objects what it opens or closes, the widest first, and one packet of it with
both networks' deciding rules. JSON, with keys that are stable:

- ``changed``: whether a flow opens or closes;
- ``flows``: a list, the openings first, of
  ``change`` (``opened`` or ``closed``), ``ports`` (``tcp/22 udp/53-54 icmp``, ``everything``; the target's
  own, behind what publishes it), ``count`` (pairs of ends), ``pairs`` (a list of ``from`` and ``to``,
  lists of ends: every one to every other; empty with ``--flows``), ``example`` (``from``, ``to``,
  ``protocol``, ``port``), ``before`` and ``after`` (what ``azreach explain --flows --jsonl`` prints of the
  example; where a network cannot explain it ``verdict`` and ``why`` alone) and ``objects`` (ids of the
  changed objects on its way);
- an end is a machine, ``ipConfiguration``, ``vm`` (id or null) and ``address``, or a part of the internet,
  ``internet`` (``all`` or ``part``), ``family`` (4 or 6) and ``prefixes`` (of a part);
- ``objects``: everything that differs as configuration: ``change`` (``added``, ``removed`` or
  ``changed``), ``id``, ``properties`` (``name``, ``before``, ``after``);
- ``unknown``: why of some flows to or from the internet nothing is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from harness.network.armids import parent, resource_type
from harness.network.model import short_name
from harness.policy.changes import ObjectChange
from harness.policy.difference import Change, FlowChange, Verdict
from harness.policy.document import summary_to_json
from harness.policy.places import Place
from harness.policy.rectangles import End
from harness.text import plain

_BLOCKS, _LINES, _ENDS, _OBJECTS = 20, 5, 6, 20
"""What is listed at most as text: sets of changed objects, changes for each, ends, objects."""


def print_json(
    changes: Sequence[FlowChange], objects: Sequence[ObjectChange], unknown: Sequence[str] = ()
) -> None:
    """One document; written flow by flow, since a big change is a big document."""
    # ASCII only: whatever a name holds, the terminal and the reader's encoding are safe from it
    click.echo(f'{{"changed": {json.dumps(bool(changes))},\n "flows": [', nl=False)
    for number, change in enumerate(changes):
        click.echo(("," if number else "") + "\n  " + json.dumps(_flow_document(change)), nl=False)
    rest = {"objects": [_object_document(item) for item in objects], "unknown": list(unknown)}
    click.echo("],\n " + json.dumps(rest, indent=1)[1:].strip())


def _flow_document(change: FlowChange) -> dict[str, Any]:
    example = change.example
    return {
        "change": change.change.value,
        "ports": str(change.ports),
        "count": change.count,
        "pairs": [
            {"from": [_end_document(end) for end in sources], "to": [_end_document(end) for end in targets]}
            for sources, targets in change.pairs
        ],
        "example": {
            "from": example.source,
            "to": example.target,
            "protocol": example.protocol.value,
            "port": example.port,
        },
        "before": _verdict_document(change.before),
        "after": _verdict_document(change.after),
        "objects": [item.id for item in change.objects],
    }


def _end_document(end: End) -> dict[str, Any]:
    if isinstance(end, Place):
        if end.everywhere:
            return {"internet": "all", "family": end.address.version, "prefixes": []}
        prefixes = [str(prefix) for prefix in end.prefixes]
        return {"internet": "part", "family": end.address.version, "prefixes": prefixes}
    configuration = end.configuration
    return {"ipConfiguration": configuration.id, "vm": end.nic.vm, "address": str(configuration.address)}


def _verdict_document(verdict: Verdict) -> dict[str, Any]:
    if verdict.explanation is None:
        return {"verdict": "allow" if verdict.allowed else "deny", "why": verdict.why}
    return summary_to_json(verdict.explanation)


def _object_document(item: ObjectChange) -> dict[str, Any]:
    properties = [{"name": name, "before": old, "after": new} for name, old, new in item.properties]
    return {"change": item.kind.value, "id": item.id, "properties": properties}


# -- text -------------------------------------------------------------------------------------------

Parts = tuple[tuple[str, str], ...]
"""Text and style: the pieces of a line."""


def print_text(
    changes: Sequence[FlowChange], objects: Sequence[ObjectChange], unknown: Sequence[str] = ()
) -> None:
    """For people who review a change; --json has everything that is cut here."""
    console = Console(highlight=False, soft_wrap=True)
    for parts in _text(changes, objects, unknown):
        console.print(Text.assemble(*((plain(text), style) for text, style in parts)))


def _text(
    changes: Sequence[FlowChange], objects: Sequence[ObjectChange], unknown: Sequence[str]
) -> Iterator[Parts]:
    blocks = _by_objects(changes)
    for block in blocks[:_BLOCKS]:
        yield from _block(block)
    if len(blocks) > _BLOCKS:
        left = sum(len(block) for block in blocks[_BLOCKS:])
        yield (
            (f"and {left:,} more changes by {len(blocks) - _BLOCKS:,} other reasons (--json has all)", "dim"),
        )
    if not changes:
        for item in objects[:_OBJECTS]:
            yield ((_object(item), ""),)
        if len(objects) > _OBJECTS:
            yield ((f"and {len(objects) - _OBJECTS:,} more objects (--json has all)", "dim"),)
    yield ((_summary(changes, objects, unknown), "bold"),)


def _by_objects(changes: Sequence[FlowChange]) -> list[list[FlowChange]]:
    """Changes in the same direction by the same objects together; in their order."""
    found: dict[tuple[object, ...], list[FlowChange]] = {}
    for change in changes:
        # one flow that was asked about stands by itself
        alone = id(change) if not change.pairs else None
        found.setdefault((change.change, change.objects, change.explained, alone), []).append(change)
    return list(found.values())


def _block(block: Sequence[FlowChange]) -> Iterator[Parts]:
    first = block[0]
    colour = "bold red" if first.change is Change.OPENED else "bold yellow"
    for change in block[:_LINES]:
        pairs = f"  ({_counted(change.count, 'pair')})" if change.pairs else ""
        yield (
            (f"{change.change.upper():<6}", colour),
            (f"  {change.ports}", "bold"),
            (f"  {_where(change)}", ""),
            (pairs, "dim"),
        )
    if len(block) > _LINES:
        count = sum(change.count for change in block[_LINES:])
        more = f"{len(block) - _LINES:,} more sets of ports, {_counted(count, 'pair')}"
        yield (("      ", ""), (f"  and {more}, by the same objects (--json has all)", "dim"))
    yield (("  example  ", "dim"), (_packet(first), ""))
    told = (("before", first.before), ("after", first.after)) if first.explained else ()
    for label, verdict in told:
        word = "allow" if verdict.allowed else "deny"
        yield ((f"  {label:<8} ", "dim"), (f"{word}: {verdict.why}", ""))
    for item in first.objects:
        yield (("  because  ", "dim"), (_object(item), ""))


def _where(change: FlowChange) -> str:
    if not change.pairs:
        return f"{change.example.source} -> {change.example.target}"
    groups = [f"{_names(sources)} -> {_names(targets)}" for sources, targets in change.pairs]
    more = f"; and {len(groups) - 2:,} more groups" if len(groups) > 2 else ""
    return "; ".join(groups[:2]) + more


def _packet(change: FlowChange) -> str:
    """The example as rules see it: its addresses, not the ids by which it was asked."""
    flow, found = change.example, change.after.explanation or change.before.explanation
    if found is None:
        return str(flow)
    port = "" if flow.port is None else f" port {flow.port}"
    return f"{flow.protocol} {found.source_address} -> {found.target_address}{port}"


def _object(item: ObjectChange) -> str:
    """``added securityRules nsg-web/allow-ssh``: enough of the id to find it."""
    kinds = (resource_type(item.id) or "").split("/")
    inside = f"{short_name(parent(item.id))}/" if len(kinds) > 2 else ""
    told = "; ".join(f"{name}: {_short(old)} -> {_short(new)}" for name, old, new in item.properties)
    return f"{item.kind} {kinds[-1]} {inside}{short_name(item.id)}" + (f" ({told})" if told else "")


def _short(value: str) -> str:
    return ", ".join(short_name(part) if part.startswith("/") else part for part in value.split(", "))


def _names(ends: Sequence[End]) -> str:
    names = list(dict.fromkeys(_label(end) for end in ends))
    more = f" and {len(names) - _ENDS:,} more" if len(names) > _ENDS else ""
    return ", ".join(names[:_ENDS]) + more


def _label(end: End) -> str:
    if isinstance(end, Place):
        return str(end)
    return short_name(end.nic.vm) if end.nic.vm else end.nic.name


def _summary(changes: Sequence[FlowChange], objects: Sequence[ObjectChange], unknown: Sequence[str]) -> str:
    opened = sum(change.count for change in changes if change.change is Change.OPENED)
    closed = sum(change.count for change in changes if change.change is Change.CLOSED)
    what = "pair" if all(change.pairs for change in changes) else "flow"
    told = "no flow changes"
    if changes:
        told = f"{_counted(opened, what)} open, {_counted(closed, what)} close"
    if unknown:
        told += ", as far as it can be told"
    return f"{told}; {_counted(len(objects), 'object')} changed"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"
