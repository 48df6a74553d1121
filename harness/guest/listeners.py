"""What listens on a guest: reads ``ss -H -l -n -t -u -p`` into typed sockets.

Without root ``ss`` shows no process names; sockets are complete all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from harness.model import Protocol
from harness.network.model import IPAddress

SS_COMMAND = ("ss", "-H", "-l", "-n", "-t", "-u", "-p")


@dataclass(frozen=True, slots=True)
class Listener:
    """One bound socket. ``address`` None is every address; ``families`` says of which families.

    ``interface`` is the device that the socket is bound to, if any. ``queued`` and ``backlog``
    are the accept queue's length and limit (TCP), in connections.
    """

    protocol: Protocol
    address: IPAddress | None
    port: int
    families: frozenset[int]
    interface: str | None = None
    processes: tuple[str, ...] = ()
    queued: int = 0
    backlog: int = 0
    text: str = ""

    @property
    def loopback(self) -> bool:
        return self.interface == "lo" or (self.address is not None and self.address.is_loopback)

    @property
    def backlog_full(self) -> bool:
        """Linux drops SYNs in silence once the queue holds more than its limit."""
        return self.protocol is Protocol.TCP and self.queued > self.backlog

    def serves(self, address: IPAddress, interface: str | None = None) -> bool:
        """Whether a packet to ``address`` that arrives at ``interface`` (None: unknown) finds this socket."""
        if self.interface is not None and interface is not None and self.interface != interface:
            return False
        return address == self.address if self.address is not None else address.version in self.families


def read_listeners(output: str) -> tuple[Listener, ...]:
    """The sockets of an ``ss -H -l -n -t -u -p`` output; lines of other kinds are left out."""
    found = (_listener(line) for line in output.splitlines())
    return tuple(listener for listener in found if listener is not None)


def _listener(line: str) -> Listener | None:
    fields = line.split(None, 6)
    if len(fields) < 6 or fields[0] not in ("tcp", "udp") or fields[1] not in ("LISTEN", "UNCONN"):
        return None
    protocol = Protocol(fields[0])
    local, _, port = fields[4].rpartition(":")
    scope = re.search(r"%([^\]:]+)", local)
    if not (port.isdigit() and fields[2].isdigit() and fields[3].isdigit()):
        return None
    try:
        address, families = _address(local)
    except ValueError:
        return None
    users = fields[6] if len(fields) > 6 else ""
    return Listener(
        protocol=protocol,
        address=address,
        port=int(port),
        families=families,
        interface=scope.group(1) if scope else None,
        processes=tuple(
            dict.fromkeys(
                f"{name} (pid {pid})" for name, pid in re.findall(r'\("((?:[^"])*)",pid=(\d+)', users)
            )
        ),
        queued=int(fields[2]),
        backlog=int(fields[3]),
        text=line.strip(),
    )


def _address(text: str) -> tuple[IPAddress | None, frozenset[int]]:
    text = text.replace("[", "").replace("]", "").partition("%")[0]
    if text == "*":
        return None, frozenset({4, 6})
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified:
        return None, frozenset({address.version})
    return address, frozenset({address.version})
