"""Azure Virtual Network Manager: network groups and the security admin rules that apply to them.

Whether a configuration is deployed is no property of it: all that a snapshot holds are taken to be.
A group's members are its static ones; what Azure Policy adds to a group is in no resource.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from harness.network.arm import kinds
from harness.network.arm.bodies import Reader, parent_in, properties
from harness.network.claims import missing
from harness.network.fields import Fields
from harness.network.model import Subnet, VirtualNetwork
from harness.network.rules import admin_rule
from harness.network.security import SecurityAdminRule
from harness.network.words import IPNetwork, key


class _RuleBody(NamedTuple):
    id: str
    name: str
    default: bool
    body: Fields


class NetworkManagers:
    def __init__(self) -> None:
        self._groups: dict[str, str] = {}
        self._members: dict[str, str] = {}
        """Static member (id) -> the virtual network or subnet (id) that it makes a member."""
        self._collections: dict[str, tuple[Fields, ...]] = {}
        """What each collection says of the groups that it applies to."""
        self._rules: list[_RuleBody] = []
        self.readers: Mapping[str, Reader] = {
            kinds.NETWORK_MANAGER: _nothing,
            kinds.NETWORK_GROUP: self._group,
            kinds.STATIC_MEMBER: self._member,
            kinds.ADMIN_CONFIGURATION: _nothing,
            kinds.ADMIN_COLLECTION: self._collection,
            kinds.ADMIN_RULE: self._rule,
        }

    def settle(
        self, vnets: Mapping[str, VirtualNetwork], subnets: Mapping[str, Subnet], origin: str
    ) -> dict[str, tuple[SecurityAdminRule, ...]]:
        """The rules of each virtual network (key) that any applies to, by priority."""
        members: dict[str, list[str]] = defaultdict(list)
        for arm_id, resource in self._members.items():
            members[parent_in(self._groups, arm_id, "network group", origin)].append(key(resource))

        def members_of(fields: Fields, name: str) -> list[str]:
            group = fields.arm_id(name)
            if key(group) not in self._groups:
                raise missing(fields, name, "network group", group)
            return members[key(group)]

        def space(fields: Fields, name: str) -> tuple[IPNetwork, ...]:
            prefixes = list[IPNetwork]()
            for member in members_of(fields, name):
                if member in vnets:
                    prefixes += vnets[member].address_space
                elif member in subnets:
                    prefixes += subnets[member].prefixes
            return tuple(prefixes)

        reach = {
            collection: dict.fromkeys(
                # a subnet as a member brings the rules to its whole virtual network
                subnets[member].vnet if member in subnets else member
                for group in groups
                for member in members_of(group, "networkGroupId")
                if member in vnets or member in subnets
            )
            for collection, groups in self._collections.items()
        }
        found: dict[str, list[SecurityAdminRule]] = defaultdict(list)
        for arm_id, name, default, body in self._rules:
            rule = admin_rule(arm_id, name, body, default=default, group=space)
            for vnet in reach[parent_in(self._collections, arm_id, "rule collection", origin)]:
                found[vnet].append(rule)
        return {vnet: tuple(sorted(rules, key=lambda rule: rule.priority)) for vnet, rules in found.items()}

    def _group(self, _fields: Fields, arm_id: str, _name: str) -> None:
        self._groups[key(arm_id)] = arm_id

    def _member(self, fields: Fields, arm_id: str, _name: str) -> None:
        self._members[arm_id] = properties(fields).arm_id("resourceId")

    def _collection(self, fields: Fields, arm_id: str, _name: str) -> None:
        self._collections[key(arm_id)] = tuple(properties(fields).objects("appliesToGroups"))

    def _rule(self, fields: Fields, arm_id: str, name: str) -> None:
        default = (fields.optional_text("kind") or "").lower() == "default"
        self._rules.append(_RuleBody(arm_id, name, default, properties(fields)))


def _nothing(_fields: Fields, _arm_id: str, _name: str) -> None:
    """For a type that is known and says nothing that the model holds."""
