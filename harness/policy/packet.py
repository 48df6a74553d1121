"""The packet that rules and routes are asked about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.model import Protocol
from harness.network.model import IPAddress

EPHEMERAL_PORT = 49152
"""The source port that is assumed: the first of IANA's dynamic range (RFC 6335)."""


@dataclass(frozen=True, slots=True)
class Packet:
    """Addresses as the fabric sees them, ports (None where the protocol has none), the ends' ASGs (keys)."""

    protocol: Protocol
    source: IPAddress
    source_port: int | None
    destination: IPAddress
    destination_port: int | None
    source_asgs: frozenset[str] = frozenset()
    destination_asgs: frozenset[str] = frozenset()
    family: int = field(init=False, repr=False, compare=False)
    source_number: int = field(init=False, repr=False, compare=False)
    destination_number: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", self.source.version)
        object.__setattr__(self, "source_number", int(self.source))
        object.__setattr__(self, "destination_number", int(self.destination))

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

    def towards(self, destination: IPAddress, port: int | None, asgs: frozenset[str]) -> Packet:
        """The packet after its destination was translated."""
        return replace(self, destination=destination, destination_port=port, destination_asgs=asgs)

    @property
    def key(self) -> tuple[object, ...]:
        """What flow state is kept by."""
        return (self.protocol, self.source_number, self.source_port,
                self.destination_number, self.destination_port, self.family)  # fmt: skip

    def __str__(self) -> str:
        def end(address: IPAddress, port: int | None) -> str:
            if port is None:
                return str(address)
            return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"

        target = end(self.destination, self.destination_port)
        return f"{self.protocol} {end(self.source, self.source_port)} -> {target}"
