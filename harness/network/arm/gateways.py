"""Virtual network gateways, local network gateways and the connections between them."""

from __future__ import annotations

from collections.abc import Container, Mapping

from harness.network.arm import kinds
from harness.network.arm.bodies import Reader, properties
from harness.network.armids import parent
from harness.network.claims import missing
from harness.network.fields import Fields
from harness.network.gateways import GatewayConnection, LocalNetworkGateway, VirtualNetworkGateway
from harness.network.words import key


class Gateways:
    def __init__(self) -> None:
        self.gateways: dict[str, VirtualNetworkGateway] = {}
        self.local_gateways: dict[str, LocalNetworkGateway] = {}
        self.connections: dict[str, GatewayConnection] = {}
        self._subnets: list[tuple[str, Fields]] = []
        self._ends: list[tuple[str, Fields, str]] = []
        self.readers: Mapping[str, Reader] = {
            kinds.GATEWAY: self._gateway,
            kinds.LOCAL_GATEWAY: self._local_gateway,
            kinds.CONNECTION: self._connection,
        }

    def check(self, subnets: Container[str]) -> None:
        """Refuses a gateway in no subnet, and a connection of no gateway.

        The other gateway of a Vnet2Vnet connection may be elsewhere, as the remote side of a peering may.
        """
        for subnet, body in self._subnets:
            if key(subnet) not in subnets:
                raise missing(body, "subnet", "subnet", subnet)
        for end, body, name in self._ends:
            known, kind = (
                (self.gateways, "virtual network gateway")
                if name == _OWN_END
                else (self.local_gateways, "local network gateway")
            )
            if key(end) not in known:
                raise missing(body, name, kind, end)

    def _gateway(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        subnets = list[str]()
        for item in body.objects("ipConfigurations"):
            place = properties(item)
            if (subnet := place.reference("subnet")) is not None:
                self._subnets.append((subnet, place))
                subnets.append(subnet)
        if not subnets:
            body.fail("ipConfigurations", "a virtual network gateway needs an IP configuration in a subnet")
        self.gateways[key(arm_id)] = VirtualNetworkGateway(
            arm_id, name, key(parent(subnets[0])), body.optional_text("gatewayType") or "Vpn"
        )

    def _local_gateway(self, fields: Fields, arm_id: str, name: str) -> None:
        space = properties(fields).nested("localNetworkAddressSpace").prefixes("addressPrefixes")
        self.local_gateways[key(arm_id)] = LocalNetworkGateway(arm_id, name, space)

    def _connection(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        own, site = body.reference(_OWN_END), body.reference("localNetworkGateway2")
        peer = body.reference("virtualNetworkGateway2")
        if own is None:
            body.fail(_OWN_END, "is missing")
        self._ends.append((own, body, _OWN_END))
        if site is not None:
            self._ends.append((site, body, "localNetworkGateway2"))
        self.connections[key(arm_id)] = GatewayConnection(
            arm_id,
            name,
            gateway=key(own),
            kind=body.text("connectionType"),
            local_gateway=key(site) if site else None,
            peer_gateway=key(peer) if peer else None,
            status=body.optional_text("connectionStatus"),
        )


_OWN_END = "virtualNetworkGateway1"
