"""aerleon's aclcheck on the rules of an NSG: the peer that the policy engine is measured against.

aclcheck tells which term of a vendor-neutral policy a packet meets. Rules become terms in order of
priority, so that the first match is the same; service tags become the addresses that they stand for. The
policy is built once, with its addresses optimised; a packet is one ``AclCheck``, as aerleon's own command
line makes it. Not for rules that name application security groups, which a policy does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, summarize_address_range
from typing import Any, cast

from aerleon.lib.aclcheck import AclCheck
from aerleon.lib.naming import Naming
from aerleon.lib.policy import FromBuilder
from aerleon.lib.policy_builder import PolicyBuilder, PolicyDict

from harness.network.addresses import AddressSet
from harness.network.model import (
    ANY_PORT,
    Access,
    AddressSelector,
    PortRange,
    RuleProtocol,
    SecurityRule,
)
from harness.policy.packet import Packet
from harness.policy.tags import TagScope


class AclCheckPeer:
    """One list of rules (of one direction, by priority) as aclcheck judges it, for IPv4."""

    def __init__(self, rules: Sequence[SecurityRule], scope: TagScope) -> None:
        self._scope = scope
        self._networks: dict[str, Any] = {}
        self._services: dict[str, Any] = {}
        terms = [self._term(f"rule-{place}", rule) for place, rule in enumerate(rules)]
        definitions = Naming()
        definitions.ParseDefinitionsObject({"networks": self._networks, "services": self._services}, "nsg")
        # any platform will do: nothing is rendered
        nsg = {"header": {"targets": {"cisco": "nsg extended"}}, "terms": terms}
        policy = cast(PolicyDict, {"filters": [nsg]})
        self._policy = FromBuilder(PolicyBuilder(policy, definitions, optimize=True))

    def decide(self, packet: Packet) -> int | None:
        """The position of the rule that decides; None where none matches."""
        check = AclCheck(
            self._policy,
            packet.source,
            packet.destination,
            packet.source_port or "any",
            packet.destination_port or "any",
            packet.protocol.value,
        )
        found = check.ExactMatches()
        return int(found[0].term.removeprefix("rule-")) if found else None

    def _term(self, name: str, rule: SecurityRule) -> dict[str, Any]:
        term: dict[str, Any] = {"name": name, "action": "accept" if rule.access is Access.ALLOW else "deny"}
        for side, selector in (("source", rule.source), ("destination", rule.destination)):
            if not selector.any:
                term[f"{side}-address"] = self._network(f"{name}-{side}", selector)
        ports = {"source": rule.source_ports, "destination": rule.destination_ports}
        limited = {side: ranges for side, ranges in ports.items() if ANY_PORT not in ranges}
        if rule.protocol is RuleProtocol.ANY:
            # a rule for any protocol that names ports is for those that have them
            protocols = ["tcp", "udp"] if limited else []
        else:
            protocols = [rule.protocol.value.lower()]
        if protocols:
            term["protocol"] = " ".join(protocols)
        if "tcp" in protocols or "udp" in protocols:
            for side, ranges in limited.items():
                term[f"{side}-port"] = self._service(f"{name}-{side}", ranges)
        return term

    def _network(self, name: str, selector: AddressSelector) -> str:
        addresses = AddressSet.of(selector.prefixes)
        for tag in selector.tags:
            known = self._scope.addresses(tag)
            if known is None:
                raise ValueError(f"the addresses of the service tag {tag} are not known")
            addresses |= known
        if selector.asgs:
            raise ValueError("a policy knows no application security groups")
        prefixes = (
            prefix
            for first, last in addresses.v4
            for prefix in summarize_address_range(IPv4Address(first), IPv4Address(last))
        )
        self._networks[name] = {"values": [{"address": str(prefix)} for prefix in prefixes]}
        return name

    def _service(self, name: str, ranges: Sequence[PortRange]) -> str:
        self._services[name] = [
            {"protocol": protocol, "port": f"{item.first}-{item.last}"}
            for item in ranges
            for protocol in ("tcp", "udp")
        ]
        return name
