"""Reads ``nft -j list ruleset`` (and ``nft -a list ruleset`` for the rules' own text).

What these readers do not understand becomes an Unknown condition or action, never a guess.
Tables that iptables-nft keeps are left to :mod:`harness.guest.iptables`, because nft's JSON
hides their matches (``xt``). Source: libnftables-json(5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from harness.guest.ruleset import (
    PROTOCOL_NAMES,
    Action,
    AddressIn,
    Chain,
    Condition,
    DestinationTypeIn,
    FamilyIs,
    Hook,
    IcmpTypeIn,
    InterfaceIn,
    Not,
    PortIn,
    ProtocolIn,
    Rule,
    Ruleset,
    Side,
    StateIn,
    Unknown,
)

_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_ICMP_TYPES = {"echo-reply": 0, "echo-request": 8, "destination-unreachable": 3, "time-exceeded": 11}
_ICMPV6_TYPES = {
    "echo-request": 128,
    "echo-reply": 129,
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
}
_FAMILIES = {"ip": 4, "ip6": 6, "ipv4": 4, "ipv6": 6}
_SILENT = frozenset({"counter", "log", "mangle", "notrack", "ct helper", "comment"})


class NotAnswered(ValueError):
    """The text is no answer of ``nft -j list ruleset``."""


@dataclass(slots=True)
class _Tables:
    """What a rule may refer to by name: sets and maps, by (family, table, name)."""

    sets: dict[tuple[str, str, str], Sequence[Any]] = field(default_factory=dict)


def read_nftables(
    listing: str, texts: str = "", *, without: frozenset[tuple[str, str]] = frozenset()
) -> Ruleset:
    """The ruleset of ``nft -j list ruleset``; raises NotAnswered if ``listing`` is not that.

    ``texts`` is ``nft -a list ruleset`` of the same moment; ``without`` names (family, table)
    pairs to leave out.
    """
    try:
        document = json.loads(listing)
        items = document["nftables"]
        objects = [next(iter(item.items())) for item in items if item]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotAnswered(f"not an answer of nft -j: {error}") from error
    tables = _Tables()
    chains: dict[tuple[str, str, str], dict[str, Any]] = {}
    rules: dict[tuple[str, str, str], list[Rule]] = {}
    by_handle = _texts(texts)
    for kind, body in objects:
        if not isinstance(body, dict) or (body.get("family"), body.get("table")) in without:
            continue
        place = (str(body.get("family")), str(body.get("table")), str(body.get("name")))
        if kind in ("set", "map"):
            tables.sets[place] = body.get("elem", [])
        elif kind == "chain":
            chains[place] = body
    for kind, body in objects:
        if kind != "rule" or not isinstance(body, dict) or (body.get("family"), body.get("table")) in without:
            continue
        place = (str(body.get("family")), str(body.get("table")), str(body.get("chain")))
        text = by_handle.get((place[0], place[1], body.get("handle", -1)))
        rules.setdefault(place, []).extend(_read(body, place, tables, text))
    return Ruleset(tuple(_chain(place, body, tuple(rules.get(place, ()))) for place, body in chains.items()))


def _texts(listing: str) -> dict[tuple[str, str, int], str]:
    """(family, table, handle) -> the rule's text, from ``nft -a list ruleset``."""
    found: dict[tuple[str, str, int], str] = {}
    family = table = ""
    for line in listing.splitlines():
        head = re.match(r"table (\w+) (\S+) \{", line)
        if head:
            family, table = head.groups()
            continue
        rule = re.match(r"\s+(.*\S)\s+# handle (\d+)$", line)
        if rule and not rule.group(1).endswith("{"):
            found[family, table, int(rule.group(2))] = rule.group(1)
    return found


def _chain(place: tuple[str, str, str], body: Mapping[str, Any], rules: tuple[Rule, ...]) -> Chain:
    hook = body.get("hook")
    known = hook if hook in {h.value for h in Hook} else None
    # a nat chain translates, it does not filter; only where destinations are translated matters
    if body.get("type") == "nat":
        known = "nat-prerouting" if known == "prerouting" else None
    device = body.get("dev")
    devices = tuple(device) if isinstance(device, list) else (device,) if isinstance(device, str) else ()
    return Chain(
        *place,
        rules=rules,
        hook=Hook(known) if known else None,
        priority=_priority(body.get("prio", 0)),
        policy=Action.DROP if body.get("policy") == "drop" else Action.ACCEPT,
        devices=devices,
    )


def _priority(value: Any) -> int:
    return value if isinstance(value, int) else _PRIORITIES.get(str(value), 0)


def _read(
    body: Mapping[str, Any], place: tuple[str, str, str], tables: _Tables, text: str | None
) -> list[Rule]:
    """The rules of one nft rule; one of a shape that these readers have not met is unknown, not fatal."""
    try:
        return list(_rules(body, place, tables, text))
    except (AttributeError, KeyError, TypeError, ValueError):
        shown = text or json.dumps(body.get("expr"))
        return [Rule(shown, (Unknown(shown),), Action.UNKNOWN)]


def _rules(
    body: Mapping[str, Any], place: tuple[str, str, str], tables: _Tables, text: str | None
) -> Iterator[Rule]:
    """One nft rule; a verdict map becomes one rule for each of its elements."""
    conditions: list[Condition] = []
    action, target, reject_with, packets = Action.NONE, None, None, None
    expressions = body.get("expr", [])
    shown = text or json.dumps(expressions, separators=(",", ":"))
    for expression in expressions:
        (name, value), *_ = expression.items()
        if name == "match":
            conditions.extend(_match(value, place, tables))
        elif name == "counter" and isinstance(value, dict):
            packets = value.get("packets")
        elif name in ("accept", "drop", "return", "continue"):
            action = Action(name) if name != "continue" else Action.NONE
        elif name in ("jump", "goto"):
            action, target = Action(name), str(value.get("target"))
        elif name == "reject":
            action = Action.REJECT
            reject_with = (
                " ".join(str(v) for v in value.values())
                if isinstance(value, dict)
                else "icmp port-unreachable"
            )
        elif name == "vmap":
            for inner, (kind, inner_target) in _verdict_map(value, place, tables):
                yield Rule(shown, (*conditions, *inner), kind, inner_target, packets=packets)
            return
        elif name not in _SILENT:
            conditions.append(Unknown(f"{name} {json.dumps(value)}"))
            if name in ("queue", "xt", "dup", "fwd", "dnat", "redirect"):
                action = Action.UNKNOWN
    yield Rule(shown, tuple(conditions), action, target, reject_with, packets)


def _verdict_map(
    value: Mapping[str, Any], place: tuple[str, str, str], tables: _Tables
) -> Iterator[tuple[tuple[Condition, ...], tuple[Action, str | None]]]:
    elements = value.get("data")
    if isinstance(elements, str):
        elements = tables.sets.get((place[0], place[1], elements.lstrip("@")), [])
    if isinstance(elements, dict):
        elements = elements.get("set", [])
    for element in elements or []:
        if not (isinstance(element, list) and len(element) == 2 and isinstance(element[1], dict)):
            yield (Unknown(json.dumps(element)),), (Action.UNKNOWN, None)
            continue
        (verdict, argument), *_ = element[1].items()
        kind = Action(verdict) if verdict in {a.value for a in Action} else Action.NONE
        target = str(argument.get("target")) if isinstance(argument, dict) else None
        yield (
            _match({"op": "==", "left": value.get("key"), "right": element[0]}, place, tables),
            (kind, target),
        )


def _match(value: Mapping[str, Any], place: tuple[str, str, str], tables: _Tables) -> tuple[Condition, ...]:
    """The conditions of one match; ``tcp dport != 80`` says tcp as well, also when it is negated."""
    left, right, operator = value.get("left"), value.get("right"), value.get("op")
    if operator not in ("==", "!=", "in"):
        return (Unknown(json.dumps(value)),)
    if isinstance(right, str) and right.startswith("@"):
        right = {"set": tables.sets.get((place[0], place[1], right[1:]))}
    try:
        condition = _condition(left, list(_values(right)))
    except (AttributeError, KeyError, TypeError, ValueError):
        return (Unknown(json.dumps(value)),)
    if isinstance(condition, Unknown):
        return (condition,)
    return (*_implied(left), Not(condition) if operator == "!=" else condition)


def _implied(left: Any) -> tuple[Condition, ...]:
    """What a payload match demands of the packet before it looks at the field."""
    protocol = left.get("payload", {}).get("protocol") if isinstance(left, dict) else None
    if protocol in ("tcp", "udp", "icmp", "icmpv6"):
        return (ProtocolIn(frozenset({protocol})),)
    return (FamilyIs(_FAMILIES[protocol]),) if protocol in _FAMILIES else ()


def _values(right: Any) -> Iterator[Any]:
    """The single values of a right-hand side: a scalar, a set, elements with time-outs."""
    if isinstance(right, dict) and "set" in right:
        for item in right["set"]:
            yield from _values(item)
    elif isinstance(right, dict) and "elem" in right:
        yield from _values(right["elem"]["val"])
    elif isinstance(right, list):
        for item in right:
            yield from _values(item)
    else:
        yield right


def _condition(left: Any, values: list[Any]) -> Condition:
    if isinstance(left, dict) and "payload" in left and "field" in left["payload"]:
        protocol, name = left["payload"]["protocol"], left["payload"]["field"]
        if protocol in ("ip", "ip6") and name in ("saddr", "daddr"):
            return _addresses(Side.SOURCE if name == "saddr" else Side.DESTINATION, values)
        if protocol in ("tcp", "udp", "th") and name in ("sport", "dport"):
            return PortIn(
                Side.SOURCE if name == "sport" else Side.DESTINATION,
                tuple(_port_range(value) for value in values),
            )
        if protocol in ("icmp", "icmpv6") and name == "type":
            names = _ICMP_TYPES if protocol == "icmp" else _ICMPV6_TYPES
            return IcmpTypeIn(
                frozenset(value if isinstance(value, int) else names[value] for value in values)
            )
        if (protocol, name) in (("ip", "protocol"), ("ip6", "nexthdr")):
            return ProtocolIn(frozenset(_protocol(value) for value in values))
    if isinstance(left, dict) and "meta" in left:
        name = left["meta"]["key"]
        if name in ("iif", "iifname", "oif", "oifname"):
            return InterfaceIn(name.startswith("i"), tuple(str(value) for value in values))
        if name == "l4proto":
            return ProtocolIn(frozenset(_protocol(value) for value in values))
        if name in ("nfproto", "protocol") and len(values) == 1 and values[0] in _FAMILIES:
            return FamilyIs(_FAMILIES[values[0]])
    fib = left.get("fib", {}) if isinstance(left, dict) else {}
    if fib.get("result") == "type" and "daddr" in fib.get("flags", ()):
        return DestinationTypeIn(frozenset(str(value) for value in values))
    if isinstance(left, dict) and "ct" in left and left["ct"].get("key") == "state":
        return StateIn(frozenset(str(value) for value in values))
    return Unknown(json.dumps({"left": left, "right": values}))


def _protocol(value: Any) -> str:
    return PROTOCOL_NAMES.get(str(value), str(value))


def _port_range(value: Any) -> tuple[int, int]:
    if isinstance(value, dict) and "range" in value:
        first, last = value["range"]
        return int(first), int(last)
    return int(value), int(value)


def _addresses(side: Side, values: list[Any]) -> AddressIn:
    networks, ranges = [], []
    for value in values:
        if isinstance(value, dict) and "prefix" in value:
            networks.append(ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}", strict=False))
        elif isinstance(value, dict) and "range" in value:
            first, last = value["range"]
            ranges.append((ip_address(first), ip_address(last)))
        else:
            networks.append(ip_network(str(value)))
    return AddressIn(side, tuple(networks), tuple(ranges))
