"""The part of the fabric's nftables program that is the same in every lab: its fixed chains and sets.

The way of a packet, each arrow a ``goto``; ``meta mark`` holds the id of the port that is being
judged, ``<f>`` is 4 or 6::

    ingress -> arp
            -> from_<f> -> route_<f> -> (chains of routes) -> to_<f> -> deliver_<f>

``from_<f>`` judges a packet at the port it came from, ``to_<f>`` at the port it goes to, both in
the same shape, by protocol: a packet of a flow that this port knows goes on, any other is judged
by the port's NSGs and opens a flow. Each port has flow state of its own: ``fo<f>`` holds flows that
its VM opened, ``fi<f>`` flows that were opened towards it, both written in the direction of the
opener.

Most matching reads raw header bits: only they can be compared with quoted headers, and nft puts
checks of the protocol before each typed field. Ports come in pieces of 8 bits, because nft turns 16
bits at the start of the transport header into a typed port. The kernel follows no more than 16
chains in a row, which is why some chains repeat what others hold.

Not for what depends on the network (``program``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from harness.network.model import IPAddress
from lab import peering_notes
from lab.plan_model import FABRIC_MAC, DropReason

FLOW_IDLE = "4m"
"""Azure's idle time of a flow (Azure: virtual-networks-overview, flow timeout default)."""
FLOWS = 2_000_000
FRAGMENTS = 65_536
FRAGMENT_LIFE = "30s"
"""How long the fragments of one datagram may take, RFC 791 reassembly."""

ADDRESS_TYPE = MappingProxyType({4: "ipv4_addr", 6: "ipv6_addr"})
HEADER = MappingProxyType({4: "ip", 6: "ip6"})


class ContainerKind(StrEnum):
    SET = "set"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Container:
    """A named set or map: what it holds (nft's words) and its elements (value None in a set).

    One with ``dynamic`` belongs to the packets: its elements are never touched.
    """

    kind: ContainerKind
    declaration: str
    elements: Mapping[str, str | None] = field(default_factory=dict)
    dynamic: bool = False


def drop(reason: DropReason) -> str:
    """The rule text that drops and counts."""
    return f'counter drop comment "drop:{reason}"'


def drop_chain(reason: DropReason) -> str:
    """The chain that drops for a reason; routes lead there."""
    return f"drop_{reason.value.replace('-', '_')}"


def ethernet_header(mac: str) -> str:
    """The addresses of a frame from the fabric to a NIC, as an element of the map ``header``."""
    return "0x" + (mac + FABRIC_MAC).replace(":", "")


def own_address(mac: str, address: IPAddress) -> str:
    """What a NIC may send from, as (the end of) an element of the sets ``own4`` and ``own6``."""
    return f"0x{mac.replace(':', '')} . 0x{address.packed.hex()}"


_SENDER = {4: "meta mark . @ll,48,48 . @nh,96,32", 6: "meta mark . @ll,48,48 . @nh,64,128"}
OWN_TYPE = MappingProxyType({family: f"typeof {sender}" for family, sender in _SENDER.items()})
HEADER_TYPE = "typeof meta mark : @ll,0,96"


def foreign_source(family: int) -> str:
    """The condition that the sending port's NIC does not have the packet's source."""
    return f"{_SENDER[family]} != @own{family}"


class _Header(StrEnum):
    """Which header of a packet holds the 5-tuple of a flow."""

    PORTS = "ports"
    ECHO = "echo"
    QUOTED_PORTS = "quoted-ports"
    QUOTED_ECHO = "quoted-echo"


def _bits(base: str, offset: int, length: int) -> str:
    return f"@{base},{offset},{length}"


def _pieces(base: str, offset: int) -> str:
    return f"{_bits(base, offset, 8)} . {_bits(base, offset + 8, 8)}"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Bit offsets: of addresses and protocol in the IP header, and of that header when quoted."""

    protocol: int
    source: int
    target: int
    address_bits: int
    header_bits: int
    icmp: str
    icmp_number: int
    errors: str


ICMP_HEADER_BITS = 64
ECHO_ID_OFFSET = 32

_LAYOUT = {
    4: _Layout(72, 96, 128, 32, 160, "icmp", 1, "destination-unreachable, time-exceeded, parameter-problem"),
    6: _Layout(
        48,
        64,
        192,
        128,
        320,
        "icmpv6",
        58,
        "destination-unreachable, packet-too-big, time-exceeded, parameter-problem",
    ),
}


def _flow_key(family: int, header: _Header, *, reverse: bool = False) -> str:
    """The 5-tuple (and port) as a concatenation; of a quoted packet for ICMP errors (no IP options)."""
    layout = _LAYOUT[family]
    quoted = header in (_Header.QUOTED_PORTS, _Header.QUOTED_ECHO)
    base, shift = ("th", ICMP_HEADER_BITS) if quoted else ("nh", 0)
    transport = ICMP_HEADER_BITS + layout.header_bits if quoted else 0
    source = _bits(base, shift + layout.source, layout.address_bits)
    target = _bits(base, shift + layout.target, layout.address_bits)
    if header in (_Header.ECHO, _Header.QUOTED_ECHO):
        source_port = target_port = _pieces("th", transport + ECHO_ID_OFFSET)
    else:
        source_port, target_port = _pieces("th", transport), _pieces("th", transport + 16)
    if reverse:
        source, target, source_port, target_port = target, source, target_port, source_port
    protocol = _bits(base, shift + layout.protocol, 8)
    return f"meta mark . {protocol} . {source} . {source_port} . {target} . {target_port}"


@dataclass(frozen=True, slots=True)
class _Side:
    """The judgement at one port: ``mine`` holds flows opened in this direction, ``other`` the others."""

    name: str
    mine: str
    other: str
    levels: tuple[str, str]
    fragment: str
    next: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    """Rules around the judgement of a new flow by NSGs."""


_REFUSED_IN = tuple(
    f"{condition} {drop(DropReason.PEERING_ACCESS_DISABLED)}" for condition in peering_notes.REFUSED_IN
)


def _sides(family: int, *, closed_peerings: bool) -> tuple[_Side, _Side]:
    return (
        # ports are in a datagram's first fragment only: the later ones are judged where they arrive,
        # and get through if the first one was delivered there
        _Side(
            "from",
            mine=f"fo{family}",
            other=f"fi{family}",
            levels=("nic_out", "subnet_out"),
            fragment=f"route_{family}",
            next=f"route_{family}",
            before=(peering_notes.NEW_FLOW,) if closed_peerings else (),
        ),
        _Side(
            "to",
            mine=f"fi{family}",
            other=f"fo{family}",
            levels=("subnet_in", "nic_in"),
            fragment=f"fragment_{family}",
            next=f"deliver_{family}",
            after=_REFUSED_IN if closed_peerings else (),
        ),
    )


LEVELS = ("nic_out", "subnet_out", "subnet_in", "nic_in")
"""The NSG levels in the order in which a packet meets them (Azure: network-security-group-how-it-works)."""

PROTOCOLS = ("tcp", "udp", "icmp")


def level_map(level: str, family: int, protocol: str) -> str:
    """The name of the map from port to NSG chain at a level."""
    return f"{level}{family}_{protocol}"


def _fragment_key(family: int) -> str:
    identification = "ip id" if family == 4 else "frag id"
    return f"meta mark . {HEADER[family]} saddr . {HEADER[family]} daddr . {identification}"


_LATER_FRAGMENT = {4: "@nh,51,13 != 0", 6: "@nh,48,8 44 frag frag-off != 0"}
_FIRST_FRAGMENT = {4: "@nh,50,14 0x2000", 6: "@nh,48,8 44 frag frag-off 0 frag more-fragments 1"}

_TCP_FLAGS = "@th,104,8"
_SYN, _RST, _ACK = 0x02, 0x04, 0x10


def _side_chains(family: int, side: _Side) -> dict[str, tuple[str, ...]]:
    layout = _LAYOUT[family]
    name = f"{side.name}_{family}"

    def known(header: _Header, *, reverse: bool = False, verb: str = "update") -> str:
        key, flows = _flow_key(family, header, reverse=reverse), side.other if reverse else side.mine
        return f"{key} @{flows} {verb} @{flows} {{ {key} }} goto {side.next}"

    def opens(protocol: str, header: _Header = _Header.PORTS) -> tuple[str, ...]:
        return (
            *side.before,
            *(f"meta mark vmap @{level_map(level, family, protocol)}" for level in side.levels),
            *side.after,
            # a full table makes the statement fail, and the rule simply not match
            f"update @{side.mine} {{ {_flow_key(family, header)} }} goto {side.next}",
            drop(DropReason.FLOW_TABLE_FULL),
        )

    def related(header: _Header) -> tuple[str, ...]:
        # the quoted packet went through this port the other way round than the error does
        return (
            f"{_flow_key(family, header)} @{side.other} goto {side.next}",
            f"{_flow_key(family, header, reverse=True)} @{side.mine} goto {side.next}",
            drop(DropReason.UNRELATED_ICMP),
        )

    quoted_protocol = _bits("th", ICMP_HEADER_BITS + layout.protocol, 8)
    dispatch = (
        f"{_LATER_FRAGMENT[family]} goto {side.fragment}",
        f"meta l4proto tcp goto {name}_tcp",
        f"meta l4proto udp goto {name}_udp",
        f"meta l4proto {'icmp' if family == 4 else 'ipv6-icmp'} goto {name}_icmp",
        drop(DropReason.UNSUPPORTED_PROTOCOL),
    )
    return {
        name: dispatch,
        f"{name}_tcp": (
            f"{_TCP_FLAGS} & {_SYN | _RST:#x} != 0 jump {name}_edge",
            known(_Header.PORTS),
            known(_Header.PORTS, reverse=True),
            f"goto {name}_new_tcp",
        ),
        # a SYN is always new: ports are used again while the old flow is still known, and a
        # changed rule has to bind the next connection
        f"{name}_edge": (
            f"{_TCP_FLAGS} & {_SYN | _ACK:#x} == {_SYN:#x} goto {name}_new_tcp",
            # asking for the opener's direction first is right for most packets, but not for SYN-ACK
            f"{_TCP_FLAGS} & {_RST:#x} == 0 goto {name}_answer",
            known(_Header.PORTS, verb="delete"),
            known(_Header.PORTS, reverse=True, verb="delete"),
        ),
        f"{name}_answer": (known(_Header.PORTS, reverse=True),),
        f"{name}_udp": (
            known(_Header.PORTS),
            known(_Header.PORTS, reverse=True),
            f"goto {name}_new_udp",
        ),
        f"{name}_icmp": (
            f"{layout.icmp} type echo-request goto {name}_echo",
            f"{layout.icmp} type echo-reply goto {name}_reply",
            f"{layout.icmp} type {{ {layout.errors} }} goto {name}_error",
            *(_NEIGHBOURS if family == 6 else ()),
            drop(DropReason.UNSUPPORTED_PROTOCOL),
        ),
        f"{name}_echo": (known(_Header.ECHO), f"goto {name}_new_icmp"),
        f"{name}_reply": (known(_Header.ECHO, reverse=True), f"goto {name}_new_icmp"),
        f"{name}_error": (
            f"{quoted_protocol} {layout.icmp_number} goto {name}_error_echo",
            *related(_Header.QUOTED_PORTS),
        ),
        f"{name}_error_echo": related(_Header.QUOTED_ECHO),
        f"{name}_new_tcp": opens("tcp"),
        f"{name}_new_udp": opens("udp"),
        f"{name}_new_icmp": opens("icmp", _Header.ECHO),
    }


_NEIGHBOURS = ("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept",)
"""The fabric's own kernel answers neighbour discovery for the gateway, and nothing else."""


def _family_chains(family: int, *, closed_peerings: bool) -> dict[str, tuple[str, ...]]:
    from_port, to_port = _sides(family, closed_peerings=closed_peerings)
    chains = _side_chains(family, from_port) | _side_chains(family, to_port)
    fragment = _fragment_key(family)
    chains[from_port.name + f"_{family}"] = (
        f"{foreign_source(family)} jump foreign_{family}",
        *chains[from_port.name + f"_{family}"],
    )
    send = "@ll,0,96 set meta mark map @header fwd to meta mark map @link"
    return chains | {
        f"foreign_{family}": (
            "meta mark @ip_forwarding return",
            # what a guest's kernel says on its link (multicast listener reports) is nobody's spoofing
            # (two rules, not a set: an interval set is empty for a moment after its rule has come to life)
            *((*_NEIGHBOURS, "ip6 saddr :: drop", "ip6 saddr fe80::/10 drop") if family == 6 else ()),
            drop(DropReason.SPOOFED),
        ),
        f"route_{family}": (f"meta mark vmap @routes{family}", drop(DropReason.NO_ROUTE)),
        f"fragment_{family}": (f"{fragment} @frags{family} {send}", drop(DropReason.STRAY_FRAGMENT)),
        f"deliver_{family}": (
            f"{_FIRST_FRAGMENT[family]} update @frags{family} {{ {fragment} }}",
            send,
            "drop",
        ),
    }


INGRESS = (
    "meta mark set meta iif map @port",
    "meta protocol ip goto from_4",
    "meta protocol ip6 goto from_6",
    "meta protocol arp goto arp_in",
    "drop",
)
"""The rules of the base chain."""


def fixed_chains(*, closed_peerings: bool = False) -> dict[str, tuple[str, ...]]:
    """Chain name -> rules, for everything that does not depend on the network.

    ``closed_peerings``: note how rules judged, for the peerings that only explicit rules may cross.
    """
    chains: dict[str, tuple[str, ...]] = {
        # every address answers ARP; the Ethernet header serves as scratch space to swap the IP addresses
        "arp_in": (
            "arp operation != request drop",
            "@ll,0,32 set @nh,192,32",
            "@nh,192,32 set @nh,112,32",
            "@nh,112,32 set @ll,0,32",
            "arp daddr ether set arp saddr ether",
            f"arp saddr ether set {FABRIC_MAC}",
            "ether daddr set ether saddr",
            f"ether saddr set {FABRIC_MAC}",
            "arp operation set reply",
            "fwd to iif",
        ),
    }
    for family in (4, 6):
        chains.update(_family_chains(family, closed_peerings=closed_peerings))
    for reason in DropReason:
        chains[drop_chain(reason)] = (drop(reason),)
    return chains


def fixed_containers() -> dict[str, Container]:
    """The flow state; the packets fill it."""
    containers: dict[str, Container] = {}
    for family in (4, 6):
        key = _flow_key(family, _Header.PORTS)
        for name, typeof, life, size in (
            (f"fo{family}", key, FLOW_IDLE, FLOWS),
            (f"fi{family}", key, FLOW_IDLE, FLOWS),
            (f"frags{family}", _fragment_key(family), FRAGMENT_LIFE, FRAGMENTS),
        ):
            containers[name] = Container(
                ContainerKind.SET,
                f"typeof {typeof}; flags dynamic,timeout; timeout {life}; size {size};",
                dynamic=True,
            )
    return containers
