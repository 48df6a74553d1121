"""How this machine would send to an address: asked by netlink, read from /proc."""

import socket
import struct

from harness.agent.linux.request import REQUIRED
from harness.agent.linux.words import OpError, errno_name, family_of, packed, plain, sockaddr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from harness.agent.linux.agent import Agent
    from harness.agent.linux.request import Answer, Params


def default_gateway(family: int, interface: "str | None") -> "tuple[str, str]":
    """Address and interface of the default route (of ``interface``, where one is given)."""
    if family == 4:
        with open("/proc/net/route") as table:
            for line in list(table)[1:]:
                words = line.split()
                if (
                    words[1] == words[7] == "00000000"
                    and words[2] != "00000000"
                    and interface in (None, words[0])
                ):
                    return socket.inet_ntop(socket.AF_INET, struct.pack("=I", int(words[2], 16))), words[0]
    else:
        with open("/proc/net/ipv6_route") as table:
            for line in table:
                words = line.split()
                if words[0] == "0" * 32 and words[1] == "00" and words[4] != "0" * 32 and words[9] != "lo":
                    if interface in (None, words[9]):
                        return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[4])), words[9]
    raise OpError(
        "not-found", "no IPv%d default gateway%s" % (family, " on " + interface if interface else "")
    )


def route_to(address: str, source: "str | None") -> "dict[str, Any]":
    """How this guest would send to ``address``: interface, gateway, source (asked by netlink)."""
    family = family_of(address)

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", len(value) + 4, kind) + value

    raw = packed(address)
    body = struct.pack("=BBBBBBBBI", family, len(raw) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(1, raw)
    if source is not None:
        body = body[:2] + struct.pack("=B", len(raw) * 8) + body[3:] + attribute(2, packed(source))
    scope = address.partition("%")[2]
    if scope:
        body += attribute(4, struct.pack("=I", sockaddr(address, 0)[3]))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(2.0)
        sock.send(struct.pack("=IHHII", 16 + len(body), 26, 1, 1, 0) + body)
        data = sock.recv(65536)
    if struct.unpack_from("=H", data, 4)[0] == 2:
        number = -struct.unpack_from("=i", data, 16)[0]
        raise OpError("no-route", "no route to %s: %s" % (address, errno_name(number)))
    found: "dict[int, bytes]" = {}
    at, end = 28, struct.unpack_from("=I", data)[0]
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    index = struct.unpack("=I", found[4])[0] if 4 in found else 0
    result: "dict[str, Any]" = {"local": data[16 + 7] == 2}
    try:
        result["interface"] = socket.if_indextoname(index)
    except OSError:
        raise OpError("no-route", "no route to %s" % address) from None
    if 5 in found:
        result["gateway"] = socket.inet_ntop(family, found[5])
    if source is not None or 7 in found:
        result["source"] = source if source is not None else socket.inet_ntop(family, found[7])
    else:
        # IPv6 leaves the choice of the source to the socket.
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect(sockaddr(address, 9))
                result["source"] = plain(sock.getsockname()[0])
            except OSError as error:
                raise OpError("no-route", "no route to %s: %s" % (address, errno_name(error.errno))) from None
    return result


def route(agent: "Agent", answer: "Answer", params: "Params") -> None:
    address = params.address("address", REQUIRED)
    source = params.address("source", None)
    params.done()
    if source is not None and family_of(source) != family_of(address):
        raise OpError("bad-request", "'source': not of the target's address family")
    answer.ok(route_to(address, source))
