"""The decisions of one journey, in order, and the one that ends it.

Only keeps and words them; the parts of a journey (ports, hops, edge) make them.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.model import Cause
from harness.network.model import Access, IPAddress, Network, NetworkInterface
from harness.policy.arrival import Refusal
from harness.policy.decision import Asked, Decision, DecisionKind, EffectiveRoute, Way
from harness.policy.ends import End
from harness.policy.packet import Packet


@dataclass(frozen=True, slots=True)
class Membership:
    """An end that would be let through, were its NIC in one of ``asgs`` (keys)."""

    end: End
    asgs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Where a packet ended.

    ``packet`` is the one that rules denied, as they saw it. ``vnets`` are the virtual
    networks (keys) whose peering is at fault, if one is: the one that lacks it first.
    ``lacking`` is the ASG membership that is missing, if one is. ``address`` is the one that no route led to.
    """

    cause: Cause | None
    decision: Decision
    vnets: tuple[str, str] | None = None
    packet: Packet | None = None
    lacking: Membership | None = None
    address: IPAddress | None = None


class Dropped(Exception):
    """Ends a journey; never leaves :mod:`harness.policy.journey`."""

    def __init__(self, drop: Drop) -> None:
        super().__init__(drop.decision.why)
        self.drop = drop


class Trail:
    """Decisions so far; ``way`` says which packet they are about."""

    def __init__(self) -> None:
        self.way = Way.FORWARD
        self.decisions: list[Decision] = []

    def allow(
        self,
        kind: DecisionKind,
        where: str,
        why: str,
        *,
        object_id: str | None = None,
        nic: NetworkInterface | None = None,
        rule: tuple[str, str] | None = None,
        route: EffectiveRoute | None = None,
        asked: Asked | None = None,
    ) -> None:
        """``rule`` is its name (``<nsg>/<rule>``) and its id."""
        self._record(kind, Access.ALLOW, where, why, object_id, nic, rule, route, asked)

    def deny(
        self,
        cause: Cause | None,
        kind: DecisionKind,
        where: str,
        why: str,
        *,
        object_id: str | None = None,
        nic: NetworkInterface | None = None,
        rule: tuple[str, str] | None = None,
        route: EffectiveRoute | None = None,
        asked: Asked | None = None,
        vnets: tuple[str, str] | None = None,
        packet: Packet | None = None,
        lacking: Membership | None = None,
        address: IPAddress | None = None,
    ) -> Dropped:
        """Records the decision; the caller raises what it returns, which ends the journey."""
        decision = self._record(kind, Access.DENY, where, why, object_id, nic, rule, route, asked)
        return Dropped(Drop(cause, decision, vnets, packet, lacking, address))

    def refuse(self, refusal: Refusal) -> Dropped:
        """The network has the address and publishes nothing there; the caller raises what it returns."""
        return self.deny(
            refusal.cause, DecisionKind.INBOUND, refusal.where, refusal.why, object_id=refusal.object_id
        )

    def _record(
        self,
        kind: DecisionKind,
        access: Access,
        where: str,
        why: str,
        object_id: str | None,
        nic: NetworkInterface | None,
        rule: tuple[str, str] | None,
        route: EffectiveRoute | None,
        asked: Asked | None,
    ) -> Decision:
        name, rule_id = rule or (None, None)
        nic_id = nic.id if nic else None
        decision = Decision(
            self.way, kind, access, where, why, object_id or nic_id, nic_id, name, rule_id, route, asked
        )
        self.decisions.append(decision)
        return decision


def nic_label(nic: NetworkInterface) -> str:
    return f"network interface '{nic.name}'"


def detached_note(nic: NetworkInterface) -> str:
    """A reminder that nothing answers behind a NIC without a VM, which no rule or route says."""
    return "" if nic.vm is not None else " (attached to no virtual machine in the snapshot)"


def unmodelled_note(network: Network) -> str:
    """What the snapshot holds and the engine does not model, where it might be the answer."""
    kinds = sorted({kind.rpartition("/")[2] for kind, _ in network.unmodelled})
    return f" (in the snapshot, but not modelled: {', '.join(kinds[:5])})" if kinds else ""
