"""Security rules as data: network security groups, application security groups, security admin rules.

Not for what a rule does to a packet (:mod:`harness.policy`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.network.words import Access, AddressSelector, AdminAccess, Direction, PortRange, RuleProtocol


@dataclass(frozen=True, slots=True)
class SecurityRule:
    id: str
    name: str
    direction: Direction
    priority: int
    access: Access
    protocol: RuleProtocol
    source: AddressSelector
    source_ports: tuple[PortRange, ...]
    destination: AddressSelector
    destination_ports: tuple[PortRange, ...]
    default: bool = False


@dataclass(frozen=True, slots=True)
class NetworkSecurityGroup:
    """``rules`` holds custom and default rules of both directions, ordered by priority."""

    id: str
    name: str
    rules: tuple[SecurityRule, ...]

    def ordered(self, direction: Direction) -> Iterator[SecurityRule]:
        return (rule for rule in self.rules if rule.direction is direction)


@dataclass(frozen=True, slots=True)
class ApplicationSecurityGroup:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class SecurityAdminRule:
    """A rule of Azure Virtual Network Manager: judged before every NSG of the virtual networks it is for."""

    id: str
    name: str
    direction: Direction
    priority: int
    access: AdminAccess
    protocol: RuleProtocol
    source: AddressSelector
    source_ports: tuple[PortRange, ...]
    destination: AddressSelector
    destination_ports: tuple[PortRange, ...]
