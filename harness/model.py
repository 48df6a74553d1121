"""The words that everything else speaks: Flow, Outcome, Evidence, Finding, Diagnosis.

All of them are frozen; enumerations have stable string values that appear unchanged in
reports, JSON and test ids. The causes themselves (explanation, recognition, fix) live in
:mod:`harness.taxonomy`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from harness.errors import InconclusiveError


class Protocol(StrEnum):
    """The protocols that rules know. azreach probes the first three; the policy engine judges all."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    ESP = "esp"
    AH = "ah"

    @property
    def has_ports(self) -> bool:
        return self in (Protocol.TCP, Protocol.UDP)


ProbedProtocol = Literal[Protocol.TCP, Protocol.UDP, Protocol.ICMP]
PROBED: tuple[ProbedProtocol, ...] = (Protocol.TCP, Protocol.UDP, Protocol.ICMP)


class Step(StrEnum):
    """The steps of Microsoft's troubleshooting guide, in the order in which a packet meets them."""

    NAME_RESOLUTION = "name-resolution"
    NIC = "nic"
    NSG_UDR = "nsg-udr"
    GUEST_FIREWALL = "guest-firewall"
    LISTENER = "listener"
    SNAT = "snat"
    CLASSIC_ACL = "classic-acl"
    CLASSIC_ENDPOINT = "classic-endpoint"
    SHARE = "share"
    INTER_VNET = "inter-vnet"


class Cause(StrEnum):
    """Why a flow fails: ``<step id>/<cause>``."""

    NIC_NSG_INBOUND = "nsg-udr/nic-nsg-inbound"
    SUBNET_NSG_INBOUND = "nsg-udr/subnet-nsg-inbound"
    NIC_NSG_OUTBOUND = "nsg-udr/nic-nsg-outbound"
    SUBNET_NSG_OUTBOUND = "nsg-udr/subnet-nsg-outbound"
    DEFAULT_DENY = "nsg-udr/default-deny"
    ROUTE_TO_NONE = "nsg-udr/route-to-none"
    APPLIANCE_UNREACHABLE = "nsg-udr/appliance-unreachable"
    APPLIANCE_NOT_FORWARDING = "nsg-udr/appliance-not-forwarding"
    APPLIANCE_NSG = "nsg-udr/appliance-nsg"
    ASYMMETRIC_RETURN = "nsg-udr/asymmetric-return"
    ASG_MEMBERSHIP = "nsg-udr/asg-membership"
    ADMIN_RULE = "nsg-udr/security-admin-rule"
    INBOUND_DROP = "guest-firewall/inbound-drop"
    INBOUND_REJECT = "guest-firewall/inbound-reject"
    OUTBOUND_DROP = "guest-firewall/outbound-drop"
    FORWARD_DROP = "guest-firewall/forward-drop"
    ALLOW_LIST = "guest-firewall/allow-list"
    CONNECTION_LIMIT = "guest-firewall/connection-limit"
    ANSWERS_DROPPED = "guest-firewall/answers-dropped"
    NO_PROCESS = "listener/no-process"
    LOOPBACK_ONLY = "listener/loopback-only"
    OTHER_PORT = "listener/other-port"
    OTHER_ADDRESS = "listener/other-address"
    ADDRESS_FAMILY = "listener/address-family"
    BACKLOG_FULL = "listener/backlog-full"
    PROCESS_STOPPED = "listener/process-stopped"
    NO_OUTBOUND = "snat/no-outbound-method"
    ACL_DENY = "classic-acl/deny-rule"
    ACL_IMPLICIT_DENY = "classic-acl/implicit-deny"
    NO_ENDPOINT = "classic-endpoint/not-created"
    ENDPOINT_PROTOCOL = "classic-endpoint/wrong-protocol"
    NO_INBOUND_RULE = "classic-endpoint/no-inbound-rule"
    NO_PEERING = "inter-vnet/no-peering"
    PEERING_NOT_CONNECTED = "inter-vnet/peering-not-connected"
    PEERING_ACCESS_DISABLED = "inter-vnet/access-disabled"
    FORWARDED_TRAFFIC_REFUSED = "inter-vnet/forwarded-traffic-refused"
    NOT_TRANSITIVE = "inter-vnet/not-transitive"
    OVERLAPPING_SPACES = "inter-vnet/overlapping-spaces"
    NOT_SYNCHRONISED = "inter-vnet/not-synchronised"
    NO_GATEWAY = "inter-vnet/no-gateway"
    GATEWAY_CONNECTION_DOWN = "inter-vnet/gateway-connection-down"

    @property
    def step(self) -> Step:
        """The step that this cause belongs to."""
        return Step(self.value.partition("/")[0])


class Outcome(StrEnum):
    """What one probe saw. A bool is never an answer."""

    CONNECTED = "connected"
    """TCP: the handshake completed. ICMP: an echo reply came."""
    DELIVERED = "delivered"
    """UDP: the receiver saw the nonce."""
    UNCONFIRMED = "unconfirmed"
    """UDP: sent without an error; no receiver could prove that it arrived."""
    REFUSED = "refused"
    """TCP: RST in answer to the SYN. UDP: ICMP port unreachable."""
    RESET = "reset"
    """TCP: RST after the handshake."""
    TIMEOUT = "timeout"
    """No answer at all within the time allowed."""
    UNREACHABLE = "unreachable"
    """An ICMP unreachable other than administratively prohibited (type and code in the detail)."""
    PROHIBITED = "prohibited"
    """ICMP: communication administratively prohibited."""
    NO_ROUTE = "no-route"
    """The source guest itself has no route or refuses to send."""
    NAME_RESOLUTION = "name-resolution"
    """The name did not resolve on the source."""
    BIND_ERROR = "bind-error"
    """The source address or port could not be bound."""
    INTERMITTENT = "intermittent"
    """Several attempts did not agree: k of n succeeded."""

    @property
    def success(self) -> bool:
        """Whether the packet's journey is proven complete."""
        return self in (Outcome.CONNECTED, Outcome.DELIVERED)


class Verdict(StrEnum):
    """What a diagnosis says of a flow."""

    HEALTHY = "healthy"
    FAULT = "fault"
    INCONCLUSIVE = "inconclusive"


class Severity(StrEnum):
    """How a finding bears on the flow: it stops it, or it is worth knowing."""

    BLOCKING = "blocking"
    WARNING = "warning"


class EvidenceKind(StrEnum):
    """Where a piece of evidence comes from."""

    PROBE = "probe"
    PACKETS = "packets"
    COMMAND = "command"
    RULE = "rule"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of traffic, named as a user names it.

    ``source`` and ``target`` are machine (VM) names or IP addresses; ``port`` is the
    destination port, None for ICMP. ``family`` (4 or 6) picks the address family where
    a name has addresses of both; None means IPv4 first.
    """

    source: str
    target: str
    protocol: Protocol
    port: int | None = None
    family: int | None = None

    def __str__(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.source} -> {self.target}{port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was seen: on which machine or object, how it was asked, what it answered."""

    kind: EvidenceKind
    where: str
    summary: str
    command: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault (or warning) on the way of a flow, with its evidence and its fix (commands)."""

    cause: Cause
    summary: str
    evidence: tuple[Evidence, ...]
    fix: tuple[str, ...]
    severity: Severity = Severity.BLOCKING

    @property
    def step(self) -> Step:
        return self.cause.step


@dataclass(frozen=True, slots=True)
class Oracles:
    """What the three oracles say of a flow; None where one was not asked."""

    predicted: str | None = None
    network_watcher: str | None = None
    observed: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The judgement of one flow.

    As a truth value it says whether the flow is healthy; an inconclusive one raises
    :class:`~harness.errors.InconclusiveError`, since it is neither true nor false.
    ``missing`` names what an inconclusive diagnosis would have needed.
    """

    flow: Flow
    verdict: Verdict
    outcome: Outcome | None
    attempts: int
    successes: int
    findings: tuple[Finding, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    missing: tuple[str, ...] = ()
    oracles: Oracles = field(default_factory=Oracles)
    rtt_ms: float | None = None

    @property
    def cause(self) -> Cause | None:
        """The first blocking cause on the packet's way, or None."""
        return next((f.cause for f in self.findings if f.severity is Severity.BLOCKING), None)

    @property
    def reachable(self) -> bool | None:
        """Whether the traffic gets through; None where that could not be told."""
        return {Verdict.HEALTHY: True, Verdict.FAULT: False}.get(self.verdict)

    def __bool__(self) -> bool:
        if self.verdict is Verdict.INCONCLUSIVE:
            raise InconclusiveError(
                f"{self.flow}: the diagnosis is inconclusive: {'; '.join(self.missing) or 'no reason given'}",
                hint="an inconclusive diagnosis is neither true nor false; supply what is missing",
            )
        return self.verdict is Verdict.HEALTHY
