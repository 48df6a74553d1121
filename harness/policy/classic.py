"""What the endpoints of a cloud service let in: the way to a classic VM from outside its virtual network.

Azure (virtual-networks-acl, virtual-machines-common-classic-setup-endpoints): an endpoint takes one
public port of one protocol to a private port; its access control list is asked lowest order first.
Inside the cloud service and its virtual network no endpoint is needed; that is routing's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.model import Cause, Protocol
from harness.network.classic import ClassicEndpoint, CloudService, EndpointAclRule
from harness.network.model import Access, IPAddress
from harness.policy.arrival import Arrival, Refusal
from harness.policy.balancers import balances

if TYPE_CHECKING:
    from harness.policy.compiled import Compiled

OPEN_SKU = "Basic"
"""An endpoint is open to whom its list permits, with or without a network security group."""


@dataclass(frozen=True, slots=True)
class AclDecision:
    """``rule`` is the first that holds the client's address; None: what the list says of all others."""

    access: Access
    rule: EndpointAclRule | None


def acl_decision(acl: Sequence[EndpointAclRule], source: IPAddress) -> AclDecision:
    """What an endpoint's access control list does to a client.

    Without rules everybody is permitted; with a permit among them all others are denied; where all of
    them deny, all others are permitted. A mix counts as a list with a permit, as Azure's example
    reads; its documents do not say so expressly.
    """
    for rule in sorted(acl, key=lambda rule: rule.order):
        if source in rule.remote_subnet:
            return AclDecision(rule.access, rule)
    permits = any(rule.access is Access.ALLOW for rule in acl)
    return AclDecision(Access.DENY if permits else Access.ALLOW, None)


def members(service: CloudService, endpoint: ClassicEndpoint) -> tuple[ClassicEndpoint, ...]:
    """The endpoint with the others of its load-balanced set; itself alone where it is in none."""
    if endpoint.load_balanced_set is None:
        return (endpoint,)
    return tuple(
        other
        for other in service.endpoints
        if other.load_balanced_set == endpoint.load_balanced_set
        and (other.protocol, other.public_port) == (endpoint.protocol, endpoint.public_port)
    )


def acl_of(service: CloudService, endpoint: ClassicEndpoint) -> tuple[EndpointAclRule, ...]:
    """The list that is asked at the endpoint: on a load-balanced set one list applies to every member."""
    return next((item.acl for item in members(service, endpoint) if item.acl), ())


def endpoint_arrivals(
    view: Compiled, service: CloudService, protocol: Protocol, port: int | None, source: IPAddress
) -> tuple[Arrival, ...] | Refusal:
    """Who gets what ``source`` sends to a port of the cloud service's address."""
    found = [item for item in service.endpoints if port is not None and item.public_port == port]
    endpoint = next((item for item in found if balances(item.protocol, protocol)), None)
    if endpoint is None:
        return _nothing(service, found, protocol, port)
    where = endpoint_label(service, endpoint)
    decision = acl_decision(acl_of(service, endpoint), source)
    if decision.access is Access.DENY:
        cause, why = Cause.ACL_IMPLICIT_DENY, f"its access control list permits others, not {source}"
        if decision.rule is not None:
            cause = Cause.ACL_DENY
            why = (
                f"rule {decision.rule.order} of its access control list denies"
                f" {decision.rule.remote_subnet}, which holds {source}"
            )
        return Refusal(cause, where, why, endpoint.id)
    arrivals = tuple(
        Arrival(
            nic, configuration, item.private_port, endpoint_label(service, item),
            f"{protocol} port {port} of {service.address} is port {item.private_port} of"
            f" {configuration.address}{_permit(decision)}",
            item.id, OPEN_SKU,
        )
        for item in members(service, endpoint)
        if (nic := view.network.nics.get(item.nic)) is not None
        for configuration in nic.ip_configurations[:1]
    )  # fmt: skip
    return arrivals or Refusal(None, where, "no virtual machine is behind it", endpoint.id)


def endpoint_label(service: CloudService, endpoint: ClassicEndpoint) -> str:
    return f"cloud service '{service.name}', endpoint '{endpoint.name}'"


def _permit(decision: AclDecision) -> str:
    if decision.rule is None:
        return ""
    return f" (rule {decision.rule.order} of its access control list permits {decision.rule.remote_subnet})"


def _nothing(
    service: CloudService, same_port: Sequence[ClassicEndpoint], protocol: Protocol, port: int | None
) -> Refusal:
    where = f"cloud service '{service.name}'"
    if same_port:
        other = same_port[0]
        why = f"endpoint '{other.name}' has public port {port} for {other.protocol.value}, not for {protocol}"
        return Refusal(Cause.ENDPOINT_PROTOCOL, where, why, other.id)
    asked = f"{protocol} port {port}" if port is not None else f"{protocol}: endpoints are for TCP and UDP"
    listed = ", ".join(
        f"'{item.name}' ({item.protocol.value} {item.public_port})" for item in service.endpoints
    )
    why = f"no endpoint for {asked}; it has {listed or 'none'}"
    return Refusal(Cause.NO_ENDPOINT, where, why, service.id)
