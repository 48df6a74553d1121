"""What all parts of the agent share: numbers of the kernel, addresses, errors of a request."""

import errno
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 1
MAX_RECORDS = 1000
SPARE_FDS = 64
TOOLS = ("ss", "ip", "nft", "iptables-save", "ip6tables-save", "conntrack", "tcpdump", "ping", "sudo")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CAPABILITIES = {
    1: "dac_override", 2: "dac_read_search", 10: "net_bind_service", 12: "net_admin", 13: "net_raw",
    19: "sys_ptrace", 21: "sys_admin",
}  # fmt: skip

# Numbers that Python's socket module does not name in every version (linux/in.h and friends).
IP_RECVERR, IPV6_RECVERR = 11, 25
IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50
IP_RECVTTL, IP_TTL, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 12, 2, 51, 52
IP_BIND_ADDRESS_NO_PORT = 24
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35
SOL_PACKET, PACKET_STATISTICS = 263, 6
ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
PACKET_OTHERHOST, PACKET_OUTGOING = 3, 4
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
V6_EXTENSIONS = (0, 43, 44, 60)
SIOCGIFHWADDR, SIOCGIFFLAGS = 0x8927, 0x8913
IFF_NOARP = 0x80


class OpError(Exception):
    """A request that cannot be served: a stable ``kind`` for programs, a message for people."""

    def __init__(self, kind: str, message: str) -> None:
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message


def errno_name(number: "int | None") -> str:
    return errno.errorcode.get(number or 0, str(number))


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def plain(address: str) -> str:
    """An address as people write it: IPv4 seen through an IPv6 socket, and no scope."""
    address = address.partition("%")[0]
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def packed(address: str) -> bytes:
    return socket.inet_pton(family_of(address), address.partition("%")[0])


def sockaddr(address: str, port: int) -> "Any":
    """The address for the socket calls; the scope of a link-local one is resolved here."""
    if ":" not in address:
        return (address, port)
    name, _, scope = address.partition("%")
    if not scope:
        return (name, port)
    try:
        return (name, port, 0, int(scope) if scope.isdigit() else socket.if_nametoindex(scope))
    except OSError:
        raise OpError("bad-request", "no interface '%s' for %s" % (scope, address)) from None
