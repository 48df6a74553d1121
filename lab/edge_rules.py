"""An edge's translations as the nftables script of its namespace.

Pure text. Connection tracking translates and keeps the timers; what a flow was translated to must
still be in force, so that a public IP that is taken away ends its flows. Silent as the fabric is: the
edge itself says nothing but neighbour discovery. Not for running it (``edge``), nor for what is
translated to what (``plan_edge``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.network.model import IPAddress
from lab.plan_model import DropReason, EdgePlan
from lab.ruleset import ADDRESS_TYPE, HEADER, drop

TABLE = "inet edge"
_FROM_INSIDE = 1
"""The mark of a flow that was opened inside."""

_NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept"


def declarations(plan: EdgePlan) -> str:
    """Chains, and sets without elements; of the plan only the names of the links count."""
    chains = {
        "opened": (
            "type filter hook prerouting priority filter; policy accept;",
            f'iifname "{plan.inside.interface}" ct state new ct mark set {_FROM_INSIDE}',
        ),
        "inward": (
            "type nat hook prerouting priority dstnat; policy accept;",
            *(f"dnat {HEADER[f]} to {HEADER[f]} daddr map @published{f}" for f in HEADER),
        ),
        "outward": (
            "type nat hook postrouting priority srcnat; policy accept;",
            *(rule for family in HEADER for rule in _source_rules(family)),
        ),
        "judge": (
            # after "outward": only now it is known what becomes of a new flow
            "type filter hook postrouting priority srcnat + 10; policy drop;",
            _NEIGHBOURS,
            "ct state invalid drop",
            f"ct mark {_FROM_INSIDE} ct status & snat == 0 {drop(DropReason.INTERNET)}",
            # what was sent to the internet comes back by a public address only
            f'oifname "{plan.inside.interface}" ct direction original ct status & dnat == 0'
            f" {drop(DropReason.NO_SUCH_ADDRESS)}",
            *(rule for family in HEADER for rule in _still_in_force(family)),
            "ct status & (snat | dnat) != 0 accept",
        ),
        "input": ("type filter hook input priority filter; policy drop;", _NEIGHBOURS),
        "output": ("type filter hook output priority filter; policy drop;", _NEIGHBOURS),
    }
    lines = [f"table {TABLE} {{"]
    for family, kind in ADDRESS_TYPE.items():
        lines += [
            f"map {name}{family} {{ type {kind} : {kind}; }}"
            for name in ("published", "leaving", "leaving_ports")
        ]
        lines.append(f"set pairs{family} {{ type {kind} . {kind}; }}")
    for name, rules in chains.items():
        lines += [f"chain {name} {{", *rules, "}"]
    return "\n".join([*lines, "}", ""])


def elements(plan: EdgePlan) -> str:
    """What the sets are to hold, in place of what they held."""
    lines = []
    for family in HEADER:
        for name, items in _contents(plan, family).items():
            lines.append(f"flush {'set' if name == 'pairs' else 'map'} {TABLE} {name}{family}")
            if items:
                lines.append(f"add element {TABLE} {name}{family} {{ {', '.join(items)} }}")
    return "\n".join([*lines, ""])


def _source_rules(family: int) -> Iterator[str]:
    header, opened = HEADER[family], f"ct mark {_FROM_INSIDE}"
    source = f"snat {header} to {header} saddr map"
    yield f"{opened} meta l4proto {{ tcp, udp }} {source} @leaving_ports{family}"
    yield f"{opened} {source} @leaving{family}"


def _still_in_force(family: int) -> Iterator[str]:
    """Both directions of a flow show the same two tuples, whichever packet asks."""
    header, gone = HEADER[family], drop(DropReason.TRANSLATION_GONE)
    for status, original, reply in (("dnat", "daddr", "saddr"), ("snat", "saddr", "daddr")):
        tuples = f"ct original {header} {original} . ct reply {header} {reply}"
        yield f"ct status & {status} != 0 {tuples} != @pairs{family} {gone}"


def _contents(plan: EdgePlan, family: int) -> dict[str, tuple[str, ...]]:
    ours = [item for item in plan.translations if item.address.version == family]
    inward = [(item.published, item.address) for item in ours if item.published is not None]
    outward = [(item.address, item.outbound) for item in ours if item.outbound is not None]
    return {
        "published": tuple(_mapped(inward)),
        "leaving": tuple(_mapped((own, way.address) for own, way in outward if not way.ports_only)),
        "leaving_ports": tuple(_mapped((own, way.address) for own, way in outward if way.ports_only)),
        "pairs": tuple(
            f"{one} . {other}" for one, other in (*inward, *((own, way.address) for own, way in outward))
        ),
    }


def _mapped(pairs: Iterable[tuple[IPAddress, IPAddress]]) -> Iterator[str]:
    """One value each: a public address that two claim is the first one's."""
    found: dict[IPAddress, IPAddress] = {}
    for one, other in pairs:
        found.setdefault(one, other)
    return (f"{one} : {other}" for one, other in found.items())
