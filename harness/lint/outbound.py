"""Subnets whose machines have no way out to the Internet.

What is a way out says the policy engine (:mod:`harness.policy.outbound`), of TCP and UDP over IPv4. A
default route to an appliance or gateway is one too, if it works or not (:mod:`harness.lint.routes`); one
to None is a choice, not a fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.azure_cli import subnet_update
from harness.lint.finding import Check, Defect, Severity, check
from harness.lint.survey import Survey
from harness.lint.wording import listed
from harness.network.model import NetworkInterface, NextHopType, RouteSource, Subnet
from harness.policy.outbound import NoOutbound, Outbound, OutboundKind

GATEWAY = ("nat-gateway", "<NAT gateway>")


@check("outbound/no-method", Severity.WARNING)
def no_method(survey: Survey) -> Iterator[Defect]:
    """Subnet with machines that have no outbound method.

    Neither NAT gateway with an address, public IP, outbound or load-balancing rule with SNAT, nor a
    default route to an appliance or gateway; and default outbound access is off, or does not apply because
    of a Standard load balancer or public IP at the machine (inbound NAT rules and internal load balancers
    bring no way out). A subnet that does not say whether it has default outbound access is taken to have
    it, unless `--assume default-outbound=denied`.
    """
    for subnet, nics in _relying(survey):
        closed = [(nic, found) for nic, found in nics if isinstance(found, NoOutbound)]
        if closed:
            first, found = closed[0]
            example = f"; of '{first.name}'" if len(closed) > 1 else ""
            yield _defect(subnet, [nic for nic, _ in closed], f"no outbound method{example}: {found.why}")


@check("outbound/unknown-default", Severity.NOTE)
def unknown_default(survey: Survey) -> Iterator[Defect]:
    """Subnet that may rely on default outbound access.

    No outbound method as above, and the snapshot does not say whether the subnet has default
    outbound access: Azure gives it to subnets of old virtual networks only.
    """
    for subnet, nics in _relying(survey):
        open_ = [nic for nic, found in nics if isinstance(found, Outbound)]
        if subnet.default_outbound_access is None and open_:
            yield _defect(
                subnet,
                open_,
                "no outbound method, and the snapshot does not say whether it has default outbound access",
            )


def _relying(survey: Survey) -> Iterator[tuple[Subnet, list[tuple[NetworkInterface, Outbound | NoOutbound]]]]:
    """Subnets with those of their machines' NICs that default outbound access, if anything, lets out."""
    for name, nics in survey.nics_of.items():
        subnet = survey.network.subnets[name]
        if _has_default_route(survey, subnet):
            continue
        found = [(nic, _way_out(survey, nic)) for nic in nics if nic.vm is not None and nic.primary]
        left = [(nic, way) for nic, way in found if way is not None and not _is_chosen(way)]
        if left:
            yield subnet, left


def _has_default_route(survey: Survey, subnet: Subnet) -> bool:
    """A user's or a gateway's own default route takes what leaves, be it to drop it."""
    return any(
        route.prefix.prefixlen == 0 and route.prefix.version == 4
        for route in survey.routes(subnet)
        if route.source is not RouteSource.DEFAULT and route.next_hop_type is not NextHopType.INTERNET
    )


def _way_out(survey: Survey, nic: NetworkInterface) -> Outbound | NoOutbound | None:
    """The best that one of its IPv4 addresses has; None without any."""
    ways = survey.ways_out(nic)
    return min(ways, key=lambda way: (not _is_chosen(way), isinstance(way, NoOutbound)), default=None)


def _is_chosen(way: Outbound | NoOutbound) -> bool:
    """Whether somebody gave it: a classic VM's cloud service counts, a subnet's default access does not."""
    return isinstance(way, Outbound) and (
        way.kind is not OutboundKind.DEFAULT_ACCESS or way.object_id is not None
    )


def _defect(subnet: Subnet, nics: list[NetworkInterface], lacks: str) -> Defect:
    verb = "has" if len(nics) == 1 else "have"
    return Defect(
        subnet.id,
        f"{listed(nic.name for nic in nics)} in '{subnet.name}' {verb} {lacks}",
        "properties.natGateway",
        tuple(nic.id for nic in nics),
        (subnet_update(subnet.id, GATEWAY),),
    )


CHECKS: tuple[Check, ...] = (no_method, unknown_default)
