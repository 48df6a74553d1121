"""Small networks and one-line questions for the tests of the policy engine."""

from __future__ import annotations

from typing import Any

from harness.model import Flow, Protocol
from harness.network.model import Network
from harness.policy.decision import Explanation
from harness.policy.explain import explain
from tests.harness.network.builders import (
    machine,
    network,
    rule,
    vnet,
)

TCP, UDP, ICMP = Protocol.TCP, Protocol.UDP, Protocol.ICMP


def ask(
    net: Network, source: str, target: str, port: int | None = 1433, protocol: Protocol = TCP, **more: Any
) -> Explanation:
    family = more.pop("family", None)
    return explain(net, Flow(source, target, protocol, port, family), **more)


def tiers(*extra: Any, **associations: Any) -> Network:
    """One VNet with web and db subnets and a VM in each; NSGs and tables by subnet name."""
    db = associations.pop("db", {})
    web = associations.pop("web", {})
    return network(
        vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24", "db": "10.0.2.0/24"}, **associations),
        machine("web-01", "v/web", "10.0.1.4", **web),
        machine("db-01", "v/db", "10.0.2.4", **db),
        *extra,
    )


DENY_IN = rule("deny-sql", 200, "Deny", protocol="Tcp", ports="1433")
DENY_OUT = rule("deny-sql", 200, "Deny", "Outbound", protocol="Tcp", ports="1433")
CLOSED_IN = rule("deny-rest", 4096, "Deny")
