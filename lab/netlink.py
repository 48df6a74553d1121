"""Raw rtnetlink: links, addresses and routes in few messages, every one acknowledged.

Also the two calls that put this thread into another network namespace. Raw, because a thousand
VMs need thousands of changes: one ``sendmsg`` carries many, where a process per change would cost
milliseconds each. Not for nftables (``nftables``), nor for what the links mean (``fabric``).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address
from types import TracebackType
from typing import Final, Self

from harness.network.model import IPAddress, IPNetwork

CLONE_NEWNET: Final = 0x40000000

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST: Final = 1
NLM_F_ACK: Final = 4
NLM_F_DUMP: Final = 0x300
NLM_F_EXCL_CREATE: Final = 0x600
NLM_F_ACK_TLVS: Final = 0x200
SOL_NETLINK: Final = 270
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11
NLA_TYPE_MASK: Final = 0x3FFF

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_NEWROUTE, RTM_DELROUTE = 20, 24, 25
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_GROUP, IFLA_NET_NS_FD = 1, 3, 4, 18, 27, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_NODAD: Final = 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 3, 0, 1
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000

BATCH: Final = 20
"""Requests in one ``sendmsg``: their acknowledgements have to fit into the receive buffer."""
_RECEIVE: Final = 1 << 20

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def current_netns() -> int:
    """A file descriptor of this thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(netns: int) -> Iterator[None]:
    """This thread is in the network namespace ``netns`` (a file descriptor) for the length of the block."""
    home = current_netns()
    try:
        _check(_libc.setns(netns, CLONE_NEWNET), "cannot enter the network namespace")
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "cannot return to the network namespace")
    finally:
        os.close(home)


def new_netns() -> int:
    """A file descriptor of a new network namespace; it lives as long as something holds it."""
    home = current_netns()
    try:
        # in a user namespace that shares its network with the outside there would be no way back
        _check(_libc.setns(home, CLONE_NEWNET), "cannot return to the network namespace")
        _check(_libc.unshare(CLONE_NEWNET), "cannot create a network namespace")
        try:
            return current_netns()
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "cannot return to the network namespace")
    finally:
        os.close(home)


def attribute(kind: int, value: bytes | str | int) -> bytes:
    """One netlink attribute, padded; text is NUL-terminated, numbers have 32 bits."""
    if isinstance(value, str):
        value = value.encode() + b"\0"
    elif isinstance(value, int):
        value = struct.pack("=I", value)
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in ``data``, as (type without flags, value)."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind & NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def _mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


@dataclass(frozen=True, slots=True)
class Request:
    """One change; ``what`` names its object in errors."""

    kind: int
    flags: int
    body: bytes
    what: str


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """One end of a veth pair; index 0 lets the kernel choose."""

    name: str
    mac: str
    index: int = 0


def veth(end: LinkEnd, peer: LinkEnd, peer_netns: int, mtu: int) -> Request:
    """A pair of links: ``end`` here and up, ``peer`` in another namespace and down (it cannot be born up)."""
    there = (
        _LINK.pack(0, 0, peer.index, 0, 0)
        + attribute(IFLA_IFNAME, peer.name)
        + attribute(IFLA_ADDRESS, _mac_bytes(peer.mac))
        + attribute(IFLA_MTU, mtu)
        + attribute(IFLA_NET_NS_FD, peer_netns)
    )
    info = attribute(IFLA_INFO_KIND, "veth") + attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, there))
    body = (
        _LINK.pack(0, 0, end.index, IFF_UP, IFF_UP)
        + attribute(IFLA_IFNAME, end.name)
        + attribute(IFLA_ADDRESS, _mac_bytes(end.mac))
        + attribute(IFLA_MTU, mtu)
        + attribute(IFLA_LINKINFO, info)
    )
    return Request(RTM_NEWLINK, NLM_F_EXCL_CREATE, body, f"link {end.name} to {peer.name}")


def link_up(index: int, *, up: bool = True) -> Request:
    """Sets a link up or down."""
    body = _LINK.pack(0, 0, index, IFF_UP if up else 0, IFF_UP)
    return Request(RTM_NEWLINK, 0, body, f"link {index} {'up' if up else 'down'}")


def link_group(index: int, group: int) -> Request:
    """Puts a link into a group."""
    return Request(
        RTM_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + attribute(IFLA_GROUP, group), f"group of link {index}"
    )


def delete_group(group: int) -> Request:
    """Deletes all links of a group at once; one by one each would wait for the kernel's grace period."""
    body = _LINK.pack(0, 0, 0, 0, 0) + attribute(IFLA_GROUP, group)
    return Request(RTM_DELLINK, 0, body, f"links of group {group}")


def add_address(index: int, address: IPAddress, prefix_length: int) -> Request:
    """Gives a link an address; IPv6 without duplicate address detection."""
    raw = address.packed
    family, flags = (socket.AF_INET, 0) if address.version == 4 else (socket.AF_INET6, IFA_F_NODAD)
    scope = 253 if isinstance(address, IPv6Address) and address.is_link_local else 0
    body = _ADDRESS.pack(family, prefix_length, flags, scope, index)
    body += attribute(IFA_LOCAL, raw) + attribute(IFA_ADDRESS, raw)
    return Request(RTM_NEWADDR, NLM_F_EXCL_CREATE, body, f"address {address}/{prefix_length} on link {index}")


def add_route(index: int, gateway: IPAddress, prefix: IPNetwork | None = None) -> Request:
    """A route through a link: to ``prefix``, or the default route of the gateway's family."""
    words = f"{'default route' if prefix is None else f'route to {prefix}'} by {gateway} on link {index}"
    body = _route(index, gateway.version, prefix) + attribute(RTA_GATEWAY, gateway.packed)
    return Request(RTM_NEWROUTE, NLM_F_EXCL_CREATE, body, words)


def delete_route(index: int, prefix: IPNetwork) -> Request:
    """Removes the route to ``prefix`` through a link."""
    return Request(
        RTM_DELROUTE, 0, _route(index, prefix.version, prefix), f"route to {prefix} on link {index}"
    )


def _route(index: int, version: int, prefix: IPNetwork | None) -> bytes:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    length = 0 if prefix is None else prefix.prefixlen
    body = _ROUTE.pack(family, length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    if prefix is not None:
        body += attribute(RTA_DST, prefix.network_address.packed)
    return body + attribute(RTA_OIF, index)


class Rtnetlink:
    """A socket to the kernel's network configuration, in the namespace where it was opened."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._sequence = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Carries out all requests in order, even after a failure; raises OSError for the first failure."""
        failures = [self._batch(requests[start : start + BATCH]) for start in range(0, len(requests), BATCH)]
        for failure in failures:
            if failure is not None:
                raise failure

    def _batch(self, requests: Sequence[Request]) -> OSError | None:
        first = self._sequence
        self._sequence += len(requests)
        self._socket.send(
            b"".join(
                _message(request.kind, NLM_F_REQUEST | NLM_F_ACK | request.flags, request.body, first + place)
                for place, request in enumerate(requests)
            )
        )
        failure: OSError | None = None
        acknowledged = 0
        while acknowledged < len(requests):
            for kind, flags, sequence, body in messages(self._socket.recv(_RECEIVE)):
                if kind != NLMSG_ERROR or sequence < first:
                    continue
                acknowledged += 1
                number = -int.from_bytes(body[:4], "little" if _LITTLE else "big", signed=True)
                if number and failure is None:
                    failure = _failure(number, flags, body, requests[sequence - first])
        return failure

    def links(self) -> dict[int, tuple[str, int]]:
        """All links: index -> (name, IFF flags)."""
        sequence = self._sequence
        self._sequence += 1
        self._socket.send(
            _message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, _LINK.pack(0, 0, 0, 0, 0), sequence)
        )
        found: dict[int, tuple[str, int]] = {}
        while True:
            for kind, _, number, body in messages(self._socket.recv(_RECEIVE)):
                if number != sequence:
                    continue
                if kind == NLMSG_DONE:
                    return found
                if kind == RTM_NEWLINK:
                    _, _, index, flags, _ = _LINK.unpack_from(body)
                    name = dict(attributes(body[_LINK.size :]))[IFLA_IFNAME]
                    found[index] = (name.rstrip(b"\0").decode(), flags)


_LITTLE: Final = struct.pack("=H", 1) == struct.pack("<H", 1)


def _message(kind: int, flags: int, body: bytes, sequence: int) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The netlink messages in ``data``: (type, flags, sequence, body)."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _failure(number: int, flags: int, body: bytes, request: Request) -> OSError:
    """The kernel's own words (extended acknowledgement) where it gives any."""
    words = ""
    if flags & NLM_F_ACK_TLVS:
        # the error code, then the header of the request (NETLINK_CAP_ACK), then attributes
        text = dict(attributes(body[4 + _HEADER.size :])).get(1, b"")
        words = text.rstrip(b"\0").decode(errors="replace")
    return OSError(number, f"{request.what}: {os.strerror(number)}{f' ({words})' if words else ''}")
