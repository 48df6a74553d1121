"""Hub-and-spoke networks of any size for measuring the policy engine: ARM resources, by the dice.

The same arguments give the same network. A hub with a forwarding appliance (an NVA), spokes peered with
it: most send 10.0.0.0/8 to the appliance, a few 0.0.0.0/0 as well; some have no route table, are peered
directly in small groups, and do not see the rest. The appliance's own subnet has no NSG, since one
by the dice would cut the whole network. The resources are as GET returns them: each association is told
from both sides, and what azreach does not read is there too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import Random
from typing import Any

from tests.benchmarks.network_rules import Surroundings, rules_of
from tests.harness.network.builders import (
    Resource,
    asg,
    machine,
    nsg,
    peering,
    public_ip,
    ref,
    route,
    table,
    vnet,
)

WHOLE = IPv4Network("10.0.0.0/8")
SEGMENTS = tuple(WHOLE.subnets(new_prefix=10))
"""Environments: each has a quarter of the whole network's addresses."""
PUBLIC = tuple(IPv4Network(text) for text in ("198.51.100.0/24", "203.0.113.0/24"))
FIRST_HOST = 4
"""Azure keeps the first four addresses of a subnet, and the last."""
APPLIANCE, APPLIANCES = "nva", "appliances"
TIERS = ("web", "app", "db", "mgmt", "data")
ROLES = ("frontends", "workers", "databases")


def small() -> list[Resource]:
    """1,000 VMs, 100 NSGs of 50 rules, 20 VNets."""
    return hub_and_spoke(1_000, 100, 50, 20)


def medium() -> list[Resource]:
    """3,200 VMs, 224 NSGs of 70 rules, 64 VNets: between the others, as factors go."""
    return hub_and_spoke(3_200, 224, 70, 64)


def large() -> list[Resource]:
    """10,000 VMs, 500 NSGs of 100 rules, 200 VNets."""
    return hub_and_spoke(10_000, 500, 100, 200)


def write_snapshot(path: Path, resources: Sequence[Resource]) -> None:
    """The resources as a snapshot file, as ``azreach`` loads it."""
    path.write_text(json.dumps({"resources": resources}), encoding="utf-8")


def hub_and_spoke(vms: int, nsgs: int, rules: int, vnets: int, *, seed: int = 0) -> list[Resource]:
    """Exactly ``vms`` VMs (the appliance is one), ``nsgs`` NSGs with ``rules`` custom rules each, all of them
    used in one to three places, and ``vnets`` virtual networks (the hub is one).

    Raises ValueError for what does not fit: at least 2 and at most 256 virtual networks, enough VMs for
    the NSGs.
    """
    if not 2 <= vnets <= 256:
        raise ValueError(f"{vnets} virtual networks: from 2 to 256 fit into {WHOLE}")
    if vms < 1 or nsgs < 0 or not 0 <= rules <= 1000:
        raise ValueError("at least one VM (the appliance), and an NSG has from 0 to 1,000 rules")
    return _Generator(Random(seed), vms, nsgs, rules, vnets).resources()


@dataclass(slots=True)
class _Subnet:
    name: str
    prefix: IPv4Network
    nsg: str | None = None
    taken: int = 0


@dataclass(slots=True)
class _VNet:
    name: str
    space: IPv4Network
    subnets: list[_Subnet] = field(default_factory=list)
    peers: list[_VNet] = field(default_factory=list)
    asgs: list[str] = field(default_factory=list)
    nsgs: list[str] = field(default_factory=list)
    direct: bool = False
    default_route: bool = False

    @property
    def table(self) -> str:
        return f"rt-{self.name}"

    @property
    def segment(self) -> IPv4Network:
        return self.space.supernet(new_prefix=SEGMENTS[0].prefixlen)


@dataclass(slots=True)
class _Machine:
    name: str
    vnet: _VNet
    subnet: _Subnet
    address: IPv4Address
    asgs: tuple[str, ...] = ()
    nsg: str | None = None
    public_ip: str | None = None


class _Generator:
    """One network in the making: who is where, then which NSG is where, then the bodies."""

    def __init__(self, dice: Random, vms: int, nsgs: int, rules: int, vnets: int) -> None:
        self._dice, self._rules = dice, rules
        self._vnets = [self._vnet(number, vnets) for number in range(vnets)]
        self._peer()
        hub = self._vnets[0]
        hub.subnets.insert(0, _Subnet(APPLIANCES, list(hub.space.subnets(new_prefix=22))[-1]))
        self._appliance = self._machine(APPLIANCE, hub, hub.subnets[0])
        self._machines = [self._appliance]
        for number in range(1, vms):
            home = self._vnets[number % vnets]
            places = home.subnets[1:] if home is hub else home.subnets
            self._machines.append(self._machine(f"vm-{number:05}", home, dice.choice(places)))
        for number in range(nsgs):
            self._vnets[number % vnets].nsgs.append(f"nsg-{number:04}")
        for home in self._vnets:
            self._associate(home)
        self._give_public_ips()

    def resources(self) -> list[Resource]:
        found: list[Resource] = []
        found += [asg(name) for home in self._vnets for name in home.asgs]
        found += self._nsgs()
        found += [self._table(home) for home in self._vnets[1:] if not home.direct]
        found += [self._vnet_body(home) for home in self._vnets]
        for item in self._machines:
            forwards = item is self._appliance
            found += machine(
                item.name, f"{item.vnet.name}/{item.subnet.name}", str(item.address), nsg=item.nsg,
                forwarding=forwards, asgs=item.asgs, public_ip=item.public_ip,
            )  # fmt: skip
        addresses = iter(str(address) for block in PUBLIC for address in block.hosts())
        found += [
            public_ip(item.public_ip, next(addresses))
            for item in self._machines
            if item.public_ip is not None
        ]
        _tell_from_both_sides(found)
        for body in found:
            _dress(body)
        return found

    def _vnet(self, number: int, vnets: int) -> _VNet:
        # spread over the whole, so that every segment has its share
        space = IPv4Network((int(WHOLE.network_address) + (number * 256 // vnets << 16), 16))
        name = f"spoke-{number:03}" if number else "hub"
        found = _VNet(name, space)
        blocks = space.subnets(new_prefix=22)
        tiers = TIERS[: self._dice.randint(3, len(TIERS))]
        found.subnets = [_Subnet(tier, next(blocks)) for tier in tiers]
        found.asgs = [f"asg-{name}-{role}" for role in ROLES[: self._dice.randint(1, len(ROLES))]]
        return found

    def _peer(self) -> None:
        hub, spokes = self._vnets[0], self._vnets[1:]
        for spoke in spokes:
            hub.peers.append(spoke)
            spoke.peers.append(hub)
            spoke.default_route = self._dice.random() < 0.1
        direct = self._dice.sample(spokes, len(spokes) // 6)
        for first in range(0, len(direct), 3):
            group = direct[first : first + 3]
            for spoke in group:
                spoke.direct = True
                spoke.peers += [other for other in group if other is not spoke]

    def _machine(self, name: str, home: _VNet, place: _Subnet) -> _Machine:
        number = FIRST_HOST + place.taken
        if number >= place.prefix.num_addresses - 1:
            raise ValueError(f"subnet {place.prefix} is full: more virtual networks, or fewer VMs")
        place.taken += 1
        asgs = (self._dice.choice(home.asgs),) if self._dice.random() < 0.3 and name != APPLIANCE else ()
        return _Machine(name, home, place, place.prefix[number], asgs)

    def _associate(self, home: _VNet) -> None:
        """Each NSG of a virtual network at one to three places: subnets, nine of ten, then NICs."""
        if not home.nsgs:
            return
        uses = dict.fromkeys(home.nsgs, 0)
        subnets = [place for place in home.subnets if place.name != APPLIANCES]
        self._dice.shuffle(subnets)
        for place in subnets:
            least = min(home.nsgs, key=lambda name: uses[name])
            if uses[least] == 0 or (uses[least] < 3 and self._dice.random() < 0.9):
                place.nsg = least
                uses[least] += 1
        nics = [item for item in self._machines if item.vnet is home and item is not self._appliance]
        self._dice.shuffle(nics)
        for name in home.nsgs:
            wanted = self._dice.randint(1, 3) if uses[name] == 0 else self._dice.randint(0, 3 - uses[name])
            chosen, nics = nics[:wanted], nics[wanted:]
            for item in chosen:
                item.nsg = name
            if not uses[name] and not chosen:
                raise ValueError(f"no subnet and no NIC of '{home.name}' is left for {name}: fewer NSGs")

    def _give_public_ips(self) -> None:
        others = self._machines[1:]
        for number, item in enumerate(self._dice.sample(others, min(len(others) // 50, 400))):
            item.public_ip = f"pip-{number:03}"

    def _nsgs(self) -> list[Resource]:
        subnets = tuple(str(place.prefix) for home in self._vnets for place in home.subnets)
        spaces = tuple(str(home.space) for home in self._vnets)
        hosts = tuple(str(item.address) for item in self._machines)
        own: dict[str, list[str]] = defaultdict(list)
        for item in self._machines:
            if item.nsg is not None:
                own[item.nsg].append(str(item.subnet.prefix))
        found = []
        for home in self._vnets:
            for place in home.subnets:
                if place.nsg is not None:
                    own[place.nsg].append(str(place.prefix))
            for name in home.nsgs:
                surroundings = Surroundings(
                    own=tuple(dict.fromkeys(own[name])),
                    own_vnet=str(home.space),
                    neighbours=tuple(str(place.prefix) for place in home.subnets),
                    subnets=subnets,
                    vnets=spaces,
                    hosts=hosts,
                    segments=tuple(str(segment) for segment in SEGMENTS if segment != home.segment),
                    asgs=tuple(home.asgs),
                )
                found.append(nsg(name, *rules_of(surroundings, self._rules, self._dice)))
        return found

    def _table(self, home: _VNet) -> Resource:
        address = str(self._appliance.address)
        routes = [route("to-private", str(WHOLE), "VirtualAppliance", address)]
        if home.default_route:
            routes.append(route("to-internet", "0.0.0.0/0", "VirtualAppliance", address))
        return table(home.table, *routes)

    def _vnet_body(self, home: _VNet) -> Resource:
        steered = home is not self._vnets[0] and not home.direct
        return vnet(
            home.name,
            str(home.space),
            {place.name: str(place.prefix) for place in home.subnets},
            [peering(home.name, peer.name, str(peer.space), forwarded=True) for peer in home.peers],
            {place.name: place.nsg for place in home.subnets if place.nsg is not None},
            {place.name: home.table for place in home.subnets} if steered else None,
        )


def _tell_from_both_sides(resources: Sequence[Resource]) -> None:
    """ARM tells an association at both objects; the builders tell it at one."""
    known = {body["id"]: body["properties"] for body in resources}
    subnets = {
        child["id"]: child["properties"]
        for properties in known.values()
        for child in properties.get("subnets", ())
    }

    def back(target: Resource | None, name: str, owner: str, among: dict[str, Any] = known) -> None:
        if target is not None:
            among[target["id"]].setdefault(name, []).append(ref(owner))

    for identity, properties in subnets.items():
        back(properties.get("networkSecurityGroup"), "subnets", identity)
        back(properties.get("routeTable"), "subnets", identity)
    for identity, properties in known.items():
        back(properties.get("networkSecurityGroup"), "networkInterfaces", identity)
        for configuration in properties.get("ipConfigurations", ()):
            back(configuration["properties"]["subnet"], "ipConfigurations", configuration["id"], subnets)
            public = configuration["properties"].get("publicIPAddress")
            if public is not None:
                known[public["id"]]["ipConfiguration"] = ref(configuration["id"])


def _dress(body: Resource) -> None:
    """What GET adds to every object."""
    properties = body.get("properties")
    if not isinstance(properties, dict):
        return
    body["etag"] = 'W/"00000000-0000-0000-0000-000000000000"'
    properties["provisioningState"] = "Succeeded"
    for children in properties.values():
        if isinstance(children, list):
            for child in children:
                if isinstance(child, dict) and "id" in child:
                    _dress(child)
