"""Real packets through the lab's fabric between machines that stay: who receives what, and who is answered.

The machines are raised once; a network is one plan applied to the running fabric. Every probe carries
its own number, so that an answer by another machine with the same address never counts. Every
network has a source port of its own, so that no flow of one network is known in the next.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from harness.model import Protocol
from harness.network.model import Network
from lab.fabric import Fabric
from lab.netlink import inside
from lab.plan import build_plan
from tests.harness.policy.carried_networks import MACHINES, PORTS, addresses
from tests.lab.netns_hosts import Host, checksum, hosts

QUIET = 0.08
"""Seconds without any packet after which the rest counts as silence, for now."""
PATIENT = 1.5
"""The same for those few that were expected and not seen: a busy machine may be slow."""

_NUMBER = struct.Struct("!I")
_identifiers = count(1)
"""Of echo requests: a port that knows one knows its answer, and so the other direction, too."""
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Probe:
    """A flow between two machines; ``port`` is None for ICMP."""

    source: str
    target: str
    protocol: Protocol
    port: int | None
    family: int

    @property
    def addresses(self) -> tuple[str, str]:
        place = 0 if self.family == 4 else 1
        return addresses(self.source)[place], addresses(self.target)[place]


class Pool:
    """The machines, their services and the fabric between them."""

    def __init__(self, made: dict[str, Host], fabric: Fabric) -> None:
        self._hosts, self._fabric = made, fabric
        self._plan_ports: dict[str, int] = {}
        self._services = selectors.DefaultSelector()
        for host in made.values():
            host.sysctl("ipv4/ip_forward", 1)
            host.sysctl("ipv6/conf/all/forwarding", 1)
            host.sysctl("ipv4/conf/all/send_redirects", 0)
            host.sysctl("ipv4/conf/default/send_redirects", 0)

    def start(self, network: Network) -> None:
        """Wires the machines; what ``network`` says else is applied, too."""
        plan = build_plan(network)
        self._plan_ports = dict(plan.port_ids)
        self._fabric.attach(
            list(plan.ports.values()), {name: host.netns for name, host in self._hosts.items()}
        )
        self._fabric.apply(plan)
        for name, host in self._hosts.items():
            host.sysctl("ipv4/conf/eth0/send_redirects", 0)
            for port in PORTS:
                self._serve(name, host, port)

    def _serve(self, name: str, host: Host, port: int) -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            server = host.open_socket(socket.AF_INET6, kind)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("::", port))
            server.setblocking(False)
            if kind == socket.SOCK_STREAM:
                server.listen(256)
            self._services.register(server, selectors.EVENT_READ, (name, kind))

    def apply(self, network: Network) -> None:
        """Changes the running fabric to ``network``; flows that its ports know stay known."""
        self._fabric.apply(build_plan(network, self._plan_ports))

    def passing(self, probes: Sequence[Probe], client_port: int, quiet: float = QUIET) -> set[Probe]:
        """The probes that reached the machine they were for, and whose answer came back."""
        with _Round(self._hosts, self._services, probes, client_port) as round_:
            round_.send()
            round_.wait(quiet)
            return round_.answered

    @contextlib.contextmanager
    def established(self, probes: Sequence[Probe], client_port: int) -> Iterator[Callable[[], set[Probe]]]:
        """TCP connections that stay open; what is yielded tells which of them still carry data, both ways."""
        with _Round(self._hosts, self._services, probes, client_port) as round_:
            round_.send()
            round_.wait(QUIET)

            def alive() -> set[Probe]:
                before = set(round_.answered)
                round_.answered.clear()
                round_.speak(before)
                # a lost segment is sent again after some 0.2 s
                round_.wait(QUIET)
                missed = before - round_.answered
                if missed:
                    round_.wait(0.5)
                return set(round_.answered)

            yield alive


class _Round:
    """Probes under way at the same time: all are sent, then whatever comes is handled until it is quiet."""

    def __init__(
        self,
        made: dict[str, Host],
        services: selectors.DefaultSelector,
        probes: Sequence[Probe],
        client_port: int,
    ) -> None:
        self._hosts, self._services, self._probes = made, services, probes
        self._client_port = client_port
        self._clients = selectors.DefaultSelector()
        self._connections = selectors.DefaultSelector()
        self._opened: list[socket.socket] = []
        self._by_probe: dict[Probe, socket.socket] = {}
        self._identities: dict[Probe, bytes] = {}
        self.answered: set[Probe] = set()

    def __enter__(self) -> _Round:
        return self

    def __exit__(self, *_exc: object) -> None:
        for item in self._opened:
            # a reset leaves nothing behind at the other end
            with contextlib.suppress(OSError):
                item.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            item.close()
        for selector in (self._clients, self._connections):
            selector.close()

    def _open(self, host: Host, family: int, kind: int, protocol: int = 0) -> socket.socket:
        with inside(host.netns):
            made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        self._opened.append(made)
        return made

    def send(self) -> None:
        for number, probe in enumerate(self._probes):
            family = socket.AF_INET if probe.family == 4 else socket.AF_INET6
            host = self._hosts[probe.source]
            if probe.protocol is Protocol.ICMP:
                self._ping(host, probe, family, number)
                continue
            tcp = probe.protocol is Protocol.TCP
            client = self._open(host, family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            source, target = probe.addresses
            client.bind((source, self._client_port))
            with contextlib.suppress(BlockingIOError, OSError):
                client.connect((target, probe.port))
            self._by_probe[probe] = client
            if tcp:
                self._clients.register(client, selectors.EVENT_WRITE, (probe, number))
            else:
                with contextlib.suppress(OSError):
                    client.send(_NUMBER.pack(number))
                self._clients.register(client, selectors.EVENT_READ, (probe, number))

    def _ping(self, host: Host, probe: Probe, family: int, number: int) -> None:
        six = probe.family == 6
        raw = self._open(host, family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
        identifier = next(_identifiers) & 0xFFFF
        body = struct.pack("!HH", identifier, number) + b"reachable?"
        packet = struct.pack("!BBH", 128 if six else 8, 0, 0) + body
        if not six:
            packet = struct.pack("!BBH", 8, 0, checksum(packet)) + body
        with contextlib.suppress(OSError):
            raw.sendto(packet, (probe.addresses[1], 0))
        self._identities[probe] = body[:4]
        self._clients.register(raw, selectors.EVENT_READ, (probe, number))

    def speak(self, probes: Iterable[Probe]) -> None:
        """Once more over connections that are open."""
        for probe in probes:
            client = self._by_probe[probe]
            with contextlib.suppress(OSError):
                client.send(_NUMBER.pack(self._probes.index(probe)))

    def wait(self, quiet: float) -> None:
        """Handles what comes until nothing came for ``quiet`` seconds."""
        last = time.monotonic()
        while (left := last + quiet - time.monotonic()) > 0:
            if self._step(0):
                last = time.monotonic()
            else:
                self._any_ready(min(left, 0.01))

    def _any_ready(self, patience: float) -> None:
        with selectors.DefaultSelector() as both:
            for selector in (self._clients, self._services, self._connections):
                if selector.get_map():
                    both.register(selector.fileno(), selectors.EVENT_READ)
            both.select(patience)

    def _step(self, patience: float) -> bool:
        moved = False
        for key, _ in self._services.select(patience):
            moved = self._served(key) or moved
        for key, _ in self._connections.select(patience):
            moved = self._received(key) or moved
        for key, _ in self._clients.select(patience):
            moved = self._client_moved(key) or moved
        return moved

    def _served(self, key: selectors.SelectorKey) -> bool:
        name, kind = key.data
        server = key.fileobj
        assert isinstance(server, socket.socket)
        if kind == socket.SOCK_STREAM:
            with contextlib.suppress(OSError):
                accepted, _ = server.accept()
                accepted.setblocking(False)
                self._opened.append(accepted)
                self._connections.register(accepted, selectors.EVENT_READ, name)
            return True
        with contextlib.suppress(OSError):
            data, sender = server.recvfrom(64)
            if self._is_for(name, data):
                server.sendto(data, sender)
        return True

    def _is_for(self, name: str, data: bytes) -> bool:
        """Whether a machine received a probe that was for itself, not for another with its address."""
        if len(data) != _NUMBER.size:
            return False
        (number,) = _NUMBER.unpack(data)
        return bool(number < len(self._probes) and self._probes[number].target == name)

    def _received(self, key: selectors.SelectorKey) -> bool:
        connection = key.fileobj
        assert isinstance(connection, socket.socket)
        try:
            data = connection.recv(_NUMBER.size)
        except OSError:
            data = b""
        if not data:
            self._connections.unregister(connection)
        elif self._is_for(key.data, data):
            with contextlib.suppress(OSError):
                connection.send(data)
        return True

    def _client_moved(self, key: selectors.SelectorKey) -> bool:
        client, (probe, number) = key.fileobj, key.data
        assert isinstance(client, socket.socket)
        if probe.protocol is Protocol.TCP and key.events == selectors.EVENT_WRITE:
            if client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._clients.unregister(client)
                return True
            with contextlib.suppress(OSError):
                client.send(_NUMBER.pack(number))
            self._clients.modify(client, selectors.EVENT_READ, key.data)
            return True
        try:
            data = client.recv(256)
        except OSError:
            self._clients.unregister(client)
            return True
        if not data:
            self._clients.unregister(client)
        elif self._is_answer(probe, number, data):
            self.answered.add(probe)
        return True

    def _is_answer(self, probe: Probe, number: int, data: bytes) -> bool:
        if probe.protocol is not Protocol.ICMP:
            return data == _NUMBER.pack(number)
        message = data if probe.family == 6 else data[20:]
        return message[0] == (129 if probe.family == 6 else 0) and message[4:8] == self._identities[probe]


@contextlib.contextmanager
def pool() -> Iterator[Pool]:
    """The machines, raised; nothing is left of them afterwards."""
    with hosts(*MACHINES) as made, Fabric() as fabric:
        yield Pool(made, fabric)
