"""Security rules out of their ARM bodies, and the six default rules.

Of network security groups, of classic ones and of Azure Virtual Network Manager. Default rules:
azure-facts "NSG", table of the API's DefaultSecurityRuleList. Not for what a rule does to a packet
(:mod:`harness.policy.security`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import lru_cache

from harness.errors import SnapshotError
from harness.network.fields import REMEMBERED, Fields, parsed_ports, parsed_prefix, shown
from harness.network.security import SecurityAdminRule, SecurityRule
from harness.network.words import (
    ANY_PORT,
    Access,
    AddressSelector,
    AdminAccess,
    Direction,
    IPNetwork,
    PortRange,
    RuleProtocol,
    key,
)
from harness.text import plain

VIRTUAL_NETWORK = "VirtualNetwork"
INTERNET = "Internet"
AZURE_LOAD_BALANCER = "AzureLoadBalancer"
_CANONICAL_TAGS = {tag.lower(): tag for tag in (VIRTUAL_NETWORK, INTERNET, AZURE_LOAD_BALANCER)} | {
    # as classic groups spell them
    "virtual_network": VIRTUAL_NETWORK,
    "azure_loadbalancer": AZURE_LOAD_BALANCER,
}

TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_ANY_ADDRESS = frozenset({"*", "any"})

CUSTOM_PRIORITIES = (100, 4096)
ADMIN_PRIORITIES = (1, 4096)
"""Of security admin rules (the SDK's range)."""

_ANYTHING = AddressSelector(any=True)
_EVERY_PORT = (ANY_PORT,)
_ADDRESS_NAMES = {
    side: (f"{side}AddressPrefix", f"{side}AddressPrefixes", f"{side}ApplicationSecurityGroups")
    for side in ("source", "destination")
}
_PORT_NAMES = {side: (f"{side}PortRange", f"{side}PortRanges") for side in ("source", "destination")}
_PROTOCOLS = {word.value.lower(): word for word in RuleProtocol} | {
    "any": RuleProtocol.ANY,
    "all": RuleProtocol.ANY,
}
_DEFAULT_RULES: tuple[tuple[str, Direction, int, AddressSelector, AddressSelector, Access], ...] = tuple(
    (name, direction, priority, _ANYTHING if source == "*" else AddressSelector(tags=(source,)),
     _ANYTHING if target == "*" else AddressSelector(tags=(target,)), access)
    for name, direction, priority, source, target, access in (
        ("AllowVnetInBound", Direction.INBOUND, 65000, VIRTUAL_NETWORK, VIRTUAL_NETWORK, Access.ALLOW),
        ("AllowAzureLoadBalancerInBound", Direction.INBOUND, 65001, AZURE_LOAD_BALANCER, "*", Access.ALLOW),
        ("DenyAllInBound", Direction.INBOUND, 65500, "*", "*", Access.DENY),
        ("AllowVnetOutBound", Direction.OUTBOUND, 65000, VIRTUAL_NETWORK, VIRTUAL_NETWORK, Access.ALLOW),
        ("AllowInternetOutBound", Direction.OUTBOUND, 65001, "*", INTERNET, Access.ALLOW),
        ("DenyAllOutBound", Direction.OUTBOUND, 65500, "*", "*", Access.DENY),
    )
)  # fmt: skip


def default_rules(nsg_id: str) -> tuple[SecurityRule, ...]:
    """The six rules that every NSG has, for one that does not list them."""
    return tuple(
        SecurityRule(
            id=f"{nsg_id}/defaultSecurityRules/{name}",
            name=name,
            direction=direction,
            priority=priority,
            access=access,
            protocol=RuleProtocol.ANY,
            source=source,
            source_ports=(ANY_PORT,),
            destination=destination,
            destination_ports=(ANY_PORT,),
            default=True,
        )
        for name, direction, priority, source, destination, access in _DEFAULT_RULES
    )


def security_rule(rule_id: str, name: str, body: Fields, *, default: bool) -> SecurityRule:
    """One rule from its ``properties``."""
    # hidden and future default rules lie anywhere above the custom range
    priorities = (CUSTOM_PRIORITIES[1] + 1, 65535) if default else CUSTOM_PRIORITIES
    return _rule(rule_id, name, body, ("direction", "access"), priorities, default)


def classic_rule(rule_id: str, name: str, body: Fields) -> SecurityRule | None:
    """One rule of a classic group, None for a default one.

    Classic default rules have other names (``ALLOW VNET INBOUND``) and say the same as the six of
    :func:`default_rules`, which every group gets.
    """
    if body.flag("isDefault", default=False):
        return None
    return _rule(rule_id, name, body, ("type", "action"), CUSTOM_PRIORITIES, default=False)


def _rule(
    rule_id: str,
    name: str,
    body: Fields,
    words: tuple[str, str],
    priorities: tuple[int, int],
    default: bool,
) -> SecurityRule:
    """``words``: the properties that hold direction and access."""
    direction, access = words
    return SecurityRule(
        id=rule_id,
        name=name,
        direction=body.word(direction, Direction),
        priority=body.integer("priority", *priorities),
        access=body.word(access, Access),
        protocol=_protocol(body),
        source=_selector(body, "source"),
        source_ports=_ports(body, "source"),
        destination=_selector(body, "destination"),
        destination_ports=_ports(body, "destination"),
        default=default,
    )


GroupSpace = Callable[[Fields, str], tuple[IPNetwork, ...]]
"""The address space of the network group that a property of some fields names."""


class _PrefixType(StrEnum):
    """``addressPrefixType`` of a security admin rule's address."""

    IP_PREFIX = "IPPrefix"
    SERVICE_TAG = "ServiceTag"
    NETWORK_GROUP = "NetworkGroup"


def admin_rule(
    rule_id: str,
    name: str,
    body: Fields,
    *,
    default: bool,
    group: GroupSpace,
) -> SecurityAdminRule:
    """One security admin rule from its ``properties``; ``group`` knows network groups."""
    return SecurityAdminRule(
        id=rule_id,
        name=name,
        direction=body.word("direction", Direction),
        priority=body.integer("priority", *((1, 65535) if default else ADMIN_PRIORITIES)),
        access=body.word("access", AdminAccess),
        protocol=_protocol(body),
        source=_admin_selector(body, "sources", group),
        source_ports=_admin_ports(body, "sourcePortRanges"),
        destination=_admin_selector(body, "destinations", group),
        destination_ports=_admin_ports(body, "destinationPortRanges"),
    )


def _admin_selector(body: Fields, name: str, group: GroupSpace) -> AddressSelector:
    """An address list; one that is absent or empty means any."""
    found = list[AddressSelector]()
    for item in body.objects(name):
        text = item.text("addressPrefix")
        stated = item.word("addressPrefixType", _PrefixType) if item.has("addressPrefixType") else None
        if stated is _PrefixType.NETWORK_GROUP:
            found.append(AddressSelector(prefixes=group(item, "addressPrefix")))
        elif stated is _PrefixType.SERVICE_TAG and not TAG.fullmatch(text):
            item.fail("addressPrefix", f"'{shown(text)}' is no service tag")
        else:
            selector = _selected(text)
            if selector is None or (stated is _PrefixType.IP_PREFIX and selector.tags):
                item.fail("addressPrefix", f"'{shown(text)}' is no address prefix")
            found.append(selector)
    if not found or any(selector.any for selector in found):
        return _ANYTHING
    return _union(found)


def _admin_ports(body: Fields, name: str) -> tuple[PortRange, ...]:
    texts = body.texts(name)
    ranges = tuple(body.parse_ports(f"{name}[{number}]", text) for number, text in enumerate(texts))
    return ranges or _EVERY_PORT


def ordered_rules(
    nsg_id: str, custom: Iterable[SecurityRule], default: Iterable[SecurityRule], origin: str
) -> tuple[SecurityRule, ...]:
    """All rules of an NSG by priority, missing default ones added; refuses equal priorities."""
    rules, given = list(custom), list(default)
    listed = {rule.name.lower() for rule in given}
    rules += given + [rule for rule in default_rules(nsg_id) if rule.name.lower() not in listed]
    seen: dict[tuple[Direction, int], SecurityRule] = {}
    for rule in rules:
        other = seen.setdefault((rule.direction, rule.priority), rule)
        if other is not rule:
            raise SnapshotError(
                f"{origin}: {plain(nsg_id)}: rules '{shown(other.name)}' and '{shown(rule.name)}' have"
                f" the same priority {rule.priority} and direction {rule.direction}"
            )
    return tuple(seen[place] for place in sorted(seen))


def _protocol(body: Fields) -> RuleProtocol:
    """``protocol``, with the other words that Azure has for any."""
    protocol = _PROTOCOLS.get(body.text("protocol").lower())
    return body.word("protocol", RuleProtocol) if protocol is None else protocol


def _selector(body: Fields, side: str) -> AddressSelector:
    singular, plural, groups = _ADDRESS_NAMES[side]
    asgs = tuple(key(asg) for asg in body.references(groups)) if body.has(groups) else ()
    found = list[AddressSelector]()
    for number, text in enumerate(_both(body, singular, plural)):
        selector = _selected(text)
        if selector is None:
            place = _place(body, singular, plural, number)
            body.fail(place, f"'{shown(text)}' is no address prefix")
        found.append(selector)
    if asgs and found:
        body.fail(groups, "a rule cannot have address prefixes and application security groups on one side")
    if asgs:
        return AddressSelector(asgs=asgs)
    if not found:
        body.fail(singular, "the rule names no address, prefix, tag or application security group")
    return found[0] if len(found) == 1 else _union(found)


def _union(selectors: Sequence[AddressSelector]) -> AddressSelector:
    return AddressSelector(
        any(item.any for item in selectors),
        tuple(prefix for item in selectors for prefix in item.prefixes),
        tuple(dict.fromkeys(tag for item in selectors for tag in item.tags)),
    )


@lru_cache(REMEMBERED)
def _selected(text: str) -> AddressSelector | None:
    """What one text selects: any address, a tag or a prefix; None where it is none of them."""
    if text.lower() in _ANY_ADDRESS:
        return _ANYTHING
    if TAG.fullmatch(text):
        return AddressSelector(tags=(_CANONICAL_TAGS.get(text.lower(), text),))
    prefix = parsed_prefix(text)
    return None if prefix is None else AddressSelector(prefixes=(prefix,))


def _ports(body: Fields, side: str) -> tuple[PortRange, ...]:
    singular, plural = _PORT_NAMES[side]
    texts = _both(body, singular, plural)
    if not texts:
        body.fail(singular, "the rule names no port or port range")
    ranges = list[PortRange]()
    for number, text in enumerate(texts):
        ports = parsed_ports(text)
        if ports is None:
            ports = body.parse_ports(_place(body, singular, plural, number), text)
        ranges.append(ports)
    return tuple(ranges)


def _both(body: Fields, singular: str, plural: str) -> tuple[str, ...]:
    """ARM fills either the singular or the plural property and leaves the other empty."""
    one, many = body.optional_text(singular), body.texts(plural)
    return many if one is None else (one, *many)


def _place(body: Fields, singular: str, plural: str, number: int) -> str:
    """Where one of those texts stands; only errors need to know."""
    if body.optional_text(singular) is None:
        return f"{plural}[{number}]"
    return f"{plural}[{number - 1}]" if number else singular
