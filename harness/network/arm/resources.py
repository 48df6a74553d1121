"""All resource types together: hands each resource to the family that knows its type, then ties them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import SnapshotError
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Family, Reader, name_of
from harness.network.arm.classic import ClassicDeployments
from harness.network.arm.gateways import Gateways
from harness.network.arm.interfaces import Interfaces
from harness.network.arm.load_balancers import LoadBalancers, Surroundings
from harness.network.arm.machines import Machines
from harness.network.arm.managers import NetworkManagers
from harness.network.arm.places import Places
from harness.network.arm.public_addresses import PublicAddresses
from harness.network.arm.route_tables import RouteTables
from harness.network.arm.security_groups import SecurityGroups
from harness.network.arm.vnets import VirtualNetworks
from harness.network.armids import resource_type
from harness.network.fields import Fields, shown
from harness.network.model import Network
from harness.network.words import key
from harness.text import plain


class Resources:
    """Everything read so far."""

    def __init__(self) -> None:
        self._links = links = Associations()
        self._groups = SecurityGroups(links)
        self._tables = RouteTables(links)
        self._vnets = VirtualNetworks(links)
        self._interfaces = Interfaces(links)
        self._machines = Machines(links)
        self._public = PublicAddresses(links)
        self._balancers = LoadBalancers(links)
        self._gateways = Gateways()
        self._managers = NetworkManagers()
        self._classic = ClassicDeployments(links, self._vnets, self._interfaces, self._public)
        families: tuple[Family, ...] = (
            self._groups, self._tables, self._vnets, self._interfaces, self._machines, self._public,
            self._balancers, self._gateways, self._managers, self._classic,
        )  # fmt: skip
        self._readers: dict[str, Reader] = {
            kind: reader for family in families for kind, reader in family.readers.items()
        }
        self._seen: set[str] = set()

    def read(self, body: Mapping[str, Any], origin: str, place: str) -> None:
        """One resource; ``place`` names it as long as its id is not known."""
        fields = Fields(body, origin, place)
        arm_id = fields.arm_id()
        fields = fields.owned_by(arm_id)
        stated, derived = fields.optional_text("type"), resource_type(arm_id)
        kind = stated or derived
        if kind is None:
            fields.fail("type", "is missing and cannot be told from the id")
        reader = self._readers.get(kind.lower())
        if kind.lower() != (derived or "").lower() and (reader or (derived or "").lower() in self._readers):
            fields.fail(
                "type", f"'{shown(kind)}' does not fit the id, which names {shown(derived or 'no type')}"
            )
        if key(arm_id) in self._seen:
            raise SnapshotError(f"{origin}: {plain(arm_id)}: two resources have this id")
        self._seen.add(key(arm_id))
        if reader is None:
            self._links.unmodelled[key(arm_id)] = (kind, arm_id)
        else:
            reader(fields, arm_id, name_of(fields, arm_id))

    def network(self, origin: str) -> Network:
        """What was read as a network; ``origin`` names the whole in errors."""
        self._classic.place()
        nsgs = self._groups.settle(origin)
        nats = self._public.settle()
        subnets = self._vnets.settle_subnets(nsgs, self._tables.tables, nats, origin)
        places = Places(subnets)
        public_ips = self._public.addresses
        nics = self._interfaces.settle(nsgs, public_ips, places)
        vms, nics = self._machines.settle(self._interfaces.nics, nics, subnets, origin)
        vnets = self._vnets.settle(origin)
        self._gateways.check(subnets)
        around = Surroundings(
            self._interfaces.configurations, public_ips, self._public.prefixes, vnets, places
        )
        return Network(
            vnets=vnets,
            subnets=subnets,
            nics=nics,
            vms=vms,
            nsgs=nsgs,
            asgs=self._groups.asgs,
            route_tables=self._tables.settle(origin),
            public_ips=public_ips,
            public_ip_prefixes=self._public.prefixes,
            nat_gateways=nats,
            load_balancers=self._balancers.settle(around, origin),
            gateways=self._gateways.gateways,
            local_gateways=self._gateways.local_gateways,
            connections=self._gateways.connections,
            admin_rules=self._managers.settle(vnets, subnets, origin),
            cloud_services=self._classic.settle(),
            unmodelled=tuple(self._links.unmodelled.values()),
        )
