"""What one lab file must agree on with itself: names that refer to something, addresses that fit.

Pure; each problem is (place in the file, text). Not for single values: the models see to those.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from harness.model import Protocol
from lab.addresses import AddressPool
from lab.labfile import MAX_VMS, TAGS, LabFile, Nic, has_number

Problem = tuple[tuple[str | int, ...], str]


def problems(lab: LabFile) -> list[Problem]:
    """Everything that refers to nothing or contradicts something, in the file's order."""
    return [
        *_vnets(lab),
        *_nsgs(lab),
        *_route_tables(lab),
        *_names(lab),
        *_nics(lab),
        *_public(lab),
        *_flows(lab),
        *_management(lab),
    ]


def _known(kind: str, name: str | None, names: Iterable[str]) -> str | None:
    if name is None or name in names:
        return None
    return f"no {kind} '{name}' in this file (it has: {', '.join(names) or 'none'})"


def _vnets(lab: LabFile) -> Iterator[Problem]:
    for vnet_name, vnet in lab.vnets.items():
        here: tuple[str, ...] = ("vnets", vnet_name)
        spaces = [ip_network(prefix) for prefix in vnet.address_space]
        seen: list[tuple[str, str]] = []
        for name, subnet in vnet.subnets.items():
            place = (*here, "subnets", name)
            for text in subnet.prefix:
                prefix = ip_network(text)
                if not any(prefix.version == s.version and prefix.subnet_of(s) for s in spaces):  # type: ignore[arg-type]
                    yield (*place, "prefix"), f"{text} is not in the VNet's address space"
                for other, taken in seen:
                    if ip_network(taken).overlaps(prefix):
                        yield (*place, "prefix"), f"{text} overlaps with subnet '{other}' ({taken})"
                seen.append((name, text))
            if problem := _known("NSG", subnet.nsg, lab.nsgs):
                yield (*place, "nsg"), problem
            if problem := _known("route table", subnet.route_table, lab.route_tables):
                yield (*place, "route_table"), problem
            if problem := _known("NAT gateway", subnet.nat_gateway, lab.nat_gateways):
                yield (*place, "nat_gateway"), problem
        for name, peering in vnet.peerings.items():
            place = (*here, "peerings", name, "remote")
            if problem := _known("VNet", peering.remote, lab.vnets):
                yield place, problem
            elif peering.remote == vnet_name:
                yield place, "a VNet cannot be peered with itself"


def _public(lab: LabFile) -> Iterator[Problem]:
    """Public addresses: who has them, and that nobody has one twice."""
    owners: dict[str, str] = {}

    def claimed(address: str, owner: str) -> str | None:
        other = owners.setdefault(address, owner)
        return None if other == owner else f"{address} is {other}'s already"

    for name, public in lab.public_ips.items():
        if problem := claimed(public.address, f"public IP '{name}'"):
            yield ("public_ips", name), problem
    for name, host in lab.internet_hosts.items():
        for address in host.addresses:
            if problem := claimed(address, f"internet host '{name}'"):
                yield ("internet", "hosts", name), problem
    users: dict[str, str] = {}
    for name, gateway in lab.nat_gateways.items():
        here = ("nat_gateways", name, "public_ip")
        if problem := _public_ip_problem(lab, gateway.public_ip, f"NAT gateway '{name}'", users):
            yield here, problem
    for key, vm in lab.vms.items():
        for number, nic in enumerate(vm.interfaces()):
            place: tuple[str | int, ...] = ("vms", key, *(("nics", number) if vm.nics else ()), "public_ip")
            if nic.public_ip is None:
                continue
            if problem := _public_ip_problem(lab, nic.public_ip, f"VM '{key}'", users):
                yield place, problem
            elif ip_address(lab.public_ips[nic.public_ip].address).version == 6 and not nic.ipv6:
                yield place, f"'{nic.public_ip}' is an IPv6 address, and the NIC has none"


def _public_ip_problem(lab: LabFile, name: str, user: str, users: dict[str, str]) -> str | None:
    if problem := _known("public IP", name, lab.public_ips):
        return problem
    other = users.setdefault(name, user)
    return None if other == user else f"public IP '{name}' is {other}'s already"


def _nsgs(lab: LabFile) -> Iterator[Problem]:
    for nsg, rules in lab.nsgs.items():
        names: Counter[str] = Counter()
        priorities: Counter[tuple[str, int]] = Counter()
        for number, rule in enumerate(rules):
            here = ("nsgs", nsg, number)
            names[rule.name.lower()] += 1
            priorities[rule.direction, rule.priority] += 1
            if names[rule.name.lower()] > 1:
                yield (*here, "name"), f"two rules are named '{rule.name}'"
            if priorities[rule.direction, rule.priority] > 1:
                yield (*here, "priority"), f"two {rule.direction} rules have priority {rule.priority}"
            for side, selectors in (("source", rule.source), ("destination", rule.destination)):
                for selector in selectors:
                    if text := _selector_problem(selector, lab.asgs):
                        yield (*here, side), text
                if "*" in selectors and len(selectors) > 1:
                    yield (*here, side), "'*' stands alone"
                if any(selector in lab.asgs for selector in selectors) and not all(
                    selector in lab.asgs for selector in selectors
                ):
                    yield (*here, side), "ASGs and prefixes or tags cannot be mixed in one rule"


def _selector_problem(selector: str, asgs: Iterable[str]) -> str | None:
    if selector == "*" or selector in asgs or selector.lower() in {tag.lower() for tag in TAGS}:
        return None
    try:
        ip_network(selector)
    except ValueError:
        return (
            f"'{selector}' is no prefix, no ASG of this file (it has: {', '.join(asgs) or 'none'}) "
            f"and none of the service tags {', '.join(TAGS)}"
        )
    return None


def _route_tables(lab: LabFile) -> Iterator[Problem]:
    for table, routes in lab.route_tables.items():
        for number, route in enumerate(routes):
            for other in routes[:number]:
                if other.name.lower() == route.name.lower():
                    yield ("route_tables", table, number, "name"), f"two routes are named '{route.name}'"
                if other.prefix == route.prefix:
                    yield ("route_tables", table, number, "prefix"), f"two routes have prefix {route.prefix}"


def _names(lab: LabFile) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    total = 0
    for key, vm in lab.vms.items():
        if vm.count is not None and not has_number(key):
            yield ("vms", key, "count"), "the name of several VMs needs a number: write {n} in it"
        if vm.count is None and has_number(key):
            yield ("vms", key), "a name with {n} needs 'count'"
        total += vm.count or 1
    if total > MAX_VMS:
        yield ("vms",), f"{total} VMs; a lab has at most {MAX_VMS}"
        return
    for name, key, _ in lab.expanded():
        owner = owners.setdefault(name.lower(), key)
        if owner != key:
            yield ("vms", key), f"two VMs are named '{name}' (the other is '{owner}'; case does not count)"
    for name in lab.internet_hosts:
        owner = owners.setdefault(name.lower(), name)
        if owner != name or name in lab.vms:
            yield ("internet", "hosts", name), f"a VM is named '{owner}', too"


def _nics(lab: LabFile) -> Iterator[Problem]:
    pools: dict[tuple[str, str], AddressPool] = {}
    expanded = list(lab.expanded())
    if len(expanded) > MAX_VMS:
        return
    for automatic in (False, True):
        for _, key, vm in expanded:
            vnets = set()
            for number, nic in enumerate(vm.interfaces()):
                place: tuple[str | int, ...] = ("vms", key, *(("nics", number) if vm.nics else ()))
                if not automatic:
                    for asg in nic.asgs:
                        if text := _known("ASG", asg, lab.asgs):
                            yield (*place, "asgs"), text
                    if text := _known("NSG", nic.nsg, lab.nsgs):
                        yield (*place, "nsg"), text
                try:
                    subnet = lab.subnet(nic.subnet)
                except ValueError as error:
                    if not automatic:
                        yield (*place, "subnet"), str(error)
                    continue
                vnets.add(subnet[0])
                if len(vnets) > 1 and not automatic:
                    yield (*place, "subnet"), "the NICs of one VM must be in one VNet"
                pool = pools.setdefault(subnet, AddressPool(lab.prefixes(subnet)))
                yield from _addresses(pool, nic, place, automatic=automatic)


def _addresses(
    pool: AddressPool, nic: Nic, place: tuple[str | int, ...], *, automatic: bool
) -> Iterator[Problem]:
    for key, wanted, family in (("address", nic.address, 4), ("ipv6", nic.ipv6, 6)):
        try:
            if isinstance(wanted, str) and not automatic:
                address: IPv4Address | IPv6Address = ip_address(wanted)
                if address.version != family:
                    raise ValueError(f"{wanted} is no IPv{family} address")
                pool.take(address)
            elif automatic and (wanted is None or wanted is True):
                pool.next(family)
        except ValueError as error:
            yield (*place, key), str(error)


def _management(lab: LabFile) -> Iterator[Problem]:
    if lab.management is None:
        return
    if problem := _known("VM", lab.management.jump, [name for name, _, _ in lab.expanded()]):
        yield ("management", "jump"), problem
    for key, vm in lab.vms.items():
        ours = key != lab.management.jump
        if ours and any((item.protocol, item.port) == (Protocol.TCP, 22) for item in vm.services):
            yield ("vms", key, "services"), "22/tcp is sshd's own where VMs are managed in band"


def _flows(lab: LabFile) -> Iterator[Problem]:
    names = [*(name for name, _, _ in lab.expanded()), *lab.internet_hosts]
    for number, flow in enumerate(lab.flows):
        for key, pattern in (("from", flow.source), ("to", flow.target)):
            if any(name == pattern or fnmatch.fnmatchcase(name, pattern) for name in names):
                continue
            try:
                if key == "from":
                    raise ValueError
                ip_address(pattern)
            except ValueError:
                yield ("flows", number, key), f"'{pattern}' matches no machine"
