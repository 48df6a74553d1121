"""What an error of the network means: errno, and the ICMP error that the kernel kept with it."""

import errno
import socket
import struct

from harness.agent.linux.request import without_nulls
from harness.agent.linux.words import IP_RECVERR, IPV6_RECVERR, errno_name, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def ask_for_errors(sock: "Any", family: int) -> None:
    """IP_RECVERR: the kernel keeps the ICMP error itself, not only the errno made of it."""
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def queued_error(sock: "Any", own: "str | None") -> "dict[str, Any] | None":
    """The ICMP error that the kernel kept for this socket, or None.

    ``own`` is the socket's local address: an error "from" it was made by this guest (no
    answer to ARP, a reject rule of its own), not by the network. TCP keeps errors from
    Linux 5.9 on; before that only the errno is left.
    """
    try:
        ancillary = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)[1]
    except OSError:
        return None
    for level, kind, data in ancillary:
        v4 = level == socket.IPPROTO_IP and kind == IP_RECVERR
        v6 = level == socket.IPPROTO_IPV6 and kind == IPV6_RECVERR
        if not (v4 or v6) or len(data) < 16:
            continue
        number, origin, icmp_type, code, info = struct.unpack_from("=IBBBxI", data)
        sender = None
        if origin in (2, 3) and len(data) >= 24:
            raw = data[20:24] if struct.unpack_from("=H", data, 16)[0] == socket.AF_INET else data[24:40]
            if len(raw) in (4, 16):
                sender = plain(socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw))
        return {
            "errno": number,
            "version": {2: 4, 3: 6}.get(origin),
            "type": icmp_type,
            "code": code,
            "info": info,
            "from": sender,
            "local": origin == 1 or (own is not None and sender == own) or sender in ("127.0.0.1", "::1"),
        }
    return None


def outcome_of_icmp(version: int, icmp_type: int, code: int, refused_here: bool) -> str:
    """``refused_here``: the error was made by this guest about a packet to somebody else."""
    if version == 4 and icmp_type == 3:
        if code == 3:
            return "prohibited" if refused_here else "refused"
        if code in (9, 10, 13):
            return "prohibited"
    elif version == 6 and icmp_type == 1:
        if code == 4:
            return "prohibited" if refused_here else "refused"
        if code in (1, 5):
            return "prohibited"
    return "no-route" if refused_here else "unreachable"


def outcome_of_error(
    number: int, error: "dict[str, Any] | None", immediate: bool, to_self: bool = False
) -> "dict[str, Any]":
    """Outcome, detail and ICMP facts of a failed connect or send.

    ``immediate``: the system call itself failed, so the guest never sent anything: EACCES
    and EPERM are the guest's own refusal ("prohibited", detail "local"), the rest is
    "no-route". ``to_self``: the packet was for an address of this guest.
    """
    if error is not None and error["version"] is not None:
        version, icmp_type, code = error["version"], error["type"], error["code"]
        icmp = {
            "version": version,
            "type": icmp_type,
            "code": code,
            "from": error["from"],
            "local": error["local"],
        }
        return {
            "outcome": outcome_of_icmp(version, icmp_type, code, error["local"] and not to_self),
            "errno": errno_name(number or error["errno"]),
            "icmp": without_nulls(icmp),
            "detail": "local" if error["local"] else None,
        }
    name = errno_name(number)
    if number == errno.ECONNREFUSED:
        return {"outcome": "refused", "errno": name}
    if number in (errno.ECONNRESET, errno.EPIPE):
        return {"outcome": "reset", "errno": name}
    if number == errno.ETIMEDOUT:
        return {"outcome": "timeout", "errno": name}
    if number in (errno.EACCES, errno.EPERM):
        return {"outcome": "prohibited", "errno": name, "detail": "local" if immediate else None}
    if number in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
        return {"outcome": "bind-error", "errno": name, "detail": "no free local port for this destination"}
    if immediate:
        return {"outcome": "no-route", "errno": name, "detail": "local"}
    return {"outcome": "unreachable", "errno": name}
