"""What a published address leads to: NICs, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model import Cause
from harness.network.model import IpConfiguration, NetworkInterface


@dataclass(frozen=True, slots=True)
class Arrival:
    """A NIC that gets what is sent to a published address.

    ``port`` is the one behind (None where the protocol has none), ``object_id`` what publishes:
    public IP address, rule or endpoint. ``sku``: Standard is closed to the internet until a network
    security group allows, Basic is open.
    """

    nic: NetworkInterface
    configuration: IpConfiguration
    port: int | None
    where: str
    why: str
    object_id: str
    sku: str = "Standard"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something of the network has the address, and does not pass the packet on."""

    cause: Cause | None
    where: str
    why: str
    object_id: str | None
