"""Public IP addresses, public IP prefixes, and the NAT gateways that translate to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from harness.network.arm import kinds
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Reader, properties
from harness.network.armids import kind_of
from harness.network.balancing import NatGateway, PublicIPAddress, PublicIPPrefix
from harness.network.fields import Fields
from harness.network.words import key

_OLDEST_SKU = "Basic"
"""Azure: what says no SKU is of the first one."""

_FAMILIES = ("", "V6")
"""A NAT gateway lists its IPv6 addresses (StandardV2) beside those of IPv4."""


class PublicAddresses:
    def __init__(self, links: Associations) -> None:
        self.addresses: dict[str, PublicIPAddress] = {}
        self.prefixes: dict[str, PublicIPPrefix] = {}
        self.nats: dict[str, NatGateway] = {}
        """Without their addresses, which either side may declare."""
        self._links = links
        self.readers: Mapping[str, Reader] = {
            kinds.PUBLIC_IP: self._address,
            kinds.SCALE_SET_PUBLIC_IP: self._address,
            kinds.PUBLIC_IP_PREFIX: self._prefix,
            kinds.NAT_GATEWAY: self._nat,
        }

    def settle(self) -> dict[str, NatGateway]:
        """Every NAT gateway with its addresses and prefixes."""
        addresses = _by_value(self._links.public_ip_nats.settle(self.addresses, self.nats))
        prefixes = _by_value(self._links.prefix_nats.settle(self.prefixes, self.nats))
        return {
            name: replace(nat, public_ips=tuple(addresses[name]), public_ip_prefixes=tuple(prefixes[name]))
            for name, nat in self.nats.items()
        }

    def _address(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        sku = fields.nested("sku").optional_text("name")
        address = body.optional_address("ipAddress")
        self.addresses[key(arm_id)] = PublicIPAddress(arm_id, name, address, sku or _OLDEST_SKU)
        if (owner := body.reference("ipConfiguration")) is not None:
            # gateways, firewalls and application gateways have public addresses, too
            if kind_of(owner) in (kinds.IP_CONFIGURATION, kinds.SCALE_SET_IP_CONFIGURATION):
                self._links.configuration_public_ips.add(owner, arm_id, body, "ipConfiguration")
            elif kind_of(owner) == kinds.FRONTEND:
                self._links.frontend_public_ips.add(owner, arm_id, body, "ipConfiguration")
        if (nat := body.reference("natGateway")) is not None:
            self._links.public_ip_nats.add(arm_id, nat, body, "natGateway")

    def _prefix(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        text = body.optional_text("ipPrefix")
        prefix = None if text is None else body.parse_prefix("ipPrefix", text)
        self.prefixes[key(arm_id)] = PublicIPPrefix(arm_id, name, prefix)
        if (owner := body.reference("loadBalancerFrontendIpConfiguration")) is not None:
            self._links.frontend_prefixes.add(owner, arm_id, body, "loadBalancerFrontendIpConfiguration")
        if (nat := body.reference("natGateway")) is not None:
            self._links.prefix_nats.add(arm_id, nat, body, "natGateway")

    def _nat(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        self.nats[key(arm_id)] = NatGateway(
            arm_id,
            name,
            sku=fields.nested("sku").optional_text("name") or "Standard",
            idle_timeout=body.optional_integer("idleTimeoutInMinutes", 4, 120) or 4,
        )
        for family in _FAMILIES:
            for listed, claims in (
                (f"publicIpAddresses{family}", self._links.public_ip_nats),
                (f"publicIpPrefixes{family}", self._links.prefix_nats),
            ):
                for value in body.references(listed):
                    claims.add(value, arm_id, body, listed)
        for subnet in body.references("subnets"):
            self._links.subnet_nats.add(subnet, arm_id, body, "subnets")
        if (vnet := body.reference("sourceVirtualNetwork")) is not None:
            self._links.vnet_nats.add(vnet, arm_id, body, "sourceVirtualNetwork")


def _by_value(settled: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for owner, value in settled.items():
        found[value].append(owner)
    return found
