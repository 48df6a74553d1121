"""Crafts probe packets and reads what came back, with scapy, on the controller only.

The agent sends bytes and returns bytes (:meth:`harness.agent.client.Agent.raw`), so no VM
needs scapy, and a VM's odd answer can be looked at again later. scapy is imported when the
first packet is crafted, since it costs half a second. Not for what answers mean on a path
(:mod:`harness.probe.traceroute`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.agent.contract import IcmpError
from harness.model import Protocol

if TYPE_CHECKING:
    from types import ModuleType

TTL = 64


@dataclass(frozen=True, slots=True)
class Quote:
    """The packet that an ICMP error is about, as far as it is quoted."""

    protocol: Protocol
    source: str
    target: str
    sport: int | None = None
    dport: int | None = None
    ident: int | None = None
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One packet that came back. ``flags`` as tcpdump writes them (``S.``, ``R.``); ``icmp``: an error."""

    protocol: Protocol
    source: str
    target: str
    ttl: int
    sport: int | None = None
    dport: int | None = None
    flags: str = ""
    seq: int | None = None
    ack: int | None = None
    ident: int | None = None
    sequence: int | None = None
    icmp: IcmpError | None = None
    quoted: Quote | None = None

    @property
    def time_exceeded(self) -> bool:
        """Whether a router on the way says that the packet's TTL was over."""
        return self.icmp is not None and (self.icmp.version, self.icmp.type) in ((4, 11), (6, 3))


def tcp_segment(
    source: str,
    target: str,
    sport: int,
    dport: int,
    *,
    flags: str = "S",
    ttl: int = TTL,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
) -> bytes:
    """A TCP segment; ``flags`` in scapy's letters (``S``, ``SA``, ``FPU``), with an MSS option on a SYN."""
    inet = _inet()
    options = [("MSS", 1460)] if "S" in flags else []
    segment = inet.TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack, options=options)
    return _packed(source, target, ttl, segment, payload)


def udp_datagram(
    source: str, target: str, sport: int, dport: int, *, ttl: int = TTL, payload: bytes = b""
) -> bytes:
    """A UDP datagram."""
    return _packed(source, target, ttl, _inet().UDP(sport=sport, dport=dport), payload)


def echo_request(
    source: str, target: str, ident: int, sequence: int, *, ttl: int = TTL, payload: bytes = b""
) -> bytes:
    """An ICMP or ICMPv6 echo request."""
    if ":" in target:
        message = _inet6().ICMPv6EchoRequest(id=ident, seq=sequence, data=payload)
        return _packed(source, target, ttl, message, b"")
    message = _inet().ICMP(type=8, id=ident, seq=sequence)
    return _packed(source, target, ttl, message, payload)


def dissect(packet: bytes) -> Reply | None:
    """A packet that came back, or None where it is none of TCP, UDP, ICMP, or malformed."""
    inet, inet6 = _inet(), _inet6()
    try:
        outer = inet6.IPv6(packet) if packet[:1] and packet[0] >> 4 == 6 else inet.IP(packet)
        return _read(outer, inet, inet6)
    except Exception:  # noqa: BLE001 - whatever scapy makes of bytes from anywhere, they are no reply
        return None


def _read(outer: Any, inet: ModuleType, inet6: ModuleType) -> Reply | None:
    six = isinstance(outer, inet6.IPv6)
    ends: dict[str, Any] = {
        "source": str(outer.src),
        "target": str(outer.dst),
        "ttl": int(outer.hlim if six else outer.ttl),
    }
    if outer.haslayer(inet.TCP) and not _is_error(outer, inet, inet6):
        tcp = outer[inet.TCP]
        flags = str(tcp.flags).replace("A", ".")
        ends |= {"sport": int(tcp.sport), "dport": int(tcp.dport)}
        return Reply(Protocol.TCP, **ends, flags=_ordered(flags), seq=int(tcp.seq), ack=int(tcp.ack))
    if outer.haslayer(inet.UDP) and not _is_error(outer, inet, inet6):
        udp = outer[inet.UDP]
        return Reply(Protocol.UDP, **ends, sport=int(udp.sport), dport=int(udp.dport))
    if six:
        return _read_icmp6(outer, ends, inet, inet6)
    if not outer.haslayer(inet.ICMP):
        return None
    icmp = outer[inet.ICMP]
    if icmp.type in (0, 8):
        return Reply(Protocol.ICMP, **ends, ident=int(icmp.id), sequence=int(icmp.seq))
    error = IcmpError(4, int(icmp.type), int(icmp.code), ends["source"])
    quoted = _quote(icmp.payload, inet, inet6) if outer.haslayer(inet.IPerror) else None
    return Reply(Protocol.ICMP, **ends, icmp=error, quoted=quoted)


def _read_icmp6(outer: Any, ends: dict[str, Any], inet: ModuleType, inet6: ModuleType) -> Reply | None:
    # errors first: what they quote may be an echo request itself
    error = next((outer[kind] for kind in _errors6(inet6) if outer.haslayer(kind)), None)
    if error is None:
        kinds = (inet6.ICMPv6EchoReply, inet6.ICMPv6EchoRequest)
        echo = next((outer[kind] for kind in kinds if outer.haslayer(kind)), None)
        return (
            None if echo is None else Reply(Protocol.ICMP, **ends, ident=int(echo.id), sequence=int(echo.seq))
        )
    icmp = IcmpError(6, int(error.type), int(error.code), ends["source"])
    quoted = _quote(error.payload, inet, inet6) if outer.haslayer(inet6.IPerror6) else None
    return Reply(Protocol.ICMP, **ends, icmp=icmp, quoted=quoted)


def _quote(inner: Any, inet: ModuleType, inet6: ModuleType) -> Quote | None:
    source, target = str(inner.src), str(inner.dst)
    for protocol, kind in ((Protocol.TCP, inet.TCPerror), (Protocol.UDP, inet.UDPerror)):
        if inner.haslayer(kind):
            return Quote(protocol, source, target, int(inner[kind].sport), int(inner[kind].dport))
    for kind in (inet.ICMPerror, inet6.ICMPv6EchoRequest):
        if inner.haslayer(kind):
            found = inner[kind]
            return Quote(Protocol.ICMP, source, target, ident=int(found.id), sequence=int(found.seq))
    return None


def _is_error(outer: Any, inet: ModuleType, inet6: ModuleType) -> bool:
    return bool(outer.haslayer(inet.IPerror) or outer.haslayer(inet6.IPerror6))


def _errors6(inet6: ModuleType) -> tuple[Any, ...]:
    return (
        inet6.ICMPv6DestUnreach,
        inet6.ICMPv6PacketTooBig,
        inet6.ICMPv6TimeExceeded,
        inet6.ICMPv6ParamProblem,
    )


def _ordered(flags: str) -> str:
    """In tcpdump's order, which the captures use too."""
    return "".join(letter for letter in "FSRP.UEW" if letter in flags)


def _packed(source: str, target: str, ttl: int, layer: Any, payload: bytes) -> bytes:
    if ":" in target:
        head = _inet6().IPv6(src=source, dst=target, hlim=ttl)
    else:
        head = _inet().IP(src=source, dst=target, ttl=ttl, flags="DF")
    return bytes(head / layer / payload) if payload else bytes(head / layer)


def _inet() -> ModuleType:
    # scapy warns of missing routes and tools of this machine, which nobody asked for
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    from scapy.layers import inet

    return inet


def _inet6() -> ModuleType:
    _inet()
    from scapy.layers import inet6

    return inet6
