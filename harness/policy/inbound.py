"""What is reached by an address that no NIC has itself: public IP addresses, frontends, cloud services.

A public IP address of a NIC takes every protocol and port to it. For load balancers see
:mod:`harness.policy.frontends`, for cloud services :mod:`harness.policy.classic`. Whether what arrives
is let in is asked elsewhere: by network security groups, and by the SKU where there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from harness.model import Cause, Protocol
from harness.network.addresses import Ranges
from harness.network.balancing import PublicIPAddress
from harness.network.classic import CloudService, EndpointAclRule
from harness.network.model import Access, IPAddress, IpConfiguration, IPNetwork, NetworkInterface, key
from harness.policy.arrival import Arrival, Refusal
from harness.policy.balancers import Balancers, Frontend, balances
from harness.policy.classic import OPEN_SKU, acl_decision, acl_of, endpoint_arrivals
from harness.policy.frontends import behind, frontend_arrivals, passages

if TYPE_CHECKING:
    from harness.policy.compiled import Compiled

__all__ = ["Arrival", "Owner", "Publications", "Published", "Refusal"]

Holder = TypeVar("Holder")


class Owner(NamedTuple):
    """What has an address: its name for people, and its id."""

    label: str
    id: str


@dataclass(frozen=True, slots=True)
class Published:
    """One way in from the internet: ports of an IP configuration, as they are behind.

    ``ports`` None: every port of every protocol. ``address`` is one of the public addresses by which it is
    asked for (None: not known yet), ``front_ports`` the ports there.
    """

    nic: NetworkInterface
    configuration: IpConfiguration
    sku: str
    protocols: tuple[Protocol, ...]
    ports: Ranges | None
    acl: tuple[EndpointAclRule, ...] = ()
    address: IPAddress | None = None
    front_ports: Ranges | None = None

    def front_port(self, port: int) -> int:
        """The port by which one behind is asked for."""
        if self.front_ports is None or self.front_ports == self.ports:
            return port
        return self.front_ports[0][0]

    def admits(self, source: IPAddress) -> bool:
        """Whether a classic endpoint's access control list permits a client; all others have none."""
        return acl_decision(self.acl, source).access is Access.ALLOW


@dataclass(frozen=True, slots=True)
class _Instance:
    """A NIC's own public IP address."""

    public: PublicIPAddress
    nic: NetworkInterface
    configuration: IpConfiguration


class _PublicAddresses(Generic[Holder]):
    """Who holds which public address; the first one where several claim it."""

    def __init__(self) -> None:
        self._single: dict[IPAddress, Holder] = {}
        self._prefixes: list[tuple[IPNetwork, Holder]] = []

    def add(
        self, holder: Holder, addresses: Iterable[IPAddress | None], prefixes: Iterable[IPNetwork | None] = ()
    ) -> None:
        """What is not known yet (None) is passed over."""
        for address in addresses:
            if address is not None:
                self._single.setdefault(address, holder)
        self._prefixes += [(prefix, holder) for prefix in prefixes if prefix is not None]

    def get(self, address: IPAddress) -> Holder | None:
        found = self._single.get(address)
        if found is None:
            found = next((holder for prefix, holder in self._prefixes if address in prefix), None)
        return found


class Publications:
    """The published addresses of one network. Virtual networks are named by their keys."""

    def __init__(self, view: Compiled) -> None:
        self._view, self._network = view, view.network
        self.balancers = Balancers(view)

    def arrivals(
        self, address: IPAddress, protocol: Protocol, port: int | None, source: IPAddress
    ) -> tuple[Arrival, ...] | Refusal | None:
        """Who gets what ``source`` sends to a public address; None: nothing of this network has it."""
        instance = self._instances.get(address)
        if instance is not None:
            public, configuration = instance.public, instance.configuration
            where = f"public IP address '{public.name}'"
            why = f"{address} is translated to {configuration.address}"
            return (Arrival(instance.nic, configuration, port, where, why, public.id, public.sku),)
        frontend = self._frontends.get(address)
        if frontend is not None:
            return frontend_arrivals(self.balancers, frontend, address, protocol, port)
        service = self._services.get(address)
        if service is not None:
            return endpoint_arrivals(self._view, service, protocol, port, source)
        nat_gateway = self._nat_gateways.get(address)
        if nat_gateway is not None:
            why = "it lets in only what answers a flow that went out by it"
            return Refusal(Cause.NO_INBOUND_RULE, nat_gateway.label, why, nat_gateway.id)
        return None

    def internal(
        self, vnet: str, address: IPAddress, protocol: Protocol, port: int | None, source: IPAddress
    ) -> tuple[Arrival, ...] | Refusal | None:
        """The same for a private address of ``vnet``: the frontends of internal load balancers.

        Azure does not translate the sender's address there, so a flow that is balanced back to the
        sender fails (load-balancer-overview, limitations); only the other members are answered.
        """
        frontend = self._internal.get((vnet, address))
        if frontend is None:
            return None
        found = frontend_arrivals(self.balancers, frontend, address, protocol, port)
        if isinstance(found, Refusal):
            return found
        others = [arrival for arrival in found if arrival.configuration.address != source]
        if not others:
            why = f"{source} is its only backend, and what is balanced back to the sender fails"
            return Refusal(None, frontend.label, why, frontend.balancer.id)
        if len(others) == len(found):
            return found
        note = "; what is balanced back to the sender fails"
        return tuple(replace(arrival, why=arrival.why + note) for arrival in others)

    def appliances(self, vnet: str, address: IPAddress) -> tuple[Arrival, ...]:
        """Who is behind the internal load balancer of ``vnet`` that is a route's next hop; () if none is."""
        frontend = self._internal.get((vnet, address))
        return behind(self.balancers, frontend, address.version) if frontend is not None else ()

    def all(self) -> Iterator[Published]:
        """Every way in from the internet, also by public addresses that are not known yet."""
        for nic, configuration in self._view.configurations.values():
            if configuration.public_ip is not None:
                public = self._network.public_ips[configuration.public_ip]
                yield Published(nic, configuration, public.sku, tuple(Protocol), None, address=public.address)
        for frontend in self.balancers.frontends.values():
            for family in (4, 6):
                space = frontend.space(self._network, family)
                if space:
                    yield from self._of_frontend(frontend, family, next(iter(space.addresses), None))
        for service in self._network.cloud_services.values():
            yield from self._of_service(service)

    def _of_frontend(self, frontend: Frontend, family: int, address: IPAddress | None) -> Iterator[Published]:
        for passage in passages(self.balancers, frontend, family):
            yield Published(
                passage.member.nic,
                passage.member.configuration,
                frontend.balancer.sku,
                passage.protocols,
                passage.ports,
                address=address,
                front_ports=passage.front_ports,
            )

    def _of_service(self, service: CloudService) -> Iterator[Published]:
        for endpoint in service.endpoints:
            nic = self._network.nics.get(endpoint.nic)
            if nic is not None:
                yield Published(
                    nic,
                    nic.ip_configurations[0],
                    OPEN_SKU,
                    tuple(item for item in Protocol if balances(endpoint.protocol, item)),
                    ((endpoint.private_port, endpoint.private_port),),
                    acl_of(service, endpoint),
                    service.address,
                    ((endpoint.public_port, endpoint.public_port),),
                )

    def frontend_owner(self, address: IPAddress) -> Owner | None:
        """What of the network has a public address, or an internal frontend's; None: nothing has."""
        inside = (item for (_, own), item in self._internal.items() if own == address)
        frontend = self._frontends.get(address) or next(inside, None)
        if frontend is not None:
            return Owner(frontend.label, frontend.configuration.id)
        service = self._services.get(address)
        if service is not None:
            return Owner(f"cloud service '{service.name}'", service.id)
        return self._nat_gateways.get(address) or self._public_ips.get(address)

    def cloud_service(self, nic: NetworkInterface) -> CloudService | None:
        """The cloud service that a classic VM's NIC belongs to."""
        return self._services_by_nic.get(key(nic.id))

    # -- by address -------------------------------------------------------------------------------

    @cached_property
    def _instances(self) -> _PublicAddresses[_Instance]:
        found: _PublicAddresses[_Instance] = _PublicAddresses()
        for nic, configuration in self._view.configurations.values():
            if configuration.public_ip is not None:
                public = self._network.public_ips[configuration.public_ip]
                found.add(_Instance(public, nic, configuration), (public.address,))
        return found

    @cached_property
    def _frontends(self) -> _PublicAddresses[Frontend]:
        found: _PublicAddresses[Frontend] = _PublicAddresses()
        for frontend in self.balancers.frontends.values():
            name, prefix = frontend.configuration.public_ip, frontend.configuration.public_ip_prefix
            if name is not None:
                found.add(frontend, (self._network.public_ips[name].address,))
            if prefix is not None:
                found.add(frontend, (), (self._network.public_ip_prefixes[prefix].prefix,))
        return found

    @cached_property
    def _internal(self) -> dict[tuple[str, IPAddress], Frontend]:
        found: dict[tuple[str, IPAddress], Frontend] = {}
        for frontend in self.balancers.frontends.values():
            subnet, address = frontend.configuration.subnet, frontend.configuration.address
            if subnet is not None and address is not None:
                found.setdefault((self._network.subnets[subnet].vnet, address), frontend)
        return found

    @cached_property
    def _nat_gateways(self) -> _PublicAddresses[Owner]:
        found: _PublicAddresses[Owner] = _PublicAddresses()
        for nat in self._network.nat_gateways.values():
            found.add(
                Owner(f"NAT gateway '{nat.name}'", nat.id),
                (self._network.public_ips[name].address for name in nat.public_ips),
                (self._network.public_ip_prefixes[name].prefix for name in nat.public_ip_prefixes),
            )
        return found

    @cached_property
    def _public_ips(self) -> _PublicAddresses[Owner]:
        """Every public IP address: a NIC's own, and those of what is not modelled."""
        found: _PublicAddresses[Owner] = _PublicAddresses()
        for public in self._network.public_ips.values():
            found.add(Owner(f"public IP address '{public.name}'", public.id), (public.address,))
        return found

    @cached_property
    def _services(self) -> dict[IPAddress, CloudService]:
        services = self._network.cloud_services.values()
        return {item.address: item for item in services if item.address is not None}

    @cached_property
    def _services_by_nic(self) -> dict[str, CloudService]:
        return {nic: item for item in self._network.cloud_services.values() for nic in item.nics}
