"""Real packets between machines that stay, through a fabric whose plan changes under them.

Every machine serves every port (its kernel redirects to one), says who it is, forwards, and translates
what it forwards to the internet, as appliances at an edge do. A flow passed if the machine that was
meant has seen it and its answer came back from where it was sent. Source ports are used once, so that no
port of the fabric knows a flow of an earlier network.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from harness.model import Protocol
from harness.network.model import Network
from lab.fabric import Fabric
from lab.netlink import inside
from lab.nftables import run_script
from lab.plan import build_plan
from tests.harness.policy.strategies import CLIENTS, HIGH, INTERNET_HOSTS, LOW, MACHINES
from tests.harness.policy.strategies_flows import Probe
from tests.lab.netns_hosts import Host, checksum, hosts

QUIET = 0.1
"""Seconds without any packet after which the rest counts as silence; an answer takes well under one ms."""
PATIENCE = 2.0
"""The same, before something that must come is said to be missing."""

_SERVICE = 7
_GUEST = f"""
table inet guest {{
    chain services {{
        type nat hook prerouting priority dstnat;
        fib daddr type local meta l4proto {{ tcp, udp }} redirect to :{_SERVICE}
    }}
    chain appliance {{
        type nat hook postrouting priority srcnat;
        fib saddr type local return
        ip daddr != {{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 }} masquerade
        ip6 daddr 2000::/3 masquerade
    }}
}}
"""
_SYSCTLS = (
    ("ipv4/ip_forward", 1),
    ("ipv6/conf/all/forwarding", 1),
    ("ipv4/conf/all/send_redirects", 0),
    ("ipv4/conf/default/send_redirects", 0),
    # what is refused on its way back is not to trouble the next network
    ("ipv4/tcp_synack_retries", 0),
)
_NUMBER = struct.Struct("!I")
_RESET = struct.pack("ii", 1, 0)
_ICMP_FILTER = {4: (255, 1), 6: (socket.IPPROTO_ICMPV6, 1)}
_ECHO = {4: (8, 0), 6: (128, 129)}
_SOCKET = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANYWHERE = {4: "0.0.0.0", 6: "::"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A probe as it is on the wire: what it asks for, and its source port (or ICMP identifier)."""

    probe: Probe
    destination: str
    source_port: int


@dataclass(slots=True)
class Round:
    """Flows under way at the same time. ``passed`` are the numbers of those whose answer came."""

    sent: Sequence[Sent]
    clients: dict[int, socket.socket] = field(default_factory=dict)
    reached: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    answered: set[int] = field(default_factory=set)
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def passed(self) -> set[int]:
        return {number for number in self.answered if self.sent[number].probe.target in self.reached[number]}


class Pool:
    """The machines of :mod:`strategies`, wired once."""

    def __init__(self, made: dict[str, Host], fabric: Fabric) -> None:
        self._hosts, self._fabric = made, fabric
        self._port_ids: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._raw: dict[tuple[str, int], socket.socket] = {}
        self._source_ports: dict[tuple[str, Protocol, bool], Iterator[int]] = {}
        self._round = Round(())

    def start(self, network: Network) -> None:
        """Wires all machines; ``network`` is the first plan."""
        plan = build_plan(network, internet_hosts=INTERNET_HOSTS)
        self._port_ids = plan.port_ids
        self._fabric.attach(
            list(plan.ports.values()), {name: host.netns for name, host in self._hosts.items()}
        )
        self._fabric.apply(plan)
        for name, host in self._hosts.items():
            for sysctl, value in (*_SYSCTLS, ("ipv4/conf/eth0/send_redirects", 0)):
                host.sysctl(sysctl, value)
            run_script(host.netns, _GUEST)
            self._serve(name, host)

    def close(self) -> None:
        self._selector.close()

    def apply(self, network: Network) -> None:
        """Changes the running fabric to ``network``."""
        self._fabric.apply(build_plan(network, self._port_ids, INTERNET_HOSTS))

    def send(self, network: Network, probes: Sequence[Probe]) -> list[Sent]:
        """What goes on the wire for these probes; each call takes new source ports."""
        return [Sent(probe, probe.destination(network), self._source_port(probe)) for probe in probes]

    def passing(self, sent: Sequence[Sent], quiet: float = QUIET) -> set[int]:
        """The numbers (places in ``sent``) of the flows that pass."""
        with self.flows(sent, quiet) as (came_about, _):
            return came_about

    @contextlib.contextmanager
    def flows(
        self, sent: Sequence[Sent], quiet: float = QUIET
    ) -> Iterator[tuple[set[int], Callable[[float], set[int]]]]:
        """Opens flows, and keeps them open: the numbers of those that came about, and a function.

        It tells which of them carry data, both ways, when it is called.
        """
        self._round = Round(sent)
        try:
            self._open()
            self._listen(quiet)
            came_about = self._round.passed

            def alive(patience: float) -> set[int]:
                self._round.reached.clear()
                self._round.answered.clear()
                for number in came_about:
                    self._speak(number)
                self._listen(patience)
                return self._round.passed

            yield came_about, alive
        finally:
            self._finish()

    # -- machines

    def _serve(self, name: str, host: Host) -> None:
        for kind, handle in ((socket.SOCK_STREAM, self._accepted), (socket.SOCK_DGRAM, self._datagram)):
            service = host.open_socket(socket.AF_INET6, kind)
            service.bind(("::", _SERVICE))
            service.setblocking(False)
            if kind == socket.SOCK_STREAM:
                service.listen(512)
            self._selector.register(service, selectors.EVENT_READ, (handle, name))
        for family in _ECHO:
            six = family == 6
            raw = host.open_socket(
                _SOCKET[family], socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
            )
            raw.setblocking(False)
            # no other messages, of neighbours and routers
            raw.setsockopt(*_ICMP_FILTER[family], _echo_only(family))
            self._raw[name, family] = raw
            self._selector.register(raw, selectors.EVENT_READ, (self._echo, name))

    def _source_port(self, probe: Probe) -> int:
        first, last = HIGH if probe.high else LOW
        # two machines have the same address
        owner = MACHINES[probe.source].private[4] if probe.source in MACHINES else probe.source
        known = self._source_ports.setdefault(
            (owner, probe.protocol, probe.high), cycle(range(first, last + 1))
        )
        return next(known)

    # -- a round

    def _open(self) -> None:
        by_host: dict[str, list[int]] = defaultdict(list)
        for number, item in enumerate(self._round.sent):
            if item.probe.protocol.has_ports:
                by_host[item.probe.source].append(number)
            else:
                self._speak(number)
        for name, numbers in by_host.items():
            with inside(self._hosts[name].netns):
                for number in numbers:
                    self._round.clients[number] = self._client(number)

    def _client(self, number: int) -> socket.socket:
        item = self._round.sent[number]
        probe = item.probe
        tcp = probe.protocol is Protocol.TCP
        client = socket.socket(_SOCKET[probe.family], socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        client.setblocking(False)
        client.bind((_ANYWHERE[probe.family], item.source_port))
        # a connected UDP socket takes answers from there only
        client.connect_ex((item.destination, probe.port))
        if not tcp:
            client.send(_NUMBER.pack(number))
        self._selector.register(client, selectors.EVENT_READ, (self._answer, number))
        return client

    def _speak(self, number: int) -> None:
        item = self._round.sent[number]
        if item.probe.protocol is not Protocol.ICMP:
            with contextlib.suppress(OSError):
                self._round.clients[number].send(_NUMBER.pack(number))
            return
        family = item.probe.family
        packet = struct.pack("!BBHHH", _ECHO[family][0], 0, 0, item.source_port, 1) + _NUMBER.pack(number)
        if family == 4:
            packet = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
        self._raw[item.probe.source, family].sendto(packet, (item.destination, 0))

    def _listen(self, quiet: float) -> None:
        while events := self._selector.select(quiet):
            for key, _ in events:
                handle, what = key.data
                handle(key.fileobj, what)

    def _finish(self) -> None:
        for item in (*self._round.clients.values(), *self._round.connections):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(item)
            if item.fileno() >= 0 and item.type == socket.SOCK_STREAM:
                # a reset leaves nothing behind at either end
                item.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            item.close()

    # -- what comes

    def _accepted(self, service: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            connection, _ = service.accept()
            connection.setblocking(False)
            self._round.connections.append(connection)
            self._selector.register(connection, selectors.EVENT_READ, (self._spoken, name))
            # who it is, at once
            connection.send(name.encode())

    def _spoken(self, connection: socket.socket, name: str) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = connection.recv(64)
        if not data:
            self._selector.unregister(connection)
            return
        with contextlib.suppress(OSError):
            connection.send(name.encode())

    def _datagram(self, service: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            data, sender = service.recvfrom(64)
            # an answer that went astray comes here, too, and must not be answered in turn
            if len(data) == _NUMBER.size:
                service.sendto(data + name.encode(), sender)

    def _answer(self, client: socket.socket, number: int) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = client.recv(64)
        if not data:
            self._selector.unregister(client)
            return
        if client.type == socket.SOCK_DGRAM:
            data = data[_NUMBER.size :]
        self._round.answered.add(number)
        self._round.reached[number].add(data.decode())

    def _echo(self, raw: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            data, sender = raw.recvfrom(256)
            family = 6 if raw.family == socket.AF_INET6 else 4
            message = data if family == 6 else data[20:]
            (number,) = _NUMBER.unpack(message[8 : 8 + _NUMBER.size])
            if number >= len(self._round.sent):
                return
            item = self._round.sent[number]
            if message[0] == _ECHO[family][0]:
                self._round.reached[number].add(name)
            elif name == item.probe.source and sender[0] == item.destination:
                self._round.answered.add(number)


def _echo_only(family: int) -> bytes:
    """A filter of ICMP types: one bit for each that is not wanted, in words of 32 bits."""
    bits = 32 if family == 4 else 256
    refused = ((1 << bits) - 1) & ~sum(1 << kind for kind in _ECHO[family])
    words = [refused >> place & 0xFFFFFFFF for place in range(0, bits, 32)]
    return struct.pack(f"={len(words)}I", *words)


@contextlib.contextmanager
def pool() -> Iterator[Pool]:
    """The machines, raised; nothing is left of them afterwards."""
    with hosts(*MACHINES, *CLIENTS) as made, Fabric() as fabric:
        raised = Pool(made, fabric)
        try:
            yield raised
        finally:
            raised.close()
