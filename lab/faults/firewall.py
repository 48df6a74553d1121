"""Faults of a guest's own firewall, each with nftables and with iptables, as administrators load them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.model import Protocol
from lab.changes import Change, GuestChange
from lab.faults.helper import helper
from lab.faults.site import Fault, Site


@dataclass(frozen=True, slots=True)
class _Block:
    """What is blocked: at the source or the target, at which hook, the flow or its answer."""

    at_target: bool
    hook: str
    answer: bool = False


_INBOUND = _Block(at_target=True, hook="input")
_OUTBOUND = _Block(at_target=False, hook="output")
_ANSWERS = _Block(at_target=True, hook="output", answer=True)


def _vm(site: Site, block: _Block) -> str:
    return site.flow.target if block.at_target else site.flow.source


def _nft_match(site: Site, *, answer: bool = False) -> str:
    if site.flow.protocol is Protocol.ICMP:
        name = "icmp" if site.target.version == 4 else "icmpv6"
        return f"{name} type {'echo-reply' if answer else 'echo-request'}"
    return f"{site.flow.protocol} {'sport' if answer else 'dport'} {site.flow.port}"


def _nft_table(
    vm: str, hook: str, rules: list[str], *, priority: int = 0, policy: str = "accept"
) -> list[Change]:
    """A table of its own, as a hardening script would load it."""
    table = f"inet hardening_{hook}"
    script = "; ".join(
        (
            f"add table {table}",
            f"add chain {table} {hook} {{ type filter hook {hook} priority {priority}; policy {policy}; }}",
            *(f"add rule {table} {hook} {rule}" for rule in rules),
        )
    )
    return [GuestChange(vm, ("nft", script), ("nft", f"delete table {table}"))]


def _nft(block: _Block, verdict: str) -> Callable[[Site], list[Change]]:
    def changes(site: Site) -> list[Change]:
        rule = f"{_nft_match(site, answer=block.answer)} counter {verdict}"
        return _nft_table(_vm(site, block), block.hook, [rule])

    return changes


def _tool(site: Site) -> str:
    return "iptables" if site.target.version == 4 else "ip6tables"


def _rule(site: Site, vm: str, chain: str, words: tuple[str, ...], *, table: str = "filter") -> GuestChange:
    base = (_tool(site), "-w", "-t", table)
    return GuestChange(vm, (*base, "-I", chain, *words), (*base, "-D", chain, *words))


def _iptables(block: _Block, *verdict: str) -> Callable[[Site], list[Change]]:
    def changes(site: Site) -> list[Change]:
        words = list(site.protocol_words)
        if block.answer:
            words = ["--sport" if word == "--dport" else word for word in words]
        return [_rule(site, _vm(site, block), block.hook.upper(), (*words, "-j", *verdict))]

    return changes


def _reject_nft(site: Site) -> list[Change]:
    return _nft(_INBOUND, "reject with tcp reset" if site.flow.protocol is Protocol.TCP else "reject")(site)


def _reject_iptables(site: Site) -> list[Change]:
    how = ("--reject-with", "tcp-reset") if site.flow.protocol is Protocol.TCP else ()
    return _iptables(_INBOUND, "REJECT", *how)(site)


def _reject_icmp_nft(site: Site) -> list[Change]:
    return _nft(_INBOUND, "reject with icmpx type admin-prohibited")(site)


def _reject_icmp_iptables(site: Site) -> list[Change]:
    kind = "icmp-admin-prohibited" if site.target.version == 4 else "icmp6-adm-prohibited"
    return _iptables(_INBOUND, "REJECT", "--reject-with", kind)(site)


def _allow_list_nft(site: Site) -> list[Change]:
    """The port is open for one neighbour of the source, and closed for the rest."""
    family = "ip" if site.source.version == 4 else "ip6"
    match = _nft_match(site)
    rules = [
        f"{family} saddr {{ {site.source + 100}, {site.source + 101} }} {match} accept",
        f"{match} counter drop",
    ]
    return _nft_table(site.flow.target, "input", rules)


def _allow_list_iptables(site: Site) -> list[Change]:
    words = site.protocol_words
    # inserted at the head one after the other: the accept ends up before the drop
    return [
        _rule(site, site.flow.target, "INPUT", (*words, "-j", "DROP")),
        _rule(site, site.flow.target, "INPUT", ("-s", str(site.source + 100), *words, "-j", "ACCEPT")),
    ]


def _forward_nft(site: Site) -> list[Change]:
    return _nft_table(site.appliance_vm, "forward", [f"{_nft_match(site)} counter drop"])


def _forward_iptables(site: Site) -> list[Change]:
    return [_rule(site, site.appliance_vm, "FORWARD", (*site.protocol_words, "-j", "DROP"))]


def _prerouting_nft(site: Site) -> list[Change]:
    rule = f"{_nft_match(site)} counter drop"
    return _nft_table(site.flow.target, "prerouting", [rule], priority=-300)


def _raw_iptables(site: Site) -> list[Change]:
    return [_rule(site, site.flow.target, "PREROUTING", (*site.protocol_words, "-j", "DROP"), table="raw")]


def _held(site: Site) -> GuestChange:
    """Connections of the source that use the limit up."""
    return helper(site.flow.source, "hold", str(site.target), str(site.flow.port), "2")


def _limit_nft(site: Site) -> list[Change]:
    rule = f"{_nft_match(site)} ct state new ct count over 2 counter drop"
    return [*_nft_table(site.flow.target, "input", [rule]), _held(site)]


def _limit_iptables(site: Site) -> list[Change]:
    limit = ("--syn", "-m", "connlimit", "--connlimit-above", "2", "--connlimit-mask", "0", "-j", "DROP")
    return [_rule(site, site.flow.target, "INPUT", (*site.protocol_words, *limit)), _held(site)]


FAULTS = (
    Fault("inbound-drop-nftables", "nftables on the target drops what comes in", _nft(_INBOUND, "drop")),
    Fault("inbound-drop-iptables", "iptables on the target drops what comes in", _iptables(_INBOUND, "DROP")),
    Fault(
        "inbound-reject-nftables", "nftables on the target rejects what comes in with a reset", _reject_nft
    ),
    Fault(
        "inbound-reject-iptables",
        "iptables on the target rejects what comes in with a reset",
        _reject_iptables,
    ),
    Fault("inbound-prohibit-nftables", "nftables on the target rejects with an ICMP error", _reject_icmp_nft),
    Fault(
        "inbound-prohibit-iptables",
        "iptables on the target rejects with an ICMP error",
        _reject_icmp_iptables,
    ),
    Fault("outbound-drop-nftables", "nftables on the source drops what goes out", _nft(_OUTBOUND, "drop")),
    Fault(
        "outbound-drop-iptables", "iptables on the source drops what goes out", _iptables(_OUTBOUND, "DROP")
    ),
    Fault("answers-dropped-nftables", "nftables on the target drops the answers", _nft(_ANSWERS, "drop")),
    Fault(
        "answers-dropped-iptables", "iptables on the target drops the answers", _iptables(_ANSWERS, "DROP")
    ),
    Fault(
        "allow-list-nftables", "nftables on the target allows the port to other sources only", _allow_list_nft
    ),
    Fault(
        "allow-list-iptables",
        "iptables on the target allows the port to other sources only",
        _allow_list_iptables,
    ),
    Fault("forward-drop-nftables", "nftables on the appliance in the path drops", _forward_nft),
    Fault("forward-drop-iptables", "iptables on the appliance in the path drops", _forward_iptables),
    Fault("prerouting-drop-nftables", "nftables on the target drops before routing", _prerouting_nft),
    Fault("raw-drop-iptables", "iptables' raw table on the target drops", _raw_iptables),
    Fault(
        "connection-limit-nftables", "nftables on the target limits connections, and all are held", _limit_nft
    ),
    Fault(
        "connection-limit-iptables",
        "iptables on the target limits connections, and all are held",
        _limit_iptables,
    ),
)
