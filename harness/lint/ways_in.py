"""By what the Internet comes to a NIC: its public IP, load-balancing rules, inbound NAT rules.

Not for what lets it pass there (:mod:`harness.lint.exposure`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from harness.lint.matches import ALL_PROTOCOLS, NUMBERS
from harness.lint.survey import Survey
from harness.network.addresses import Ranges, merged
from harness.network.balancing import InboundNatRule, LoadBalancingRule
from harness.network.model import IpConfiguration, NetworkInterface, key
from harness.policy.balancers import Frontend, is_basic
from harness.policy.frontends import passages
from harness.policy.portset import ALL_PORTS


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
    for nic, configuration in survey.view.configurations.values():
        if configuration.public_ip is not None:
            public = survey.network.public_ips[configuration.public_ip]
            label = f"public IP address '{public.name}'"
            basic = is_basic(public.sku)
            yield WayIn(nic, configuration, ALL_PROTOCOLS, ALL_PORTS, label, public.id, basic)


def _balanced(survey: Survey) -> Iterator[WayIn]:
    balancers = survey.view.publications.balancers
    for frontend in balancers.frontends.values():
        families = [family for family in (4, 6) if frontend.space(survey.network, family)]
        basic = is_basic(frontend.balancer.sku)
        for rule, alone in _rules(frontend) if families else ():
            kind = "inbound NAT rule" if isinstance(rule, InboundNatRule) else "load-balancing rule"
            for passage in (found for family in families for found in passages(balancers, alone, family)):
                member, label = passage.member, f"{kind} '{rule.name}'"
                numbers = merged((NUMBERS[item], NUMBERS[item]) for item in passage.protocols)
                yield WayIn(member.nic, member.configuration, numbers, passage.ports, label, rule.id, basic)


def _rules(frontend: Frontend) -> Iterator[tuple[LoadBalancingRule | InboundNatRule, Frontend]]:
    """Each rule with the frontend as if it had that one only.

    Nothing is lost by it: Azure lets no two rules of a public frontend have a port in common.
    """
    for nat_rule in frontend.nat_rules:
        yield nat_rule, replace(frontend, rules=(), nat_rules=(nat_rule,))
    for rule in frontend.rules:
        yield rule, replace(frontend, rules=(rule,), nat_rules=())
