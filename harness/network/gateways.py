"""Virtual network gateways and what they connect to, as data.

References are keys of ids. Routes that gateways bring are :mod:`harness.policy.routing`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.network.words import IPNetwork


@dataclass(frozen=True, slots=True)
class VirtualNetworkGateway:
    """``kind`` is Azure's gatewayType: ``Vpn`` or ``ExpressRoute``."""

    id: str
    name: str
    vnet: str
    kind: str = "Vpn"


@dataclass(frozen=True, slots=True)
class LocalNetworkGateway:
    """An on-premises site: the prefixes that lie behind it."""

    id: str
    name: str
    prefixes: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayConnection:
    """From ``gateway`` to a ``local_gateway`` (``IPsec``) or a ``peer_gateway`` (``Vnet2Vnet``).

    ``status`` is Azure's connectionStatus (``Connected``, ``NotConnected`` ...), None where not known.
    """

    id: str
    name: str
    gateway: str
    kind: str
    local_gateway: str | None = None
    peer_gateway: str | None = None
    status: str | None = None
