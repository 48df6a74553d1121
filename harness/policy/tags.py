"""Which addresses a service tag stands for at one subnet, and which addresses Azure counts as what.

VirtualNetwork, Internet and AzureLoadBalancer depend on the network; all others come from a tags
file (:mod:`harness.network.service_tags`). Sources: azure-facts sections "NSG" and "recorded
answers". The address lists are data, since Azure changes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network

from harness.network.addresses import AddressSet, complement
from harness.network.model import IPAddress, IPNetwork, Network, PeeringState, Subnet
from harness.network.rules import AZURE_LOAD_BALANCER, INTERNET, VIRTUAL_NETWORK
from harness.network.service_tags import ServiceTags

PLATFORM_ADDRESS = ip_address("168.63.129.16")
METADATA_ADDRESS = ip_address("169.254.169.254")
PLATFORM: frozenset[IPAddress] = frozenset({PLATFORM_ADDRESS, METADATA_ADDRESS})

PLATFORM_TAGS: dict[str, AddressSet] = {
    name: AddressSet.of(ip_network(text) for text in texts)
    for name, texts in {
        "azureplatformdns": ("168.63.129.16/32",),
        "azureplatformimds": ("169.254.169.254/32",),
        "azureplatformlkm": ("23.102.135.246/32", "20.118.99.224/32", "40.83.235.53/32"),
    }.items()
}
"""Tags by which alone rules reach what no rule applies to otherwise (azure-facts, "NSG", exempt)."""

NOT_INTERNET_4: tuple[IPNetwork, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "25.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
    )
)  # fmt: skip
"""What the recorded expansion of Internet (76 prefixes, 2017) leaves out."""

INTERNET_6 = ip_network("2000::/3")

PRIVATE = AddressSet.of(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Addresses that only virtual networks and on-premises networks have; no tag of a tags file holds one."""

INTERNET_SPACE = AddressSet(complement(AddressSet.of(NOT_INTERNET_4).v4, 4), AddressSet.of([INTERNET_6]).v6)
"""Public space as the tag Internet counts it, virtual networks apart."""

_LOAD_BALANCER = AddressSet.of([ip_network(f"{PLATFORM_ADDRESS}/32")])


def contains(prefixes: Iterable[IPNetwork], address: IPAddress) -> bool:
    return any(address in prefix for prefix in prefixes)


def is_private(address: IPAddress) -> bool:
    return address in PRIVATE


def is_internet(address: IPAddress) -> bool:
    """Whether an address is public space as the tag Internet counts it, virtual networks apart."""
    return address in INTERNET_SPACE


@dataclass(frozen=True)
class TagScope:
    """The tags as one subnet sees them: they depend on its virtual network, peerings and routes."""

    virtual_network: tuple[IPNetwork, ...]
    """VNet space, connected peers' space with access allowed, on-premises prefixes, prefixes of UDRs."""
    internet: AddressSet
    service_tags: ServiceTags | None = None

    def addresses(self, tag: str) -> AddressSet | None:
        """The addresses of ``tag`` here; None where they are not known."""
        if tag == VIRTUAL_NETWORK:
            return self._virtual_network
        if tag == AZURE_LOAD_BALANCER:
            return _LOAD_BALANCER
        if tag == INTERNET:
            return self.internet
        platform = PLATFORM_TAGS.get(tag.lower())
        if platform is not None:
            return platform
        return self.service_tags.addresses(tag) if self.service_tags is not None else None

    @cached_property
    def _virtual_network(self) -> AddressSet:
        return AddressSet.of(self.virtual_network) | _LOAD_BALANCER


def tag_scope(
    network: Network,
    subnet: Subnet,
    on_premises: Iterable[IPNetwork] = (),
    service_tags: ServiceTags | None = None,
) -> TagScope:
    """The tags as rules see them that apply in ``subnet``; ``on_premises`` is behind its gateway."""
    vnet = network.vnets[subnet.vnet]
    connected = [peering for peering in vnet.peerings if peering.state is PeeringState.CONNECTED]
    routes = network.route_tables[subnet.route_table].routes if subnet.route_table else ()
    # what peers and the VNet have is not the internet, even where its addresses are public
    private_space = AddressSet.of(
        (*vnet.address_space, *(prefix for peering in connected for prefix in peering.remote_address_space))
    )
    return TagScope(
        virtual_network=(
            *vnet.address_space,
            *(
                prefix
                for peering in connected
                if peering.allow_virtual_network_access
                for prefix in peering.remote_address_space
            ),
            *on_premises,
            *(route.prefix for route in routes),
        ),
        internet=INTERNET_SPACE - private_space,
        service_tags=service_tags,
    )
