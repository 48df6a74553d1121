"""What the policy engine says: every decision on a packet's way, and the verdict they add up to.

Only words; who makes the decisions is :mod:`harness.policy.journey`, how they become JSON
:mod:`harness.policy.document`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from harness.model import Cause, Flow
from harness.network.model import (
    Access,
    IPAddress,
    IPNetwork,
    NextHopType,
    RouteSource,
)

if TYPE_CHECKING:
    from harness.policy.outbound import Outbound
    from harness.policy.packet import Packet
    from harness.policy.security import AnyRuleList, RuleEvaluation


class PolicyVerdict(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class Way(StrEnum):
    """Which packet a decision is about: the flow's own, or its answer."""

    FORWARD = "forward"
    RETURN = "return"


class DecisionKind(StrEnum):
    SOURCE = "source"
    """Which NIC and address the packet starts from."""
    NSG = "nsg"
    STATE = "state"
    """A port that knows the flow lets its answer pass without asking rules."""
    ROUTE = "route"
    PEERING = "peering"
    APPLIANCE = "appliance"
    PLATFORM = "platform"
    """Azure's own addresses, which no NSG and no route applies to."""
    ADMIN_RULE = "admin-rule"
    """Security admin rules of Azure Virtual Network Manager, asked before the NSGs."""
    GATEWAY = "gateway"
    INBOUND = "inbound"
    """What publishes the target: public IP, load-balancing or inbound NAT rule, classic endpoint."""
    OUTBOUND = "outbound"
    """By what the packet leaves to the internet."""
    DELIVERY = "delivery"


class RouteState(StrEnum):
    ACTIVE = "Active"
    INVALID = "Invalid"


@dataclass(frozen=True, slots=True)
class EffectiveRoute:
    """One line of a NIC's effective route table.

    ``name`` and ``id`` are a user-defined route's, or the peering's that a route comes from;
    None for other system routes. ``peer`` is the key of the peered virtual network.
    ``other_next_hops``: packets are spread over all of them (VirtualApplianceEcmp).
    """

    prefix: IPNetwork
    next_hop_type: NextHopType
    next_hop_ip: IPAddress | None
    source: RouteSource
    state: RouteState = RouteState.ACTIVE
    name: str | None = None
    id: str | None = None
    peer: str | None = None
    other_next_hops: tuple[IPAddress, ...] = ()

    def __str__(self) -> str:
        hop = f" {self.next_hop_ip}" if self.next_hop_ip is not None else ""
        return f"{self.prefix} -> {self.next_hop_type}{hop} ({self.source})"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: about which packet, where, by what, and why.

    ``where`` names the place for people (``network interface nic-web``), ``object_id`` the
    object whose configuration decided. ``rule`` is ``<nsg name>/<rule name>``.
    """

    way: Way
    kind: DecisionKind
    access: Access
    where: str
    why: str
    object_id: str | None = None
    nic_id: str | None = None
    rule: str | None = None
    rule_id: str | None = None
    route: EffectiveRoute | None = None

    asked: Asked | None = field(default=None, repr=False, compare=False)

    def evaluations(self) -> tuple[RuleEvaluation, ...]:
        """Every rule up to the one that matched, and why the others did not; () where no rules were asked."""
        return self.asked.rules.evaluations(self.asked.packet) if self.asked is not None else ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The rules that a decision asked, and about what."""

    rules: AnyRuleList
    packet: Packet


@dataclass(frozen=True, slots=True)
class Options:
    """Where Azure's documents contradict each other; the defaults are the documented reading.

    ``peering_access``: what ``allowVirtualNetworkAccess: false`` leaves: only what custom
    rules allow by address or ASG, or nothing at all. ``forwarded_traffic``: whether a packet
    that did not originate in the peer is dropped without ``allowForwardedTraffic``, as
    documented, or passes, as field trials saw. ``platform_source``: whether NSGs judge what
    comes from 168.63.129.16 (load balancer probes). ``default_outbound``: whether a subnet that does
    not say has default outbound access (those made before it was retired have). ``inbound_tcp``:
    whether established flows that a custom inbound TCP rule let in survive a change of rules
    ("changes affect new connections only"), or are judged anew unless the virtual network sets a flow
    timeout, as the flow log documents say.
    """

    peering_access: Literal["explicit-allow", "no-traffic"] = "explicit-allow"
    forwarded_traffic: Literal["documented", "not-enforced"] = "documented"
    platform_source: Literal["exempt", "filtered"] = "exempt"
    default_outbound: Literal["allowed", "denied"] = "allowed"
    inbound_tcp: Literal["stateful", "stateless"] = "stateful"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Allow or deny, and why.

    ``deciding`` is the decision that denied, or for an allow the last rule that allowed on
    the flow's own way. ``rule`` and ``route`` are that rule's name and the route that denied,
    else the source's first route. ``fix`` is the smallest change, as Azure CLI commands.
    """

    flow: Flow
    verdict: PolicyVerdict
    cause: Cause | None
    rule: str | None
    route: EffectiveRoute | None
    decisions: tuple[Decision, ...]
    deciding: Decision | None
    source_address: IPAddress
    target_address: IPAddress
    source_nic: str | None = None
    target_nic: str | None = None
    source_port: int | None = None
    outbound: Outbound | None = None
    options: Options = field(default_factory=Options)
    fixing: Callable[[], tuple[str, ...]] | None = field(default=None, repr=False, compare=False)

    @property
    def fix(self) -> tuple[str, ...]:
        """The changes that would let the flow pass, worked out when they are asked for; () for an allow."""
        return self.fixing() if self.fixing is not None else ()

    @property
    def allowed(self) -> bool:
        return self.verdict is PolicyVerdict.ALLOW
