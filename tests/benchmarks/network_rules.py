"""The rules of a generated NSG: what an operator of a hub-and-spoke network writes, by the dice.

For :mod:`tests.benchmarks.networks`, which knows where an NSG stands. Ports are those of known
services; the sides are the NSG's own subnet, other subnets and virtual networks, hosts, tags, ASGs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.harness.network.builders import Resource, arm_id, ref, rule

TCP_SERVICES = {
    "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "http": 80, "kerberos": 88, "pop3": 110, "rpc": 135,
    "netbios": 139, "imap": 143, "ldap": 389, "https": 443, "smb": 445, "submission": 587, "ipp": 631,
    "ldaps": 636, "rsync": 873, "imaps": 993, "pop3s": 995, "socks": 1080, "sqlserver": 1433, "oracle": 1521,
    "mqtt": 1883, "nfs": 2049, "zookeeper": 2181, "docker": 2376, "etcd": 2379, "squid": 3128, "gc": 3268,
    "mysql": 3306, "rdp": 3389, "svn": 3690, "upnp": 5000, "postgres": 5432, "amqp": 5672, "vnc": 5900,
    "winrm": 5985, "winrms": 5986, "redis": 6379, "kubeapi": 6443, "irc": 6667, "cassandra": 9042,
    "prometheus": 9090, "kafka": 9092, "elastic": 9200, "kubelet": 10250, "memcached": 11211,
    "rabbitmq": 15672, "mongodb": 27017, "tomcat": 8080, "tomcats": 8443, "consul": 8500,
}  # fmt: skip
UDP_SERVICES = {
    "dns": 53, "dhcp": 67, "tftp": 69, "ntp": 123, "snmp": 161, "snmptrap": 162, "ike": 500, "syslog": 514,
    "radius": 1812, "ipsecnat": 4500, "mdns": 5353, "statsd": 8125, "vxlan": 8472,
}  # fmt: skip
RANGES = ("135-139", "1024-65535", "5000-5010", "8000-8100", "9000-9999", "30000-32767", "49152-65535")

SEGMENTED = 0.4
"""The part of NSGs that begin by locking out other environments."""
DENYING = 0.2
"""The part of rules that deny."""
ASG = "asg:"
"""Marks a side that is an application security group's name."""

Side = str | list[str]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rules of one NSG may name. ``segments`` are the blocks of the whole network that are not
    its own: of another environment, which some operators lock out. ``asgs`` are of its virtual network."""

    own: tuple[str, ...]
    own_vnet: str
    neighbours: tuple[str, ...]
    subnets: tuple[str, ...]
    vnets: tuple[str, ...]
    hosts: tuple[str, ...]
    segments: tuple[str, ...]
    asgs: tuple[str, ...]


def rules_of(place: Surroundings, count: int, dice: Random) -> Iterator[Resource]:
    """``count`` rules, half of them inbound. None of them denies everything to everyone."""
    for direction, number in (("Inbound", (count + 1) // 2), ("Outbound", count // 2)):
        step = max(1, min(10, 3900 // max(number, 1)))
        priorities = [100 + step * position for position in range(number)]
        if direction == "Inbound" and priorities and dice.random() < SEGMENTED:
            others = sorted(dice.sample(place.segments, 2))
            yield rule("DenyOtherSegments", priorities.pop(0), "Deny", direction, source=others)
        for priority in priorities:
            yield _rule(place, direction, priority, dice)


def _rule(place: Surroundings, direction: str, priority: int, dice: Random) -> Resource:
    access = "Deny" if dice.random() < DENYING else "Allow"
    remote, narrow = _remote(place, direction, dice)
    protocol, service, ports = _service(dice, any_port=narrow)
    source_ports = "1024-65535" if protocol in ("Tcp", "Udp") and dice.random() < 0.02 else "*"
    local = _local(place, dice)
    source, destination = (remote, local) if direction == "Inbound" else (local, remote)
    groups = _groups("source", source) | _groups("destination", destination)
    return rule(
        f"{access}-{service}-{direction}-{priority}", priority, access, direction, protocol,
        _prefixes(source), _prefixes(destination), ports, source_ports, **groups,
    )  # fmt: skip


def _groups(name: str, side: Side) -> dict[str, Any]:
    if not isinstance(side, str) or not side.startswith(ASG):
        return {}
    group = arm_id("applicationSecurityGroups", side.removeprefix(ASG))
    return {f"{name}ApplicationSecurityGroups": [ref(group)]}


def _prefixes(side: Side) -> Side:
    return [] if isinstance(side, str) and side.startswith(ASG) else side


def _remote(place: Surroundings, direction: str, dice: Random) -> tuple[Side, bool]:
    """The other end, and whether it is narrow enough for a rule for all ports."""

    def prefixes() -> list[str]:
        return sorted(set(dice.choices(place.subnets + place.vnets, k=dice.randint(2, 6))))

    kinds: tuple[tuple[int, Callable[[], Side], bool], ...] = (
        (18, lambda: "*", False),
        (15, lambda: "VirtualNetwork", False),
        (8, lambda: "Internet", False),
        (3, lambda: "AzureLoadBalancer" if direction == "Inbound" else "Internet", False),
        (15, lambda: dice.choice(place.neighbours), True),
        (12, lambda: dice.choice(place.subnets), True),
        (10, lambda: dice.choice(place.vnets), True),
        (5, lambda: dice.choice(place.hosts), True),
        (8, prefixes, True),
        (6, lambda: ASG + dice.choice(place.asgs), True),
    )
    _, make, narrow = dice.choices(kinds, weights=[kind[0] for kind in kinds])[0]
    return make(), narrow


def _local(place: Surroundings, dice: Random) -> Side:
    roll = dice.random()
    if roll < 0.4:
        return "*"
    if roll < 0.75:
        return dice.choice(place.own)
    if roll < 0.85:
        return place.own_vnet
    if roll < 0.93:
        return "VirtualNetwork"
    return ASG + dice.choice(place.asgs)


def _service(dice: Random, *, any_port: bool) -> tuple[str, str, Side]:
    """(protocol, name, ports)."""
    roll = dice.random()
    if any_port and roll < 0.12:
        return dice.choice(("*", "Tcp", "Udp")), "any", "*"
    if roll < 0.15:
        return "Icmp", "ping", "*"
    if roll < 0.25:
        ports = dice.choice(RANGES)
        return dice.choice(("Tcp", "Tcp", "Udp", "*")), f"ports-{ports}", ports
    known, protocol = (TCP_SERVICES, "Tcp") if dice.random() < 0.8 else (UDP_SERVICES, "Udp")
    if dice.random() < 0.1:
        protocol = "*"
    names = sorted(dice.sample(sorted(known), dice.choice((1, 1, 1, 2, 3))))
    numbers = [str(known[name]) for name in names]
    return protocol, "-".join(names), numbers[0] if len(numbers) == 1 else numbers
