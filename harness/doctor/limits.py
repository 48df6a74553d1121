"""What each step will not be able to tell where a machine is an end of the flow, and why. Pure.

Follows what the steps' own modules say of their needs (:mod:`harness.diagnosis`). Not for what
is wrong with the machine (:mod:`harness.doctor.checks`).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.doctor.examine import Facts
from harness.doctor.model import Limit
from harness.model import Step


def limits_of(facts: Facts, *, in_snapshot: bool | None, allow_disruptive: bool) -> tuple[Limit, ...]:
    """The limits of one machine. ``in_snapshot`` None: there is no snapshot at all."""
    if facts.hello is None or facts.died is not None:
        return (
            Limit(
                None,
                "start a probe here, or give evidence from this end",
                "the machine cannot be used; a flow to it is judged from its source and the configuration",
            ),
        )
    return tuple(_limits(facts, in_snapshot, allow_disruptive))


def _limits(facts: Facts, in_snapshot: bool | None, allow_disruptive: bool) -> Iterator[Limit]:
    yield from _network(facts, in_snapshot)
    yield from _firewall(facts)
    yield from _listener(facts, allow_disruptive)


def _network(facts: Facts, in_snapshot: bool | None) -> Iterator[Limit]:
    for step in (Step.NSG_UDR, Step.INTER_VNET):
        if in_snapshot is None:
            yield Limit(
                step, "name the rule, route or peering", "the environment has no snapshot of the network"
            )
        elif not in_snapshot:
            yield Limit(
                step, "judge this VM's NICs", "the snapshot has no VM that this machine is known to be"
            )
    if facts.no_capture:
        yield Limit(
            Step.NSG_UDR,
            "prove that a packet left or arrived here: the configuration and the silence have to do",
            facts.no_capture,
        )


def _firewall(facts: Facts) -> Iterator[Limit]:
    root = facts.hello is not None and facts.hello.root
    if not root:
        yield Limit(Step.GUEST_FIREWALL, "read the rules, so not name the one that drops", "that needs root")
    elif not facts.has("nft") and not facts.has("iptables-save"):
        yield Limit(
            Step.GUEST_FIREWALL, "see rules, should there be any", "there is neither nft nor iptables-save"
        )
    elif not facts.has("nft"):
        yield Limit(
            Step.GUEST_FIREWALL,
            "see rules of nftables (firewalld loads such, without the tool)",
            "there is no nft",
        )
    elif not facts.has("iptables-save"):
        yield Limit(
            Step.GUEST_FIREWALL,
            "read the matches of rules that iptables or Docker loaded, should there be any",
            "there is no iptables-save",
        )
    if facts.no_capture:
        yield Limit(
            Step.GUEST_FIREWALL,
            "tell a packet that was dropped here from one that never came",
            facts.no_capture,
        )


def _listener(facts: Facts, allow_disruptive: bool) -> Iterator[Limit]:
    if not facts.has("ss"):
        yield Limit(Step.LISTENER, "read the socket table, so not tell what listens", "there is no ss")
    elif facts.hello is not None and not facts.hello.root:
        yield Limit(
            Step.LISTENER, "name the process of a socket, or see that it is stopped", "that needs root"
        )
    if facts.no_capture and not allow_disruptive:
        yield Limit(
            Step.LISTENER,
            "prove that a datagram arrived that no service answers",
            f"{facts.no_capture}, and a temporary listener is not allowed",
        )
