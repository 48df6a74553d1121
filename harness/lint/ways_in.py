"""By what the Internet comes to a NIC: its public IP, load-balancing rules, inbound NAT rules.

Not for what lets it pass there (:mod:`harness.lint.exposure`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.lint.matches import ALL_PORTS, ALL_PROTOCOLS, PROTOCOLS
from harness.lint.survey import Survey
from harness.network.addresses import Ranges
from harness.network.balancing import FrontendIPConfiguration
from harness.network.model import IpConfiguration, NetworkInterface, key


@dataclass(frozen=True, slots=True)
class WayIn:
    """``ports`` are those at the NIC, after translation; ``basic``: open where no group judges."""

    nic: NetworkInterface
    configuration: IpConfiguration
    protocols: Ranges
    ports: Ranges
    label: str
    object_id: str
    basic: bool


def ways_in(survey: Survey) -> Mapping[str, tuple[WayIn, ...]]:
    """By NIC (key)."""
    found: dict[str, list[WayIn]] = defaultdict(list)
    for way in (*_public_addresses(survey), *_balanced(survey)):
        found[key(way.nic.id)].append(way)
    return {nic: tuple(ways) for nic, ways in found.items()}


def _public_addresses(survey: Survey) -> Iterator[WayIn]:
    for nic, configuration in survey.configurations.values():
        if configuration.public_ip is not None:
            public = survey.network.public_ips[configuration.public_ip]
            label = f"public IP address '{public.name}'"
            basic = public.sku.lower() == "basic"
            yield WayIn(nic, configuration, ALL_PROTOCOLS, ALL_PORTS, label, public.id, basic)


def _balanced(survey: Survey) -> Iterator[WayIn]:
    for balancer in survey.network.load_balancers.values():
        public = {key(item.id) for item in balancer.frontends if is_public(item)}
        basic = balancer.sku.lower() == "basic"
        for rule in balancer.rules:
            if rule.frontend in public:
                ports = ALL_PORTS if not rule.backend_port else ((rule.backend_port, rule.backend_port),)
                label = f"load-balancing rule '{rule.name}'"
                for name in rule.pools:
                    for nic, configuration in survey.pool(balancer, name):
                        yield WayIn(
                            nic, configuration, PROTOCOLS[rule.protocol], ports, label, rule.id, basic
                        )
        for nat in balancer.nat_rules:
            if nat.frontend in public:
                label = f"inbound NAT rule '{nat.name}'"
                ports = ((nat.backend_port, nat.backend_port),)
                target = survey.configurations.get(nat.target or "")
                pool = survey.pool(balancer, nat.pool) if nat.pool is not None else ()
                for nic, configuration in (*([target] if target else []), *pool):
                    yield WayIn(nic, configuration, PROTOCOLS[nat.protocol], ports, label, nat.id, basic)


def is_public(frontend: FrontendIPConfiguration) -> bool:
    return frontend.public_ip is not None or frontend.public_ip_prefix is not None
