"""Which private address is whose: each lies in its subnet and belongs to one holder in a virtual network."""

from __future__ import annotations

from collections.abc import Mapping

from harness.network.fields import Fields
from harness.network.model import Subnet
from harness.network.words import IPAddress
from harness.text import plain


class Places:
    """The subnets (by key), and the addresses in them that are taken so far."""

    def __init__(self, subnets: Mapping[str, Subnet]) -> None:
        self.subnets = subnets
        self._taken: dict[tuple[str, IPAddress], str] = {}

    def take(self, holder: str, address: IPAddress, subnet: str, body: Fields) -> None:
        """``holder`` (id) has ``address`` in ``subnet`` (key); ``body`` says so in its privateIPAddress."""
        place = self.subnets[subnet]
        if not any(address in prefix for prefix in place.prefixes):
            body.fail("privateIPAddress", f"{address} lies outside {plain(place.id)}")
        other = self._taken.setdefault((place.vnet, address), holder)
        if other != holder:
            body.fail(
                "privateIPAddress",
                f"{address} also belongs to {plain(other)}, in the same virtual network",
            )
