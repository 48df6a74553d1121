"""The contract between the controller and any agent: requests, answers and errors, typed.

An answer is parsed here, at the border; one that does not fit raises
:class:`~harness.errors.AgentError` with the machine, the operation and the field. Whatever an
agent adds beyond this is ignored, so that agents may be newer than the controller. Times that
are stamps are the machine's own clock in seconds since the epoch; durations are milliseconds.
Not for sending anything (:mod:`harness.agent.client`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError

from harness.errors import AgentError
from harness.model import Outcome, Protocol

PROTOCOL = 1

Handle = Annotated[int, Field(ge=1)]
Answer = TypeVar("Answer")


class ErrorKind(StrEnum):
    """Why an agent refused a request."""

    BAD_REQUEST = "bad-request"
    UNKNOWN_OP = "unknown-op"
    IN_USE = "in-use"
    PERMISSION = "permission"
    NOT_FOUND = "not-found"
    NO_ROUTE = "no-route"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"
    INTERNAL = "internal"


class RequestError(AgentError):
    """An agent that refused one request; it is alive and serves the next one."""

    def __init__(self, machine: str, op: str, kind: ErrorKind, text: str) -> None:
        super().__init__(machine, f"{op}: {text}")
        self.op = op
        self.kind = kind
        self.text = text


def parse(kind: type[Answer], data: object, *, machine: str, op: str) -> Answer:
    """``data`` as an instance of ``kind``, or AgentError naming machine, operation and field."""
    validator: TypeAdapter[Any] = _adapter(cast(Any, kind))
    try:
        return cast(Answer, validator.validate_python(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "result"
        raise AgentError(
            machine,
            f"the agent's answer to '{op}' does not fit the contract: {place}: {first['msg']}",
            hint="the agent and azreach are of different versions, or something else writes to its output",
        ) from error


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def refusal(data: object, *, machine: str, op: str) -> RequestError:
    """The ``error`` of an answer as an exception; unknown kinds count as ``failed``."""
    error = data if isinstance(data, Mapping) else {}
    try:
        kind = ErrorKind(str(error.get("type")))
    except ValueError:
        kind = ErrorKind.FAILED
    return RequestError(machine, op, kind, str(error.get("message", "no reason given"))[:2000])


@dataclass(frozen=True, slots=True)
class Hello:
    """``hello``: what the agent runs on. ``tools`` maps each asked name to its path, or None."""

    protocol: int
    platform: str
    python: str
    kernel: str
    hostname: str
    pid: int
    uid: int
    euid: int
    nofile: int
    clock: float
    capabilities: tuple[str, ...] = ()
    tools: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def root(self) -> bool:
        return self.euid == 0

    @property
    def can_capture(self) -> bool:
        return "net_raw" in self.capabilities


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An ICMP error; ``local``: made by the asking guest itself, not by the network."""

    version: int
    type: int
    code: int
    sender: Annotated[str | None, Field(validation_alias="from")] = None
    local: bool = False

    def __str__(self) -> str:
        name = "ICMP" if self.version == 4 else "ICMPv6"
        sender = f" from {self.sender}" if self.sender else ""
        return f"{name} type {self.type} code {self.code}{sender}"


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """One connect of a ``tcp`` request."""

    address: str
    port: int
    source: str | None = None
    source_port: int | None = None
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class TcpResult:
    """One connect. ``local`` is the (address, port) used; ``echoed`` is None where no nonce was sent.

    ``prohibited`` with detail ``local`` means that the guest's own rules refused to send
    (EACCES, EPERM). A guest's own silent drop looks like a ``timeout``.
    """

    outcome: Outcome
    started: float
    rtt_ms: float | None = None
    local: tuple[str, int] | None = None
    errno: str | None = None
    icmp: IcmpError | None = None
    detail: str | None = None
    retransmits: int = 0
    echoed: bool | None = None
    peer_closed: bool = False


class UdpReply(StrEnum):
    """What came back to one datagram. Whether it was delivered is not for the sender to say."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    PROHIBITED = "prohibited"
    TIMEOUT = "timeout"
    NO_ROUTE = "no-route"
    RESET = "reset"
    BIND_ERROR = "bind-error"


@dataclass(frozen=True, slots=True)
class UdpTarget:
    """One datagram of a ``udp`` request: the nonce itself, or a ``payload`` that a service understands."""

    address: str
    port: int
    nonce: str | None = None
    payload: bytes | None = None
    source: str | None = None
    source_port: int | None = None


@dataclass(frozen=True, slots=True)
class UdpResult:
    """One datagram. ``data`` is the start of the answer in hexadecimal; ``echoed``: it holds the nonce."""

    outcome: UdpReply
    started: float
    rtt_ms: float | None = None
    local: tuple[str, int] | None = None
    errno: str | None = None
    icmp: IcmpError | None = None
    detail: str | None = None
    echoed: bool = False
    data: str = ""


@dataclass(frozen=True, slots=True)
class EchoAttempt:
    """One ICMP echo request; ``connected`` means that its reply came."""

    outcome: Outcome
    started: float
    sequence: int
    rtt_ms: float | None = None
    ttl: int | None = None
    errno: str | None = None
    icmp: IcmpError | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class EchoResult:
    """``icmp``: the attempts, and whether a ping socket, a raw socket or the tool made them."""

    method: str
    attempts: tuple[EchoAttempt, ...]
    ident: int | None = None
    local: str | None = None


@dataclass(frozen=True, slots=True)
class RouteResult:
    """``route``: how the guest would send to an address (its first hop only)."""

    interface: str
    source: str
    gateway: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class ListenResult:
    handle: Handle
    port: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who came to a listener, when, and with what."""

    peer: str
    peer_port: int
    time: float
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class ListenerReport:
    records: tuple[Arrival, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class CaptureFilter:
    """Which packets a capture keeps, both directions, and ICMP errors that quote one of them.

    An address set that is None matches any address. ``nonce`` marks records whose payload
    holds it.
    """

    protocol: Protocol
    local: tuple[str, ...] | None = None
    remote: tuple[str, ...] | None = None
    ports: tuple[int, ...] = ()
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class CaptureResult:
    handle: Handle


@dataclass(frozen=True, slots=True)
class ControlResult:
    """The positive control of a capture: a neighbour was asked; did the capture see it both ways?"""

    interface: str
    address: str
    seen_out: bool
    seen_in: bool
    ms: float | None = None


class Direction(StrEnum):
    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class QuotedPacket:
    """The packet that an ICMP error quotes."""

    protocol: Protocol
    src: str
    dst: str
    sport: int | None = None
    dport: int | None = None
    ident: int | None = None
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class CaptureRecord:
    """One packet as the machine's interface saw it.

    ``flags`` as tcpdump writes them (``S``, ``S.``, ``R.``). ``syn_recv`` (inbound SYN only):
    whether the guest's stack had taken the SYN 20 ms later and was trying to answer it.
    """

    time: float
    interface: str
    direction: Direction
    protocol: Protocol
    src: str
    dst: str
    ttl: int
    sport: int | None = None
    dport: int | None = None
    seq: int | None = None
    ack: int | None = None
    flags: str = ""
    length: int | None = None
    version: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    ident: int | None = None
    sequence: int | None = None
    quoted: QuotedPacket | None = None
    nonce: bool | None = None
    syn_recv: bool | None = None


@dataclass(frozen=True, slots=True)
class CaptureReport:
    records: tuple[CaptureRecord, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class RunResult:
    """``exit_code`` is negative for the signal that ended the command."""

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool
    timed_out: bool
    ms: float


@dataclass(frozen=True, slots=True)
class ReadResult:
    content: str
    truncated: bool


@dataclass(frozen=True, slots=True)
class TcpResults:
    results: tuple[TcpResult, ...]


@dataclass(frozen=True, slots=True)
class UdpResults:
    results: tuple[UdpResult, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """An answer without content."""
