"""Classic (ASM) VMs and cloud services, as the resource providers Microsoft.Classic* show them.

A classic VM becomes a VM with one NIC, ``<VM id>/networkInterfaces/classic``. Without a virtual
network it is in its cloud service's own: a virtual network of just its VMs' addresses, since where
they lie is Azure's affair. One without an address (deallocated) is nowhere, and so unmodelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TypeVar

from harness.network.arm import kinds
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Reader, properties
from harness.network.arm.interfaces import Interfaces, IpConfigurationDraft, NicDraft
from harness.network.arm.public_addresses import PublicAddresses
from harness.network.arm.vnets import VirtualNetworks
from harness.network.balancing import PublicIPAddress
from harness.network.claims import missing
from harness.network.classic import ClassicEndpoint, CloudService, EndpointAclRule
from harness.network.fields import Fields, shown
from harness.network.model import Subnet, VirtualNetwork
from harness.network.words import Access, IPAddress, RuleProtocol, key
from harness.text import plain

Found = TypeVar("Found")

_LAST_PORT = 65535
_ACTIONS = {"permit": Access.ALLOW, "deny": Access.DENY}
_PROTOCOLS = {"tcp": RuleProtocol.TCP, "udp": RuleProtocol.UDP}


@dataclass(frozen=True, slots=True)
class _Machine:
    """``service`` is the id of its cloud service, ``body`` the VM's properties."""

    nic: str
    service: str
    address: IPAddress
    body: Fields


class ClassicDeployments:
    """Hands what it reads to the families that own it: ``vnets``, ``interfaces``, ``public``."""

    def __init__(
        self,
        links: Associations,
        vnets: VirtualNetworks,
        interfaces: Interfaces,
        public: PublicAddresses,
    ) -> None:
        self._services: dict[str, tuple[str, str]] = {}
        self._machines: list[_Machine] = []
        self._links, self._vnets, self._interfaces, self._public = links, vnets, interfaces, public
        self.readers: Mapping[str, Reader] = {kinds.CLOUD_SERVICE: self._service, kinds.CLASSIC_VM: self._vm}

    def place(self) -> None:
        """Gives VMs without a virtual network their cloud service's own; before the others settle."""
        outside: dict[str, list[_Machine]] = defaultdict(list)
        for machine in self._machines:
            if key(machine.service) not in self._services:
                raise missing(machine.body, "domainName", "cloud service", machine.service)
            if not _networks(machine.body).has("virtualNetwork"):
                outside[key(machine.service)].append(machine)
        for service, machines in outside.items():
            vnet = f"{self._services[service][0]}/virtualNetworks/private"
            subnet = f"{vnet}/subnets/private"
            space = tuple(dict.fromkeys(ip_network(machine.address) for machine in machines))
            self._vnets.vnets[key(vnet)] = VirtualNetwork(vnet, "private", space, subnets=())
            self._vnets.subnets[key(subnet)] = Subnet(subnet, "private", key(vnet), space)
            for machine in machines:
                self._links.configuration_subnets.add(
                    _configuration_id(machine.nic), subnet, machine.body, "domainName"
                )

    def settle(self) -> dict[str, CloudService]:
        """Every cloud service with its endpoints and the NICs of its VMs."""
        members: dict[str, list[_Machine]] = defaultdict(list)
        for machine in self._machines:
            members[key(machine.service)].append(machine)
        return {
            name: CloudService(
                arm_id,
                label,
                _virtual_ip(arm_id, members[name]),
                tuple(key(machine.nic) for machine in members[name]),
                _all_endpoints(members[name]),
            )
            for name, (arm_id, label) in self._services.items()
        }

    def _service(self, _fields: Fields, arm_id: str, name: str) -> None:
        self._services[key(arm_id)] = (arm_id, name)

    def _vm(self, fields: Fields, arm_id: str, _name: str) -> None:
        body = properties(fields)
        service = body.reference("domainName")
        if service is None:
            body.fail("domainName", "is missing: a classic VM belongs to a cloud service")
        profile, view = _networks(body), body.nested("instanceView")
        vnet = profile.nested("virtualNetwork")
        address = vnet.optional_address("staticIpAddress") or view.optional_address("privateIpAddress")
        if address is None:
            self._links.unmodelled[key(arm_id)] = ("Microsoft.ClassicCompute/virtualMachines", arm_id)
            return
        nic = f"{arm_id}/networkInterfaces/classic"
        self._machines.append(_Machine(nic, service, address, body))
        configuration = IpConfigurationDraft(_configuration_id(nic), "classic", address, True, (), body)
        self._interfaces.add(NicDraft(nic, "classic", [configuration], False, True, None))
        self._links.nic_vms.add(nic, arm_id, body, "networkProfile")
        if (nsg := profile.reference("networkSecurityGroup")) is not None:
            self._links.nic_nsgs.add(nic, nsg, profile, "networkSecurityGroup")
        if profile.has("virtualNetwork"):
            names = vnet.texts("subnetNames")
            if len(names) != 1:
                vnet.fail("subnetNames", f"a classic VM is in one subnet, found {len(names)} names")
            subnet = f"{vnet.arm_id()}/subnets/{names[0]}"
            self._links.configuration_subnets.add(configuration.id, subnet, vnet, "subnetNames")
        self._instance_ip(arm_id, configuration.id, profile, view)

    def _instance_ip(self, vm: str, configuration: str, profile: Fields, view: Fields) -> None:
        """An instance-level public IP: straight to the VM, without endpoints."""
        if addresses := view.texts("instanceIpAddresses"):
            named = next(profile.objects("instanceIps"), None)
            name = (named.optional_text("name") if named is not None else None) or "instanceIp"
            arm_id = f"{vm}/instanceIps/{name}"
            address = view.parse_address("instanceIpAddresses[0]", addresses[0])
            self._public.addresses[key(arm_id)] = PublicIPAddress(arm_id, name, address, "Basic")
            self._links.configuration_public_ips.add(configuration, arm_id, view, "instanceIpAddresses")


def _networks(body: Fields) -> Fields:
    return body.nested("networkProfile")


def _configuration_id(nic: str) -> str:
    return f"{nic}/ipConfigurations/classic"


def _virtual_ip(service: str, machines: Iterable[_Machine]) -> IPAddress | None:
    """The cloud service's public address, by the words of its endpoints."""
    found: IPAddress | None = None
    for machine in machines:
        for endpoint in _networks(machine.body).objects("inputEndpoints"):
            address = endpoint.optional_address("publicIpAddress")
            if found is not None and address is not None and address != found:
                endpoint.fail(
                    "publicIpAddress",
                    f"{address} is a second virtual IP of {plain(service)}, beside {found}",
                )
            found = found or address
    return found


def _all_endpoints(machines: Iterable[_Machine]) -> tuple[ClassicEndpoint, ...]:
    """Those of all VMs; only members of one load-balanced set share a public port."""
    taken: dict[tuple[RuleProtocol, int], ClassicEndpoint] = {}
    endpoints = list[ClassicEndpoint]()
    for machine in machines:
        for body in _networks(machine.body).objects("inputEndpoints"):
            endpoint = _endpoint(machine, body)
            other = taken.setdefault((endpoint.protocol, endpoint.public_port), endpoint)
            if other is not endpoint and (
                endpoint.load_balanced_set is None or endpoint.load_balanced_set != other.load_balanced_set
            ):
                body.fail("publicPort", f"{endpoint.public_port} is already that of {plain(other.id)}")
            endpoints.append(endpoint)
    return tuple(endpoints)


def _endpoint(machine: _Machine, body: Fields) -> ClassicEndpoint:
    name = body.text("endpointName")
    return ClassicEndpoint(
        id=f"{machine.body.owner}/inputEndpoints/{name}",
        name=name,
        protocol=_word(body, "protocol", _PROTOCOLS),
        public_port=body.integer("publicPort", 1, _LAST_PORT),
        private_port=body.integer("privatePort", 1, _LAST_PORT),
        nic=key(machine.nic),
        acl=_acl(body.nested("endpointAccessControlList")),
        load_balanced_set=body.optional_text("loadBalancedEndpointSetName"),
    )


def _acl(body: Fields) -> tuple[EndpointAclRule, ...]:
    """Its rules, lowest order first."""
    rules = [
        EndpointAclRule(
            order=rule.integer("order", 0, _LAST_PORT),
            access=_word(rule, "action", _ACTIONS),
            remote_subnet=rule.parse_prefix("remoteSubnet", rule.text("remoteSubnet")),
            description=rule.optional_text("description") or "",
        )
        for rule in body.objects("rules")
    ]
    return tuple(sorted(rules, key=lambda rule: rule.order))


def _word(body: Fields, name: str, words: Mapping[str, Found]) -> Found:
    text = body.text(name)
    if text.lower() not in words:
        body.fail(name, f"'{shown(text)}' is none of {', '.join(words)}")
    return words[text.lower()]
