"""Reads ``iptables-save -c`` and ``ip6tables-save -c``.

What is not understood becomes an Unknown condition or action, never a guess. The text of a
rule is the line itself. Source: iptables(8), iptables-extensions(8).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from harness.guest.ruleset import (
    PROTOCOL_NAMES,
    Action,
    AddressIn,
    Chain,
    Condition,
    DestinationTypeIn,
    FamilyIs,
    FlagsAre,
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

# the filter tables and the priorities at which the kernel registers them
_PRIORITY = {"raw": -300, "nat": -100, "mangle": -150, "filter": 0, "security": 50}
_HOOKS = {
    "PREROUTING": Hook.PREROUTING,
    "INPUT": Hook.INPUT,
    "FORWARD": Hook.FORWARD,
    "OUTPUT": Hook.OUTPUT,
    "POSTROUTING": Hook.POSTROUTING,
}
_VERDICTS = {"ACCEPT": Action.ACCEPT, "DROP": Action.DROP, "REJECT": Action.REJECT, "RETURN": Action.RETURN}
# targets that let the packet go on to the next rule
_SILENT_TARGETS = frozenset(
    {
        "LOG",
        "NFLOG",
        "MARK",
        "CONNMARK",
        "TCPMSS",
        "CT",
        "NOTRACK",
        "CHECKSUM",
        "CLASSIFY",
        "DSCP",
        "TOS",
        "TTL",
        "HL",
    }
    | {"SET", "SECMARK", "CONNSECMARK", "TRACE", "AUDIT", "RATEEST", "ULOG"}
)


@dataclass(slots=True)
class _Draft:
    conditions: list[Condition] = field(default_factory=list)
    action: Action = Action.NONE
    target: str | None = None
    reject_with: str | None = None


def read_iptables(listing: str, version: int, *, origin: str = "iptables") -> Ruleset:
    """The filter-relevant tables of an ``iptables-save`` text; ``version`` is 4 or 6."""
    chains: list[Chain] = []
    table = ""
    policies: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {}
    for line in listing.splitlines():
        if line.startswith("*"):
            table, policies, rules = line[1:].strip(), {}, {}
        elif line.startswith(":"):
            name, policy = [*line[1:].split(), "-"][:2]
            policies[name] = policy
        elif line.startswith("COMMIT"):
            if table in _PRIORITY:
                chains.extend(_chains(table, version, policies, rules, origin))
        elif (found := re.match(r"(?:\[(\d+):\d+\] )?(-A (\S+).*)$", line)) is not None:
            counter, text, name = found.groups()
            rules.setdefault(name, []).append(_rule(text, version, int(counter) if counter else None))
    return Ruleset(tuple(chains))


def tables_in(listing: str) -> frozenset[str]:
    """Names of the tables that an ``iptables-save`` text holds."""
    return frozenset(re.findall(r"^\*(\S+)", listing, re.MULTILINE))


def _chains(
    table: str, version: int, policies: dict[str, str], rules: dict[str, list[Rule]], origin: str
) -> Iterator[Chain]:
    for name, policy in policies.items():
        yield Chain(
            family="ip" if version == 4 else "ip6",
            table=table,
            name=name,
            rules=tuple(rules.get(name, ())),
            hook=_hook(table, name),
            priority=_PRIORITY[table],
            policy=Action.DROP if policy == "DROP" else Action.ACCEPT,
            origin=origin,
        )


def _hook(table: str, name: str) -> Hook | None:
    """A NAT table filters nothing; of it only where destinations are translated matters."""
    if table == "nat":
        return Hook.NAT_PREROUTING if name == "PREROUTING" else None
    return _HOOKS.get(name)


def _rule(text: str, version: int, packets: int | None) -> Rule:
    draft = _Draft(conditions=[FamilyIs(version)])
    try:
        words = shlex.split(text)[2:]
    except ValueError:
        return Rule(text, (Unknown(text),), Action.UNKNOWN, packets=packets)
    negate = False
    position = 0
    while position < len(words):
        word = words[position]
        if word == "!":
            negate, position = True, position + 1
            continue
        arguments = _arguments(words, position)
        condition = _option(word, arguments, draft)
        if condition is not None:
            draft.conditions.append(
                Not(condition) if negate and not isinstance(condition, Unknown) else condition
            )
        negate, position = False, position + 1 + len(arguments)
    return Rule(text, tuple(draft.conditions), draft.action, draft.target, draft.reject_with, packets)


def _arguments(words: list[str], position: int) -> list[str]:
    """The words after an option up to the next option (a lone ``!`` belongs to the next one)."""
    if words[position] == "--comment":
        return words[position + 1 : position + 2]
    end = position + 1
    while end < len(words) and words[end] != "!" and not re.match(r"--?[a-z]", words[end]):
        end += 1
    return words[position + 1 : end]


def _option(word: str, arguments: list[str], draft: _Draft) -> Condition | None:
    value = arguments[0] if arguments else ""
    if word in ("-m", "--match", "--comment"):
        return None
    if word in ("-j", "-g", "--jump", "--goto"):
        _target(word, value, draft)
        return None
    if word == "--reject-with":
        draft.reject_with = value
        return None
    if draft.action is not Action.NONE or draft.target == "":
        return None  # options of a target, after -j
    try:
        return _condition(word, value, arguments)
    except ValueError:
        return Unknown(f"{word} {' '.join(arguments)}")


def _target(word: str, name: str, draft: _Draft) -> None:
    if name in _VERDICTS:
        draft.action = _VERDICTS[name]
    elif name in _SILENT_TARGETS:
        draft.target = ""
    elif name.isupper() and name in (
        "NFQUEUE",
        "QUEUE",
        "SYNPROXY",
        "TPROXY",
        "STEAL",
        "DNAT",
        "REDIRECT",
        "NETMAP",
    ):
        draft.action = Action.UNKNOWN
    else:
        draft.action, draft.target = (Action.GOTO if word in ("-g", "--goto") else Action.JUMP), name


def _condition(word: str, value: str, arguments: list[str]) -> Condition:
    match word:
        case "-p" | "--protocol":
            return ProtocolIn(frozenset({PROTOCOL_NAMES.get(value, value)}))
        case "-s" | "--source" | "-d" | "--destination":
            side = Side.SOURCE if word in ("-s", "--source") else Side.DESTINATION
            return AddressIn(side, tuple(ip_network(part, strict=False) for part in value.split(",")))
        case "--src-range" | "--dst-range":
            first, _, last = value.partition("-")
            side = Side.SOURCE if word == "--src-range" else Side.DESTINATION
            return AddressIn(side, ranges=((ip_address(first), ip_address(last or first)),))
        case "-i" | "--in-interface" | "-o" | "--out-interface":
            return InterfaceIn(word in ("-i", "--in-interface"), (value.replace("+", "*"),))
        case "--sport" | "--dport" | "--sports" | "--dports" | "--source-port" | "--destination-port":
            side = Side.SOURCE if word.startswith("--s") else Side.DESTINATION
            return PortIn(side, tuple(_port_range(part) for part in value.split(",")))
        case "--state" | "--ctstate":
            return StateIn(frozenset(part.lower() for part in value.split(",")))
        case "--tcp-flags":
            return FlagsAre(_flags(value), _flags(arguments[1] if len(arguments) > 1 else "NONE"))
        case "--icmp-type" | "--icmpv6-type":
            return _icmp_type(value)
        case "--dst-type":
            return DestinationTypeIn(frozenset(part.lower() for part in value.split(",")))
        case "--syn":
            return FlagsAre(frozenset({"fin", "syn", "rst", "ack"}), frozenset({"syn"}))
        case _:
            return Unknown(f"{word} {' '.join(arguments)}")


def _port_range(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    return int(first or 0), int((last or 65535) if colon else first)


def _icmp_type(text: str) -> Condition:
    """iptables-save writes types as numbers, ``type`` or ``type/code``."""
    return IcmpTypeIn(frozenset({int(text)})) if text.isdigit() else Unknown(f"icmp type {text}")


def _flags(text: str) -> frozenset[str]:
    if text == "ALL":
        return frozenset({"fin", "syn", "rst", "psh", "ack", "urg"})
    return frozenset() if text == "NONE" else frozenset(flag.lower() for flag in text.split(","))
