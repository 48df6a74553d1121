"""Security rules and user-defined routes out of their ARM bodies, and the six default rules.

Default rules: azure-facts "NSG", table of the API's DefaultSecurityRuleList. Not for what a
rule does to a packet (:mod:`harness.policy.security`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.errors import SnapshotError
from harness.network.fields import Fields, shown
from harness.network.model import (
    ANY_PORT,
    Access,
    AddressSelector,
    Direction,
    IPNetwork,
    NextHopType,
    PortRange,
    Route,
    RuleProtocol,
    SecurityRule,
    ServiceTagRoute,
    key,
)
from harness.text import plain

VIRTUAL_NETWORK = "VirtualNetwork"
INTERNET = "Internet"
AZURE_LOAD_BALANCER = "AzureLoadBalancer"
_CANONICAL_TAGS = {tag.lower(): tag for tag in (VIRTUAL_NETWORK, INTERNET, AZURE_LOAD_BALANCER)}

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_ANY_ADDRESS = frozenset({"*", "any"})

CUSTOM_PRIORITIES = (100, 4096)

_ANYTHING = AddressSelector(any=True)
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
    low, high = (CUSTOM_PRIORITIES[1] + 1, 65535) if default else CUSTOM_PRIORITIES
    return SecurityRule(
        id=rule_id,
        name=name,
        direction=body.word("direction", Direction),
        priority=body.integer("priority", low, high),
        access=body.word("access", Access),
        protocol=_protocol(body),
        source=_selector(body, "source"),
        source_ports=_ports(body, "source"),
        destination=_selector(body, "destination"),
        destination_ports=_ports(body, "destination"),
        default=default,
    )


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
    return tuple(sorted(rules, key=lambda rule: (rule.direction, rule.priority)))


def route(route_id: str, name: str, body: Fields) -> Route | ServiceTagRoute:
    """One user-defined route from its ``properties``."""
    text = body.text("addressPrefix")
    hop = body.word("nextHopType", NextHopType)
    if hop is NextHopType.VNET_PEERING:
        body.fail("nextHopType", "a user-defined route cannot have VNetPeering as its next hop")
    address = None
    if hop is NextHopType.VIRTUAL_APPLIANCE:
        address = body.address("nextHopIpAddress")
    elif (stray := body.optional_text("nextHopIpAddress")) is not None:
        body.parse_address("nextHopIpAddress", stray)
    if _TAG.fullmatch(text):
        return ServiceTagRoute(route_id, name, text, hop, address)
    prefix = body.parse_prefix("addressPrefix", text)
    if address is not None and address.version != prefix.version:
        body.fail("nextHopIpAddress", f"'{address}' is of another address family than {prefix}")
    return Route(route_id, name, prefix, hop, address)


def _protocol(body: Fields) -> RuleProtocol:
    if body.text("protocol").lower() in ("any", "all"):
        return RuleProtocol.ANY
    return body.word("protocol", RuleProtocol)


def _selector(body: Fields, side: str) -> AddressSelector:
    any_address, prefixes, tags = False, list[IPNetwork](), list[str]()
    for name, text in _both(body, f"{side}AddressPrefix", f"{side}AddressPrefixes"):
        if text.lower() in _ANY_ADDRESS:
            any_address = True
        elif _TAG.fullmatch(text):
            tags.append(_CANONICAL_TAGS.get(text.lower(), text))
        else:
            prefixes.append(body.parse_prefix(name, text))
    groups = f"{side}ApplicationSecurityGroups"
    asgs = tuple(key(asg) for asg in body.references(groups))
    if asgs and (any_address or prefixes or tags):
        body.fail(groups, "a rule cannot have address prefixes and application security groups on one side")
    if not (asgs or any_address or prefixes or tags):
        body.fail(
            f"{side}AddressPrefix", "the rule names no address, prefix, tag or application security group"
        )
    return AddressSelector(any_address, tuple(prefixes), tuple(dict.fromkeys(tags)), asgs)


def _ports(body: Fields, side: str) -> tuple[PortRange, ...]:
    ranges = tuple(
        body.parse_ports(name, text) for name, text in _both(body, f"{side}PortRange", f"{side}PortRanges")
    )
    if not ranges:
        body.fail(f"{side}PortRange", "the rule names no port or port range")
    return ranges


def _both(body: Fields, singular: str, plural: str) -> list[tuple[str, str]]:
    """ARM fills either the singular or the plural property and leaves the other empty."""
    one = body.optional_text(singular)
    found = [(singular, one)] if one is not None else []
    return found + [(f"{plural}[{i}]", text) for i, text in enumerate(body.texts(plural))]
