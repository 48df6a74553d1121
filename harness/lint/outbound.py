"""Subnets whose machines have no way out to the Internet.

Azure's order: user-defined default route to an appliance or gateway, NAT gateway, instance public IP,
outbound or load-balancing rule, default outbound access (azure-facts, "SNAT"). A default route to
None is a choice, not a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from harness.lint.azure_cli import subnet_update
from harness.lint.finding import Check, Defect, Severity, check
from harness.lint.survey import Survey
from harness.lint.ways_in import is_public
from harness.lint.wording import listed
from harness.network.model import NetworkInterface, RouteSource, Subnet, key
from harness.policy.decision import RouteState

GATEWAY = ("nat-gateway", "<NAT gateway>")


@check("outbound/no-method", Severity.WARNING)
def no_method(survey: Survey) -> Iterator[Defect]:
    """Subnet with machines that have no outbound method.

    Neither NAT gateway, public IP, outbound or load-balancing rule with SNAT, nor a default route to
    an appliance or gateway; and default outbound access is off, or does not apply because of a
    Standard load balancer or public IP at the machine (inbound NAT rules and internal load
    balancers bring no way out).
    """
    methods = _Methods(survey)
    for subnet, nics in methods.without():
        off = subnet.default_outbound_access is False
        closed = [nic for nic in nics if off or methods.default_does_not_apply(nic)]
        if closed:
            state = "is off" if off else "does not apply (Standard load balancer or public IP)"
            yield _defect(subnet, closed, f"and default outbound access {state}")


@check("outbound/unknown-default", Severity.NOTE)
def unknown_default(survey: Survey) -> Iterator[Defect]:
    """Subnet that may rely on default outbound access.

    No outbound method as above, and the snapshot does not say whether the subnet has default
    outbound access: Azure gives it to subnets of old virtual networks only.
    """
    methods = _Methods(survey)
    for subnet, nics in methods.without():
        relying = [nic for nic in nics if not methods.default_does_not_apply(nic)]
        if subnet.default_outbound_access is None and relying:
            yield _defect(
                subnet, relying, "and the snapshot does not say whether it has default outbound access"
            )


class _Methods:
    def __init__(self, survey: Survey) -> None:
        self._survey = survey

    def without(self) -> Iterator[tuple[Subnet, list[NetworkInterface]]]:
        """Subnets with those of their machines' NICs that no explicit method serves."""
        for name, nics in self._survey.nics_of.items():
            subnet = self._survey.network.subnets[name]
            if subnet.nat_gateway is None and not self._has_default_route(subnet):
                left = [nic for nic in nics if nic.vm is not None and nic.primary and not self._leaves(nic)]
                if left:
                    yield subnet, left

    def _has_default_route(self, subnet: Subnet) -> bool:
        """A user's or a gateway's own default route takes what leaves, be it to drop it."""
        return any(
            route.prefix.prefixlen == 0 and route.prefix.version == 4
            for route in self._survey.routes(subnet)
            if route.state is RouteState.ACTIVE
            if route.source is not RouteSource.DEFAULT and route.next_hop_type != "Internet"
        )

    def _leaves(self, nic: NetworkInterface) -> bool:
        return key(nic.id) in self._served or any(item.public_ip for item in nic.ip_configurations)

    def default_does_not_apply(self, nic: NetworkInterface) -> bool:
        """A Standard load balancer or a Standard public IP at any NIC of the VM stops default access."""
        network = self._survey.network
        vm = network.vms.get(nic.vm or "")
        nics = [network.nics[name] for name in vm.nics] if vm is not None else [nic]
        public = [item.public_ip for other in nics for item in other.ip_configurations if item.public_ip]
        return key(nic.id) in self._balanced or any(
            network.public_ips[name].sku.lower() != "basic" for name in public
        )

    @cached_property
    def _served(self) -> frozenset[str]:
        """NICs with SNAT by an outbound rule, or by a load-balancing rule of a public frontend."""
        found = set()
        for balancer in self._survey.network.load_balancers.values():
            public = {key(item.id) for item in balancer.frontends if is_public(item)}
            pools = {rule.pool for rule in balancer.outbound_rules}
            for rule in balancer.rules:
                if rule.frontend in public and not rule.disable_outbound_snat:
                    pools |= set(rule.pools)
            found |= {key(nic.id) for pool in pools for nic, _ in self._survey.pool(balancer, pool)}
        return frozenset(found)

    @cached_property
    def _balanced(self) -> frozenset[str]:
        """Backends of Standard load balancers; pools by address do not count (they behave like Basic)."""
        return frozenset(
            key(self._survey.configurations[member][0].id)
            for balancer in self._survey.network.load_balancers.values()
            if balancer.sku.lower() != "basic"
            for pool in balancer.pools
            for member in pool.members
            if member in self._survey.configurations
        )


def _defect(subnet: Subnet, nics: list[NetworkInterface], why: str) -> Defect:
    verb = "has" if len(nics) == 1 else "have"
    return Defect(
        subnet.id,
        f"{listed(nic.name for nic in nics)} in '{subnet.name}' {verb} no outbound method, {why}",
        "properties.natGateway",
        tuple(nic.id for nic in nics),
        (subnet_update(subnet, GATEWAY),),
    )


CHECKS: tuple[Check, ...] = (no_method, unknown_default)
