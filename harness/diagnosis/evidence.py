"""What is known of one flow before anybody judges it.

Collected once (:mod:`harness.diagnosis.collect`), frozen, and read by every step; so a step
can be tested with recorded evidence and stored evidence can be judged again. None always
means "not known", never "no".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.guest.firewall import Firewall
from harness.guest.listeners import Listener
from harness.guest.queue import Stalled
from harness.guest.ruleset import FORWARD_HOOKS, INBOUND_HOOKS, OUTBOUND_HOOKS, GuestPacket
from harness.guest.walk import Ruling, judge
from harness.model import Evidence, EvidenceKind, Flow, Outcome, Protocol
from harness.network.model import IPAddress
from harness.policy.decision import Explanation
from harness.policy.packet import EPHEMERAL_PORT
from harness.probe.seen import Answer


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the probe saw, and what captures at both ends saw of it.

    ``left_source``, ``arrived_target``: the first packet of the flow, at the ends' NICs.
    ``accepted``: the target's stack took the SYN (SYN-RECEIVED).
    ``answer_left`` and ``answer_arrived``: at the target's and the source's NIC.
    ``packets`` are capture lines for people, per machine name.
    """

    outcome: Outcome
    detail: str
    attempts: int
    successes: int
    rtt_ms: float | None = None
    source_port: int | None = None
    left_source: bool | None = None
    arrived_target: bool | None = None
    accepted: bool | None = None
    answer_left: Answer | None = None
    answer_arrived: bool | None = None
    packets: tuple[Evidence, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """One end of the flow. ``machine`` None: an address that no machine of the environment has."""

    name: str
    address: IPAddress | None = None
    machine: str | None = None
    interface: str | None = None
    listeners: tuple[Listener, ...] | None = None
    firewall: Firewall | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LocalTest:
    """The documented telnet test: a connect on the VM itself, to one of its own addresses."""

    address: IPAddress
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class StandIn:
    """What the same probe saw while a listener of ours stood in for the application."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Transit:
    """An appliance in the path: what its NIC saw, whether its guest forwards, what its filter does.

    ``answer``: the flow's answer was watched for, since the request had arrived.
    ``translated_to``: the source address with which the request went on, if it is another. None: not known.
    """

    name: str
    arrived: bool | None = None
    left: bool | None = None
    answer: bool = False
    translated_to: str | None = None
    forwards: bool | None = None
    firewall: Firewall | None = None
    packets: tuple[Evidence, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FlowEvidence:
    """Everything that the steps judge.

    ``accounted`` are the (protocol, port) pairs that the target is meant to serve.
    """

    flow: Flow
    source: End
    target: End
    traffic: Traffic | None
    prediction: Explanation | None = None
    prediction_problem: str | None = None
    local_tests: tuple[LocalTest, ...] = ()
    stand_in: StandIn | None = None
    stalled: Stalled | None = None
    transits: tuple[Transit, ...] = ()
    accounted: frozenset[tuple[Protocol, int]] = field(default_factory=frozenset)

    @property
    def success(self) -> bool:
        """Whether the flow works: its packet's journey is proven complete."""
        return self.traffic is not None and self.traffic.outcome.success

    @property
    def listening(self) -> tuple[Listener, ...] | None:
        """The target's sockets on the flow's port, whatever address they are bound to."""
        if self.target.listeners is None:
            return None
        return tuple(
            socket
            for socket in self.target.listeners
            if socket.protocol is self.flow.protocol and socket.port == self.flow.port
        )

    @property
    def serving(self) -> tuple[Listener, ...] | None:
        """Those of :attr:`listening` that packets of this flow reach."""
        if self.listening is None or self.target.address is None:
            return None
        return tuple(
            socket for socket in self.listening if socket.serves(self.target.address, self.target.interface)
        )

    @property
    def probe_evidence(self) -> tuple[Evidence, ...]:
        """The probe's own result and what the captures saw."""
        if self.traffic is None:
            return ()
        detail = f" ({self.traffic.detail})" if self.traffic.detail else ""
        what = f"{self.flow}: {self.traffic.outcome}{detail}"
        seen = Evidence(EvidenceKind.PROBE, self.source.name, what)
        silent = tuple(
            Evidence(EvidenceKind.PROBE, end.name, f"cannot be asked: {end.problem}")
            for end in (self.source, self.target)
            if end.problem
        )
        return (seen, *self.traffic.packets, *silent)

    def outbound_at_source(self) -> Ruling | None:
        """What the source's own firewall does to the flow's first packet."""
        return self._ruling(self.source, answer=False, inbound=False)

    def inbound_at_target(self) -> Ruling | None:
        """What the target's own firewall does to the flow's first packet."""
        return self._ruling(self.target, answer=False, inbound=True)

    def answer_at_target(self) -> Ruling | None:
        """What the target's own firewall does to the answer on its way out."""
        return self._ruling(self.target, answer=True, inbound=False)

    def answer_at_source(self) -> Ruling | None:
        """What the source's own firewall does to the answer on its way in."""
        return self._ruling(self.source, answer=True, inbound=True)

    def forwarding_at(self, transit: Transit) -> Ruling | None:
        """What an appliance's own filter does to the packet that it was watched for."""
        if transit.firewall is None or transit.firewall.ruleset is None:
            return None
        # which NIC it enters and leaves by is not known: rules that ask for one are in doubt
        packet = self._packet(answer=transit.answer, interface=None, inbound=True)
        packet = replace(packet, to_guest=False) if packet is not None else None
        return judge(transit.firewall.ruleset, packet, FORWARD_HOOKS) if packet is not None else None

    def _ruling(self, end: End, *, answer: bool, inbound: bool) -> Ruling | None:
        if end.firewall is None or end.firewall.ruleset is None:
            return None
        packet = self._packet(answer=answer, interface=end.interface, inbound=inbound)
        if packet is None:
            return None
        return judge(end.firewall.ruleset, packet, INBOUND_HOOKS if inbound else OUTBOUND_HOOKS)

    def _packet(self, *, answer: bool, interface: str | None, inbound: bool) -> GuestPacket | None:
        source, target = self.source.address, self.target.address
        if source is None or target is None:
            return None
        source_port: int | None = (self.traffic.source_port if self.traffic else None) or EPHEMERAL_PORT
        target_port, icmp_type = self.flow.port, None
        if self.flow.protocol is Protocol.ICMP:
            protocol, source_port = ("icmp" if target.version == 4 else "icmpv6"), None
            icmp_type = (0 if answer else 8) if target.version == 4 else (129 if answer else 128)
        else:
            protocol = self.flow.protocol.value
        flags = {"syn", "ack"} if answer else {"syn"}
        if answer:
            source, target, source_port, target_port = target, source, target_port, source_port
        return GuestPacket(
            protocol=protocol,
            source=source,
            destination=target,
            source_port=source_port,
            destination_port=target_port,
            in_interface=interface if inbound else None,
            out_interface=None if inbound else interface,
            state="established" if answer else "new",
            tcp_flags=frozenset(flags) if protocol == "tcp" else frozenset(),
            icmp_type=icmp_type,
            to_guest=inbound,
        )
