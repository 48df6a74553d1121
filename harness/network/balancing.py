"""Public addresses and what translates to them, as data: public IPs, NAT gateways, load balancers.

References are keys of ids. Not for which of them a packet leaves by (:mod:`harness.policy`).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.network.words import IPAddress, IPNetwork, PortRange, RuleProtocol


@dataclass(frozen=True, slots=True)
class PublicIPAddress:
    id: str
    name: str
    address: IPAddress | None
    sku: str = "Standard"


@dataclass(frozen=True, slots=True)
class PublicIPPrefix:
    id: str
    name: str
    prefix: IPNetwork | None


@dataclass(frozen=True, slots=True)
class NatGateway:
    """``idle_timeout`` in minutes. Subnets name their NAT gateway (:class:`harness.network.model.Subnet`)."""

    id: str
    name: str
    public_ips: tuple[str, ...] = ()
    public_ip_prefixes: tuple[str, ...] = ()
    sku: str = "Standard"
    idle_timeout: int = 4


@dataclass(frozen=True, slots=True)
class FrontendIPConfiguration:
    """Public by ``public_ip`` (or a prefix of them), or internal by ``address`` in ``subnet``."""

    id: str
    name: str
    public_ip: str | None = None
    public_ip_prefix: str | None = None
    address: IPAddress | None = None
    subnet: str | None = None


@dataclass(frozen=True, slots=True)
class BackendAddressPool:
    """``members`` are IP configurations (keys); ``addresses`` members by address alone, with their VNet."""

    id: str
    name: str
    members: tuple[str, ...] = ()
    addresses: tuple[tuple[IPAddress, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """A health probe; ``port`` is asked at every backend from 168.63.129.16."""

    id: str
    name: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class LoadBalancingRule:
    """``frontend_port`` 0 with protocol ``*`` means every port (HA ports)."""

    id: str
    name: str
    frontend: str
    pools: tuple[str, ...]
    protocol: RuleProtocol
    frontend_port: int
    backend_port: int
    floating_ip: bool = False
    disable_outbound_snat: bool = False
    probe: str | None = None


@dataclass(frozen=True, slots=True)
class InboundNatRule:
    """To one IP configuration (``target``), or a range of frontend ports over a ``pool``, one each."""

    id: str
    name: str
    frontend: str
    protocol: RuleProtocol
    frontend_ports: PortRange
    backend_port: int
    target: str | None = None
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class OutboundRule:
    """``allocated_ports`` per instance, 0 for the default table; ``idle_timeout`` in minutes."""

    id: str
    name: str
    frontends: tuple[str, ...]
    pool: str
    protocol: RuleProtocol
    allocated_ports: int = 0
    idle_timeout: int = 4
    tcp_reset: bool = False


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    id: str
    name: str
    sku: str
    frontends: tuple[FrontendIPConfiguration, ...] = ()
    pools: tuple[BackendAddressPool, ...] = ()
    rules: tuple[LoadBalancingRule, ...] = ()
    nat_rules: tuple[InboundNatRule, ...] = ()
    outbound_rules: tuple[OutboundRule, ...] = ()
    probes: tuple[Probe, ...] = ()
