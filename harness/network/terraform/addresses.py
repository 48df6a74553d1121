"""Private addresses that a plan does not know: the next free ones of the subnet, as Azure gives them.

Azure keeps the first four addresses of a subnet and its last one. It gives them in the order in
which interfaces are made, which no plan tells: here it is the order of the document, so that the
same plan always has the same addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from harness.network.model import IPAddress, IPNetwork, key
from harness.network.terraform.attributes import Attributes, Plan
from harness.text import plain

_RESERVED = 4

HOLDERS = {
    "azurerm_firewall": "ip_configuration",
    "azurerm_lb": "frontend_ip_configuration",
    "azurerm_network_interface": "ip_configuration",
}
"""Types that have addresses of a subnet, and the block that says which."""


class Addresses:
    """The private address of every IP configuration of a plan."""

    def __init__(
        self, plan: Plan, prefixes: Callable[[str], Sequence[IPNetwork]], note: Callable[[str], None]
    ) -> None:
        """``prefixes`` gives those of a subnet id, none where they are not known."""
        self._plan = plan
        self._prefixes = prefixes
        self._found: dict[tuple[str, str], str] = {}
        self._taken: set[tuple[str, IPAddress]] = set()
        self._next: dict[tuple[str, IPNetwork], Iterator[IPAddress]] = {}
        open_places: list[tuple[Attributes, str]] = []
        for block, subnet in self._places():
            if not block.known("private_ip_address"):
                open_places.append((block, subnet))
            else:
                self._take(block, subnet, block.fields.address("private_ip_address"))
        for block, subnet in open_places:
            address = self._free(block, subnet)
            self._take(block, subnet, address)
            note(
                f"{block.fields.at('private_ip_address')}: is not known before apply: read as {address},"
                f" the next free one of {plain(subnet)}"
            )

    def of(self, block: Attributes) -> str | None:
        """The address of an IP configuration; None where it has none of a subnet."""
        return self._found.get((block.instance.address, block.name))

    def first_of(self, address: str) -> str | None:
        """The first private address of the instance at ``address``."""
        return next((found for (owner, _), found in self._found.items() if owner == address), None)

    def _places(self) -> Iterator[tuple[Attributes, str]]:
        for instance in self._plan.document.instances:
            label = HOLDERS.get(instance.type)
            if label is None:
                continue
            is_nic = instance.type == "azurerm_network_interface"
            for block in self._plan.attributes(instance).blocks(label):
                subnet = block.reference("subnet_id", "azurerm_subnet", computed=not is_nic)
                if subnet is not None:
                    yield block, subnet

    def _take(self, block: Attributes, subnet: str, address: IPAddress) -> None:
        self._found[block.instance.address, block.name] = str(address)
        self._taken.add((key(subnet), address))

    def _free(self, block: Attributes, subnet: str) -> IPAddress:
        version = block.value("private_ip_address_version") or "IPv4"
        prefixes = self._prefixes(subnet)
        if not prefixes:
            block.fail(
                "subnet_id",
                f"the prefixes of {plain(subnet)} are not in the document, so that the address which Azure"
                " will give cannot be told",
                "add a data source azurerm_subnet for it, or give the address",
            )
        for prefix in prefixes:
            if version == f"IPv{prefix.version}":
                for address in self._next.setdefault((key(subnet), prefix), _usable(prefix)):
                    if (key(subnet), address) not in self._taken:
                        return address
        block.fail("subnet_id", f"{plain(subnet)} has no free {version} address left")


def _usable(prefix: IPNetwork) -> Iterator[IPAddress]:
    first, last = int(prefix.network_address), int(prefix.broadcast_address)
    for offset in range(_RESERVED, last - first):
        yield prefix.network_address + offset
