"""The packet that rules and routes are asked about."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model import Protocol
from harness.network.model import IPAddress


@dataclass(frozen=True, slots=True)
class Packet:
    """Addresses as the fabric sees them, ports (None for ICMP), and the ends' ASGs (keys)."""

    protocol: Protocol
    source: IPAddress
    source_port: int | None
    destination: IPAddress
    destination_port: int | None
    source_asgs: frozenset[str] = frozenset()
    destination_asgs: frozenset[str] = frozenset()

    def reply(self) -> Packet:
        """The answer to this packet."""
        return Packet(
            self.protocol,
            self.destination,
            self.destination_port,
            self.source,
            self.source_port,
            self.destination_asgs,
            self.source_asgs,
        )

    @property
    def key(self) -> tuple[object, ...]:
        """What flow state is kept by."""
        return (self.protocol, self.source, self.source_port, self.destination, self.destination_port)

    def __str__(self) -> str:
        def end(address: IPAddress, port: int | None) -> str:
            if port is None:
                return str(address)
            return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"

        target = end(self.destination, self.destination_port)
        return f"{self.protocol} {end(self.source, self.source_port)} -> {target}"
