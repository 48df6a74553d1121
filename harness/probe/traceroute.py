"""Which hops a flow's packets pass: probes with growing TTL, by the flow's own protocol and port.

Security rules judge a TCP SYN to the flow's port as they judge the flow, which they would not do
for a classic traceroute's UDP. Every probe has a source port (or sequence number) of its own, so
several are in flight at once. Azure's fabric is invisible: it decrements no TTL; what is seen are
guests that forward (appliances) and what lies beyond a gateway. Not for judging the path.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from harness.agent.client import Agent
from harness.agent.contract import CaptureFilter
from harness.agent.contract_path import RawResult
from harness.model import Outcome, Protocol
from harness.probe import raw
from harness.probe.raw import Reply

MAX_HOPS = 30
IN_FLIGHT = 6
TIMEOUT = 1.0
ATTEMPTS = 2
SILENT_HOPS = 10
"""So many silent TTLs in a row end a trace: what drops one probe drops those with a higher TTL too."""

FIRST_PORT = 33000


@dataclass(frozen=True, slots=True)
class Hop:
    """Who answered the probe with this TTL. ``address`` None: nobody.

    ``outcome`` None: a router on the way (time exceeded); else what the end of the path said.
    """

    ttl: int
    address: str | None = None
    rtt_ms: float | None = None
    outcome: Outcome | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The hops up to the first answer of the end of the path, or up to the last TTL that was tried.

    ``outcome``: what the end answered, ``timeout`` where it did not.
    """

    source: str
    source_address: str
    address: str
    protocol: Protocol
    port: int | None
    outcome: Outcome
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class _Probe:
    """One packet and what its answer is known by."""

    ttl: int
    key: int
    packet: bytes


def traceroute(
    source: Agent,
    address: str,
    *,
    protocol: Protocol = Protocol.TCP,
    port: int | None = None,
    max_hops: int = MAX_HOPS,
    timeout: float = TIMEOUT,
    in_flight: int = IN_FLIGHT,
    attempts: int = ATTEMPTS,
) -> Trace:
    """Traces from ``source``; ``timeout`` is the seconds that a wave of ``in_flight`` TTLs may take.

    Raises RequestError of kind ``permission`` where the agent may not send crafted packets, and
    of kind ``no-route`` where the source has no route. A trace ends after SILENT_HOPS TTLs in a
    row without an answer.
    """
    route = source.route(address)
    tracer = _Tracer(source, route.source, address, protocol, port, timeout)
    hops: dict[int, Hop] = {}
    end: Hop | None = None
    for first in range(1, max_hops + 1, in_flight):
        wave = range(first, min(first + in_flight, max_hops + 1))
        for _ in range(attempts):
            last = end.ttl if end is not None else wave[-1]
            silent = [ttl for ttl in wave if ttl not in hops and ttl <= last]
            if not silent:
                break
            for hop in tracer.ask(silent):
                hops.setdefault(hop.ttl, hop)
            end = min((hop for hop in hops.values() if hop.outcome is not None), key=_ttl, default=None)
        if end is not None or wave[-1] - max(hops, default=0) >= SILENT_HOPS:
            break
    last = end.ttl if end is not None else max(hops, default=0)
    return Trace(
        source=source.machine,
        source_address=route.source,
        address=address,
        protocol=protocol,
        port=port,
        outcome=end.outcome if end is not None and end.outcome is not None else Outcome.TIMEOUT,
        hops=tuple(hops.get(ttl, Hop(ttl)) for ttl in range(1, last + 1)),
    )


def _ttl(hop: Hop) -> int:
    return hop.ttl


class _Tracer:
    """Sends waves of probes and reads their answers."""

    def __init__(
        self, source: Agent, own: str, address: str, protocol: Protocol, port: int | None, timeout: float
    ) -> None:
        self._source = source
        self._own = own
        self._address = address
        self._protocol = protocol
        self._port = port
        self._timeout = timeout
        self._next_key = FIRST_PORT + secrets.randbelow(20000)
        self._ident = secrets.randbelow(65536)

    def ask(self, ttls: list[int]) -> list[Hop]:
        """One wave; ends as soon as every probe has its answer."""
        probes = [self._craft(ttl) for ttl in ttls]
        by_key = {probe.key: probe for probe in probes}
        sent = self._source.raw(
            [probe.packet for probe in probes],
            CaptureFilter(
                self._protocol,
                local=(self._own,),
                remote=(self._address,),
                ports=() if self._port is None else tuple(by_key),
            ),
            window=self._timeout,
            count=len(probes),
        )
        return _hops(sent, probes, self)

    def _craft(self, ttl: int) -> _Probe:
        key = self._next_key
        self._next_key += 1
        own, address, port = self._own, self._address, self._port
        if self._protocol is Protocol.ICMP:
            return _Probe(
                ttl, key & 0xFFFF, raw.echo_request(own, address, self._ident, key & 0xFFFF, ttl=ttl)
            )
        assert port is not None
        if self._protocol is Protocol.UDP:
            return _Probe(ttl, key, raw.udp_datagram(own, address, key, port, ttl=ttl, payload=b"azreach"))
        seq = secrets.randbelow(1 << 32)
        return _Probe(ttl, key, raw.tcp_segment(own, address, key, port, ttl=ttl, seq=seq))

    def key_of(self, reply: Reply) -> int | None:
        """Which probe a packet answers, by its port or sequence number."""
        if reply.quoted is not None:
            return reply.quoted.sequence if self._port is None else reply.quoted.sport
        if reply.protocol is not self._protocol:
            return None
        if self._port is None:
            return reply.sequence if reply.ident == self._ident else None
        return reply.dport if reply.sport == self._port else None


def _hops(sent: RawResult, probes: list[_Probe], tracer: _Tracer) -> list[Hop]:
    found = []
    by_key = {probe.key: number for number, probe in enumerate(probes)}
    for answer in sent.answers:
        reply = raw.dissect(answer.packet)
        number = by_key.get(tracer.key_of(reply) or -1) if reply is not None else None
        if reply is None or number is None:
            continue
        rtt = round(answer.ms - sent.sent[number].ms, 3)
        hop = Hop(probes[number].ttl, reply.source, max(rtt, 0.0))
        if not reply.time_exceeded:
            outcome, detail = _end(reply)
            hop = replace(hop, outcome=outcome, detail=detail)
        found.append(hop)
    return found


def _end(reply: Reply) -> tuple[Outcome, str]:
    """What the end of the path says."""
    if reply.icmp is not None:
        icmp = reply.icmp
        unreachable = (icmp.version, icmp.type) in ((4, 3), (6, 1))
        if unreachable and icmp.code == (3 if icmp.version == 4 else 4):
            return Outcome.REFUSED, str(icmp)
        prohibited = icmp.code in ((9, 10, 13) if icmp.version == 4 else (1, 5))
        return (Outcome.PROHIBITED if unreachable and prohibited else Outcome.UNREACHABLE), str(icmp)
    if reply.protocol is Protocol.UDP:
        return Outcome.DELIVERED, "answered"
    if reply.protocol is Protocol.ICMP:
        return Outcome.CONNECTED, "echo reply"
    if "R" in reply.flags:
        return Outcome.REFUSED, f"Flags [{reply.flags}]"
    return Outcome.CONNECTED, f"Flags [{reply.flags}]"
