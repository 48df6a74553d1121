"""Step 3: a VM's own firewall blocks.

Microsoft: disable the firewall, test, enable it again. This step does it without touching
anything: a packet that arrives at the target's NIC and gets no answer, or a refusal from a
host on which a process listens, was stopped in the guest; SYN-RECEIVED in the target's
socket table tells a dropped answer from a dropped request. The rules are read as well and
name the guilty one; rules that depend on what cannot be decided (rate limits, unknown
matches) are shown, not believed. Without root neither captures nor rules are to be had:
then this step is silent and the judge says what is missing.
"""

from __future__ import annotations

from dataclasses import replace

from harness.diagnosis.evidence import End, FlowEvidence, Traffic, Transit
from harness.diagnosis.place import Located, Place
from harness.guest.ruleset import Action, Rule
from harness.guest.walk import Ruling
from harness.model import Cause, Evidence, EvidenceKind, Finding, Outcome, Protocol
from harness.probe.seen import Answer
from harness.taxonomy import TAXONOMY, fix

_BLOCKING = (Action.DROP, Action.REJECT)
_LIMITS = ("connlimit", "hashlimit", "-m limit", "-m recent", "ct count", "limit rate")


def findings(evidence: FlowEvidence) -> tuple[Located, ...]:
    """Blocks by the source's firewall, the target's, and on the answer's way, in that order."""
    if evidence.success or evidence.traffic is None:
        return ()
    found = (
        _outbound(evidence, evidence.traffic),
        *(_forward(evidence, transit) for transit in evidence.transits),
        _inbound(evidence, evidence.traffic),
        _answers(evidence, evidence.traffic),
    )
    return tuple(located for located in found if located is not None)


def _outbound(evidence: FlowEvidence, traffic: Traffic) -> Located | None:
    """The source's own firewall stops the flow before it leaves the NIC."""
    ruling = evidence.outbound_at_source()
    if traffic.left_source is True:
        return None
    kept_back = traffic.left_source is False and traffic.outcome in (
        Outcome.TIMEOUT,
        Outcome.PROHIBITED,
        Outcome.REFUSED,
    )
    if not _blocks(ruling) and not (kept_back and _may_have_blocked(ruling)):
        return None
    return Located(
        Place.SOURCE_GUEST, _finding(Cause.OUTBOUND_DROP, evidence, evidence.source, ruling, chain="OUTPUT")
    )


def _forward(evidence: FlowEvidence, transit: Transit) -> Located | None:
    """The firewall of an appliance stops what the appliance should forward."""
    ruling = evidence.forwarding_at(transit)
    if transit.left is not False or transit.arrived is not True or not _blocks(ruling):
        return None
    appliance = End(transit.name, firewall=transit.firewall)
    found = _finding(Cause.FORWARD_DROP, evidence, appliance, ruling, chain="FORWARD", answer=transit.answer)
    place = Place.ANSWER_NETWORK if transit.answer else Place.SOURCE_NETWORK
    return Located(place, replace(found, evidence=(*found.evidence, *transit.packets)))


def _inbound(evidence: FlowEvidence, traffic: Traffic) -> Located | None:
    """The target's own firewall drops or rejects what arrives."""
    ruling = evidence.inbound_at_target()
    if traffic.outcome is Outcome.INTERMITTENT:
        # the first attempt worked: what stops others must be a rule that counts
        if ruling is None or ruling.blocks or not any(_is_limit(rule) for rule in ruling.doubts):
            return None
        found = _finding(Cause.CONNECTION_LIMIT, evidence, evidence.target, ruling, chain="INPUT")
        return Located(Place.TARGET_GUEST, found)
    if traffic.accepted or traffic.answer_left is Answer.ACCEPT:
        return None
    if ruling is not None and ruling.translated:
        return None  # where the packet goes from here, and which rules it meets, is not known
    refused = traffic.answer_left in (Answer.RESET, Answer.ICMP_ERROR) or (
        traffic.arrived_target is not False and traffic.outcome in (Outcome.REFUSED, Outcome.PROHIBITED)
    )
    if _blocks(ruling):
        assert ruling is not None
        rejects = ruling.action is Action.REJECT
        if traffic.arrived_target is True and rejects != refused:
            # the packets contradict the rules as read: a drop cannot answer
            if refused and not evidence.serving:
                return None
            rejects = refused
    elif _stopped_in_guest(evidence, traffic, refused) and _may_have_blocked(ruling):
        rejects = refused
    else:
        return None
    cause = _inbound_cause(ruling, rejects=rejects)
    return Located(Place.TARGET_GUEST, _finding(cause, evidence, evidence.target, ruling, chain="INPUT"))


def _inbound_cause(ruling: Ruling | None, *, rejects: bool) -> Cause:
    if ruling is not None and ruling.is_allow_list:
        return Cause.ALLOW_LIST
    if ruling is not None and not ruling.blocks and any(_is_limit(rule) for rule in ruling.doubts):
        return Cause.CONNECTION_LIMIT
    return Cause.INBOUND_REJECT if rejects else Cause.INBOUND_DROP


def _is_limit(rule: Rule) -> bool:
    """Whether the rule blocks by a count: of connections, of packets in a time."""
    may_block = rule.action in _BLOCKING and rule.packets != 0
    return may_block and any(word in rule.text for word in _LIMITS)


def _stopped_in_guest(evidence: FlowEvidence, traffic: Traffic, refused: bool) -> bool:
    """Whether the packets alone prove that the guest stopped the flow, whatever its rules say."""
    if traffic.arrived_target is not True:
        return False
    if refused:
        # a host that refuses although a process listens on that very address and port
        return bool(evidence.serving)
    if evidence.flow.protocol is Protocol.TCP:
        # Linux answers every SYN that reaches it, with SYN-ACK or RST; the exception is a full accept queue
        full = any(socket.backlog_full for socket in evidence.serving or ())
        return traffic.answer_left is Answer.NONE and traffic.accepted is False and not full
    return False


def _answers(evidence: FlowEvidence, traffic: Traffic) -> Located | None:
    """The answer is made and dropped: on its way out of the target, or on its way into the source."""
    if traffic.answer_arrived is True:
        if traffic.outcome is not Outcome.TIMEOUT:
            return None
        ruling = evidence.answer_at_source()
        place, end, chain = Place.ANSWER_SOURCE_GUEST, evidence.source, "INPUT"
        proven = True
    else:
        ruling = evidence.answer_at_target()
        place, end, chain = Place.ANSWER_TARGET_GUEST, evidence.target, "OUTPUT"
        proven = traffic.accepted is True and traffic.answer_left is Answer.NONE
    left = traffic.answer_left is not None and traffic.answer_left is not Answer.NONE
    if place is Place.ANSWER_TARGET_GUEST and left:
        return None
    if not _blocks(ruling) and not (proven and _may_have_blocked(ruling)):
        return None
    found = _finding(Cause.ANSWERS_DROPPED, evidence, end, ruling, chain=chain, answer=True)
    if end is evidence.source:
        summary = f"The answers arrive, and {end.name}'s own firewall drops them on their way in."
        found = replace(found, summary=summary, fix=tuple(f"{line} (on {end.name})" for line in found.fix))
    return Located(place, found)


def _blocks(ruling: Ruling | None) -> bool:
    return ruling is not None and ruling.blocks


def _may_have_blocked(ruling: Ruling | None) -> bool:
    """Whether what the packets prove can be the filter's doing: its rules are unread, or some are in doubt.

    The rules were read after the probe: one that counts, and has counted nothing, did not stop it.
    """
    if ruling is None:
        return True
    if ruling.certain:
        return ruling.blocks
    suspects = (*ruling.doubts, *((ruling.rule,) if ruling.rule is not None else ()))
    by_policy = ruling.action in _BLOCKING and ruling.rule is None
    return by_policy or any(
        rule.action in (*_BLOCKING, Action.UNKNOWN) and rule.packets != 0 for rule in suspects
    )


def _finding(
    cause: Cause, evidence: FlowEvidence, end: End, ruling: Ruling | None, *, chain: str, answer: bool = False
) -> Finding:
    rule = _rule_evidence(end, ruling)
    ends = [str(item.address or item.name) for item in (evidence.source, evidence.target)]
    if answer:
        ends.reverse()
    values = {
        "protocol": evidence.flow.protocol.value,
        "port": str(evidence.flow.port),
        "source": ends[0],
        "target": ends[1],
        "chain": chain,
    }
    if ruling is not None and ruling.chain is not None:
        deciding = ruling.chain
        values |= {"family": deciding.family, "table": deciding.table, "chain": deciding.name}
    return Finding(
        cause=cause,
        summary=TAXONOMY[cause].explanation + ("" if rule else " No single rule could be named."),
        evidence=(*((rule,) if rule else ()), *evidence.probe_evidence, *_sockets(evidence)),
        fix=_fix(cause, ruling, values),
    )


def _fix(cause: Cause, ruling: Ruling | None, values: dict[str, str]) -> tuple[str, ...]:
    """The documented lines; where the tool that wrote the rule is known, only those of that tool."""
    lines = fix(cause, values)
    if ruling is None or ruling.chain is None:
        return lines
    tool = "iptables" if ruling.chain.origin.startswith("iptables") else "nftables"
    return tuple(line for line in lines if line.endswith(f"# {tool}")) or lines


def _rule_evidence(end: End, ruling: Ruling | None) -> Evidence | None:
    firewall = end.firewall
    command = " ; ".join(firewall.commands) if firewall is not None else None
    if ruling is None or ruling.passes:
        return None
    if ruling.action not in (Action.DROP, Action.REJECT):
        suspects = [rule for rule in ruling.doubts if rule.packets != 0]
        lines = "\n".join(rule.text for rule in suspects)
        summary = f"one of {len(suspects)} rules that depend on more than the packet"
        return Evidence(EvidenceKind.RULE, end.name, summary, command, lines)
    rule = ruling.rule
    seen = f" ({rule.packets} packets)" if rule is not None and rule.packets is not None else ""
    unless = (
        "" if ruling.certain else " (unless a rule that depends on more than the packet decides otherwise)"
    )
    lines = "\n".join(rule.text for rule in ruling.doubts)
    return Evidence(EvidenceKind.RULE, end.name, f"{ruling.describe()}{seen}{unless}", command, lines or None)


def _sockets(evidence: FlowEvidence) -> tuple[Evidence, ...]:
    if not evidence.serving:
        return ()
    lines = "\n".join(socket.text for socket in evidence.serving)
    where = evidence.target.name
    return (
        Evidence(
            EvidenceKind.COMMAND,
            where,
            f"{where} listens on port {evidence.flow.port}",
            "ss -H -l -n -t -u -p",
            lines,
        ),
    )
