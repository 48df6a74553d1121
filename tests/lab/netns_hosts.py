"""Net-only hosts for tests of the fabric: network namespaces whose sockets this process holds.

A socket belongs to the namespace in which it was made, so a host needs no process of its own:
this thread enters, makes the socket and returns. Not for real VMs.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.netlink import inside, new_netns

PATIENCE = 3.0
"""Seconds to wait for what must come."""
SILENCE = 0.4
"""Seconds after which what did not come counts as silence; an answer takes well under a millisecond."""

ETH_P_IP, ETH_P_ARP = 0x0800, 0x0806


@dataclass
class Host:
    """One network namespace, and the sockets that were opened in it."""

    name: str
    netns: int = field(default_factory=new_netns)
    sockets: list[socket.socket] = field(default_factory=list)

    def close(self) -> None:
        for item in self.sockets:
            item.close()
        os.close(self.netns)

    def sysctl(self, name: str, value: int) -> None:
        with inside(self.netns):
            Path("/proc/sys/net", name).write_text(str(value))

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        with inside(self.netns):
            made = socket.socket(family, kind, protocol)
        made.settimeout(PATIENCE)
        self.sockets.append(made)
        return made

    def stream(self, address: str) -> socket.socket:
        return self.open_socket(_family(address), socket.SOCK_STREAM)

    def listen(self, address: str, port: int) -> socket.socket:
        server = self.stream(address)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(64)
        return server

    def connects(self, address: str, port: int, *, source_port: int = 0) -> str:
        """``connected``, ``refused`` or ``timeout``."""
        client = self.stream(address)
        if source_port:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("::" if ":" in address else "0.0.0.0", source_port))
        client.settimeout(SILENCE)
        try:
            client.connect((address, port))
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"
        finally:
            client.close()
        return "connected"

    def open(self, server: socket.socket, port: int) -> tuple[socket.socket, socket.socket]:
        """A connection to a listener: both of its ends."""
        address = server.getsockname()[0]
        client = self.stream(address)
        client.connect((address, port))
        accepted, _ = server.accept()
        accepted.settimeout(PATIENCE)
        self.sockets.append(accepted)
        return client, accepted

    def datagram(self, address: str, port: int = 0) -> socket.socket:
        bound = self.open_socket(_family(address), socket.SOCK_DGRAM)
        bound.bind((address, port))
        return bound

    def ping(self, address: str, *, ttl: int = 64) -> int | None:
        """The TTL (IPv4) or hop limit of the answer, None if there is none."""
        family = _family(address)
        six = family == socket.AF_INET6
        raw = self.open_socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
        identifier = raw.fileno() & 0xFFFF
        body = struct.pack("!HH", identifier, 1) + b"reachable?"
        request, reply = (128, 129) if six else (8, 0)
        packet = struct.pack("!BBH", request, 0, 0) + body
        if six:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
        else:
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            packet = struct.pack("!BBH", request, 0, checksum(packet)) + body
        raw.sendto(packet, (address, 0))
        while readable(raw):
            data, ancillary, _, sender = raw.recvmsg(2048, 256)
            message = data if six else data[20:]
            if sender[0] == address and message[0] == reply and message[4:6] == struct.pack("!H", identifier):
                return int.from_bytes(ancillary[0][2][:4], "little") if six else data[8]
        return None

    def packet_socket(self, interface: str = "eth0", protocol: int = ETH_P_IP) -> socket.socket:
        """Sees frames of one protocol that come in."""
        raw = self.open_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        raw.bind((interface, protocol))
        return raw

    def arp(self, address: str) -> str | None:
        """Who answers an ARP request for ``address``, as a MAC address."""
        raw = self.packet_socket(protocol=ETH_P_ARP)
        mac = raw.getsockname()[4]
        own = socket.inet_aton("10.255.255.254")
        request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + own + bytes(6) + socket.inet_aton(address)
        raw.send(b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP) + request)
        while readable(raw):
            frame = raw.recv(2048)
            if frame[20:22] == b"\0\2" and frame[28:32] == socket.inet_aton(address):
                assert frame[32:42] == mac + own
                return str(frame[22:28].hex(":"))
        return None


def readable(item: socket.socket, patience: float = SILENCE) -> bool:
    return bool(select.select([item], [], [], patience)[0])


def checksum(data: bytes) -> int:
    """The Internet checksum, RFC 1071."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4_udp(source: str, target: str, source_port: int, port: int, payload: bytes) -> bytes:
    """A UDP datagram with an IPv4 header of our own making, e.g. with a source that is not ours."""
    udp = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0)
    header += socket.inet_aton(source) + socket.inet_aton(target)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + udp


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextmanager
def hosts(*names: str) -> Iterator[dict[str, Host]]:
    """Hosts by name; all of them are gone afterwards."""
    made = {name: Host(name) for name in names}
    try:
        yield made
    finally:
        for host in made.values():
            host.close()
