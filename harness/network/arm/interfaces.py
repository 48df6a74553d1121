"""Network interfaces with their IP configurations, those of scale sets included."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from harness.network.arm import kinds
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Reader, children, properties
from harness.network.arm.places import Places
from harness.network.armids import kind_of, resource_type
from harness.network.balancing import PublicIPAddress
from harness.network.claims import Claim
from harness.network.fields import Fields, shown
from harness.network.model import IpConfiguration, NetworkInterface
from harness.network.words import IPAddress, key
from harness.text import plain

_VMS = (kinds.VM, kinds.SCALE_SET_VM)


@dataclass(slots=True)
class IpConfigurationDraft:
    id: str
    name: str
    address: IPAddress
    primary: bool | None
    asgs: tuple[str, ...]
    body: Fields


@dataclass(slots=True)
class NicDraft:
    """``primary`` is what the NIC says itself, None where it says nothing."""

    id: str
    name: str
    configurations: list[IpConfigurationDraft]
    ip_forwarding: bool
    primary: bool | None
    mac: str | None


class Interfaces:
    def __init__(self, links: Associations) -> None:
        self.nics: dict[str, NicDraft] = {}
        self.configurations: dict[str, IpConfigurationDraft] = {}
        self._links = links
        self.readers: Mapping[str, Reader] = {
            kinds.NIC: self._nic_of_kind(kinds.IP_CONFIGURATION),
            kinds.SCALE_SET_NIC: self._nic_of_kind(kinds.SCALE_SET_IP_CONFIGURATION),
        }

    def settle(
        self,
        nsgs: Container[str],
        public_ips: Mapping[str, PublicIPAddress],
        places: Places,
    ) -> dict[str, NetworkInterface]:
        """Every NIC in its subnet, not yet attached to a VM."""
        links = self._links
        # groups list scale sets' NICs, which lists of NICs leave out
        nsg_of = links.nic_nsgs.where(
            lambda claim: key(claim.owner) in self.nics or kind_of(claim.owner) != kinds.SCALE_SET_NIC
        ).settle(self.nics, nsgs)
        # a subnet may list NICs that were not captured, a public IP may belong to one:
        # nothing here would refer to them
        captured = self._is_captured
        subnet_of = links.configuration_subnets.where(captured).settle(values=places.subnets)
        public_ip_of = links.configuration_public_ips.where(captured).settle(
            values=public_ips, one_owner=True
        )
        nics = {}
        for name, draft in self.nics.items():
            first = _primary_configuration(draft)
            configurations = tuple(
                _configuration(item, item is first, subnet_of, public_ip_of, public_ips)
                for item in draft.configurations
            )
            for configuration, item in zip(configurations, draft.configurations, strict=True):
                _check_one_subnet(configuration, configurations[0], item, places)
                places.take(configuration.id, configuration.address, configuration.subnet, item.body)
            nics[name] = NetworkInterface(
                id=draft.id,
                name=draft.name,
                ip_configurations=configurations,
                nsg=nsg_of.get(name),
                ip_forwarding=draft.ip_forwarding,
                primary=draft.primary is not False,
                mac=draft.mac,
            )
        return nics

    def add(self, nic: NicDraft) -> None:
        """A NIC that another family read."""
        self.nics[key(nic.id)] = nic
        for configuration in nic.configurations:
            self.configurations[key(configuration.id)] = configuration

    def _is_captured(self, claim: Claim) -> bool:
        return key(claim.owner) in self.configurations

    def _nic_of_kind(self, configuration_kind: str) -> Reader:
        def read(fields: Fields, arm_id: str, name: str) -> None:
            self._nic(fields, arm_id, name, configuration_kind)

        return read

    def _nic(self, fields: Fields, arm_id: str, name: str, configuration_kind: str) -> None:
        body = properties(fields)
        draft = NicDraft(
            id=arm_id,
            name=name,
            configurations=[],
            ip_forwarding=body.flag("enableIPForwarding", default=False),
            primary=body.optional_flag("primary"),
            mac=body.optional_text("macAddress"),
        )
        self.nics[key(arm_id)] = draft

        def configuration(item: Fields, configuration_id: str, configuration_name: str) -> None:
            found = self._ip_configuration(item, configuration_id, configuration_name)
            if found is not None:
                draft.configurations.append(found)

        children(body, "ipConfigurations", arm_id, configuration_kind, configuration)
        if not draft.configurations:
            body.fail("ipConfigurations", "a network interface needs at least one IP configuration")
        if (nsg := body.reference("networkSecurityGroup")) is not None:
            self._links.nic_nsgs.add(arm_id, nsg, body, "networkSecurityGroup")
        if (vm := body.reference("virtualMachine")) is not None:
            if kind_of(vm) not in _VMS:
                body.fail("virtualMachine.id", f"'{shown(vm)}' is no id of a virtual machine")
            self._links.nic_vms.add(arm_id, vm, body, "virtualMachine")

    def _ip_configuration(self, fields: Fields, arm_id: str, name: str) -> IpConfigurationDraft | None:
        body = properties(fields)
        if "/" in body.text("privateIPAddress"):
            # a block of addresses (privateIPAddressPrefixLength); the model has single ones
            body.parse_prefix("privateIPAddress", body.text("privateIPAddress"))
            self._links.unmodelled[key(arm_id)] = (resource_type(arm_id) or "", arm_id)
            return None
        address = body.address("privateIPAddress")
        version = body.optional_text("privateIPAddressVersion")
        if version is not None and version.lower() != f"ipv{address.version}":
            body.fail("privateIPAddressVersion", f"'{shown(version)}' does not fit the address {address}")
        asgs = body.references("applicationSecurityGroups")
        self._links.asg_references += [(asg, body, "applicationSecurityGroups") for asg in asgs]
        if (subnet := body.reference("subnet")) is not None:
            self._links.configuration_subnets.add(arm_id, subnet, body, "subnet")
        if (public_ip := body.reference("publicIPAddress")) is not None:
            self._links.configuration_public_ips.add(arm_id, public_ip, body, "publicIPAddress")
        for pool in body.references("loadBalancerBackendAddressPools"):
            self._links.pool_members.append((pool, arm_id, body, "loadBalancerBackendAddressPools"))
        for rule in body.references("loadBalancerInboundNatRules"):
            self._links.nat_rule_targets.add(rule, arm_id, body, "loadBalancerInboundNatRules")
        draft = IpConfigurationDraft(
            arm_id, name, address, body.optional_flag("primary"), tuple(map(key, asgs)), body
        )
        self.configurations[key(arm_id)] = draft
        return draft


def _primary_configuration(draft: NicDraft) -> IpConfigurationDraft:
    marked = [item for item in draft.configurations if item.primary]
    if len(marked) > 1:
        marked[1].body.fail("primary", f"{plain(marked[0].id)} is primary, too")
    return (marked or draft.configurations)[0]


def _configuration(
    item: IpConfigurationDraft,
    primary: bool,
    subnet_of: Mapping[str, str],
    public_ip_of: Mapping[str, str],
    public_ips: Mapping[str, PublicIPAddress],
) -> IpConfiguration:
    name = key(item.id)
    subnet, public_ip = subnet_of.get(name), public_ip_of.get(name)
    if subnet is None:
        item.body.fail("subnet", "is missing, and no subnet lists this IP configuration")
    if public_ip is not None:
        address = public_ips[public_ip].address
        if address is not None and address.version != item.address.version:
            item.body.fail(
                "publicIPAddress", f"{plain(public_ips[public_ip].id)} is of another address family"
            )
    return IpConfiguration(
        id=item.id,
        name=item.name,
        address=item.address,
        subnet=subnet,
        primary=primary,
        asgs=item.asgs,
        public_ip=public_ip,
    )


def _check_one_subnet(
    configuration: IpConfiguration, first: IpConfiguration, item: IpConfigurationDraft, places: Places
) -> None:
    if configuration.subnet != first.subnet:
        own, other = places.subnets[configuration.subnet], places.subnets[first.subnet]
        item.body.fail(
            "subnet",
            f"{plain(own.id)} is not the subnet of the NIC's first IP configuration, {plain(other.id)}",
        )
