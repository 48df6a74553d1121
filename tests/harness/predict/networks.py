"""Networks to predict: one with tiers that a person can judge, and random ones of any size."""

from __future__ import annotations

from harness.network.model import Network
from tests.benchmarks.networks import hub_and_spoke
from tests.harness.network.builders import Resource, machine, network, nic, nsg, peering, rule, vm, vnet


def tiers() -> list[Resource]:
    """Two jump hosts in a hub; behind NSGs three web servers, two of each other tier, a VM with two NICs."""
    found = [
        vnet("hub", "10.0.0.0/16", {"jump": "10.0.1.0/24"}, [peering("hub", "prod", "10.1.0.0/16")]),
        vnet(
            "prod",
            "10.1.0.0/16",
            {"web": "10.1.1.0/24", "app": "10.1.2.0/24", "db": "10.1.3.0/24"},
            [peering("prod", "hub", "10.0.0.0/16")],
            nsgs={"web": "nsg-web", "app": "nsg-app", "db": "nsg-db"},
        ),
        nsg(
            "nsg-web",
            rule("https", 100, "Allow", protocol="Tcp", ports=["80", "443"]),
            rule("ssh", 110, "Allow", protocol="Tcp", source="10.0.1.0/24", ports="22"),
            rule("no", 4000, "Deny"),
        ),
        nsg(
            "nsg-app",
            rule("api", 100, "Allow", protocol="Tcp", source="10.1.1.0/24", ports="8080-8090"),
            rule("ping", 120, "Allow", protocol="Icmp"),
            rule("no", 4000, "Deny"),
        ),
        nsg(
            "nsg-db",
            rule("sql", 100, "Allow", protocol="Tcp", source="10.1.2.0/24", ports="1433"),
            rule("mirror", 105, "Allow", source="10.1.3.0/24"),
            rule("no", 4000, "Deny"),
        ),
        nic("fw-0", "prod/web", "10.1.1.100", vm="fw"),
        nic("fw-1", "prod/app", "10.1.2.100", vm="fw"),
        vm("fw", "fw-0", "fw-1"),
    ]
    for name, place, count, first in (
        ("jump", "hub/jump", 2, "10.0.1."),
        ("web", "prod/web", 3, "10.1.1."),
        ("app", "prod/app", 2, "10.1.2."),
        ("db", "prod/db", 2, "10.1.3."),
    ):
        for number in range(1, count + 1):
            found += machine(f"{name}-{number:02}", place, f"{first}{number + 3}")
    return found


def tiers_network() -> Network:
    return network(tiers())


def random_network(seed: int, vms: int = 30) -> Network:
    return network(hub_and_spoke(vms, 8, 8, 4, seed=seed))
