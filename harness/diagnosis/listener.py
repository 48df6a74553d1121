"""Step 4: nothing listens.

Microsoft: ``netstat -l`` on the target, and ``telnet`` on the VM itself. This step reads the
target's socket table, and demands the connect on the VM itself (to loopback and to its own
address) as evidence. It needs no root, except for the names of processes. Where the flow
cannot be judged by sockets (ICMP, a target without log-in) it is silent.
"""

from __future__ import annotations

from dataclasses import replace

from harness.diagnosis.evidence import FlowEvidence
from harness.diagnosis.place import Located, Place
from harness.guest.listeners import SS_COMMAND, Listener
from harness.model import Cause, Evidence, EvidenceKind, Finding, Outcome, Protocol, Severity
from harness.taxonomy import TAXONOMY, fix

# ports of what runs on most Linux VMs anyway: a service that moved is not among them
SYSTEM_PORTS = frozenset({22, 53, 67, 68, 111, 123, 323, 546, 631, 5353, 5355})


def findings(evidence: FlowEvidence) -> tuple[Located, ...]:
    """The one reason why no socket of the target takes this flow, if there is one."""
    if evidence.stalled is not None:
        found = _finding(Cause.PROCESS_STOPPED, evidence, (evidence.stalled.socket,))
        if not evidence.stalled.stopped:
            # it may be busy for a moment, or hung: worth knowing, not a fault that is proven
            found = replace(found, severity=Severity.WARNING)
        return (Located(Place.LISTENER, found),)
    if evidence.success or evidence.flow.protocol is Protocol.ICMP:
        return ()
    ruling = evidence.inbound_at_target()
    if ruling is not None and ruling.translated:
        return ()  # the port is published for somebody else: the VM's own sockets say nothing of it
    listening, serving = evidence.listening, evidence.serving
    if listening is None or serving is None:
        return ()
    if serving:
        return _not_accepting(evidence, serving)
    if any(test.outcome.success for test in evidence.local_tests if not test.address.is_loopback):
        return ()  # the VM itself connects to that address: the socket table was read at another moment
    moved: tuple[Listener, ...] = ()
    if not listening:
        moved = _unaccounted(evidence)
        cause = Cause.OTHER_PORT if moved else Cause.NO_PROCESS
    elif all(socket.loopback for socket in listening):
        cause = Cause.LOOPBACK_ONLY
    elif evidence.target.address is not None and not any(
        evidence.target.address.version in socket.families for socket in listening
    ):
        cause = Cause.ADDRESS_FAMILY
    else:
        cause = Cause.OTHER_ADDRESS
    return (Located(Place.LISTENER, _finding(cause, evidence, listening or moved)),)


def _not_accepting(evidence: FlowEvidence, serving: tuple[Listener, ...]) -> tuple[Located, ...]:
    """A socket is there, and its queue of connections is full."""
    silent = evidence.traffic is not None and evidence.traffic.outcome is Outcome.TIMEOUT
    if silent and any(socket.backlog_full for socket in serving):
        return (Located(Place.LISTENER, _finding(Cause.BACKLOG_FULL, evidence, serving)),)
    return ()


def _unaccounted(evidence: FlowEvidence) -> tuple[Listener, ...]:
    """Listeners that nothing in the environment file accounts for: where the service may have gone."""
    port = evidence.flow.port or 0
    declared = any(protocol is evidence.flow.protocol for protocol, _ in evidence.accounted)
    return tuple(
        socket
        for socket in evidence.target.listeners or ()
        if socket.protocol is evidence.flow.protocol
        and not socket.loopback
        and socket.port not in SYSTEM_PORTS
        and (socket.protocol, socket.port) not in evidence.accounted
        # without any declared service a well-known port is taken for what it is known for
        and (declared or socket.port >= 1024 or port < 1024)
    )


def _finding(cause: Cause, evidence: FlowEvidence, sockets: tuple[Listener, ...]) -> Finding:
    where, port = evidence.target.name, evidence.flow.port
    if sockets:
        shown = "; ".join(
            f"{_address(socket)}:{socket.port} {', '.join(socket.processes)}".strip()
            for socket in sockets[:5]
        )
        detail = f"{where} has {shown}; asked for was {evidence.target.address}:{port}."
    else:
        detail = f"No socket of {where} is bound to port {port}/{evidence.flow.protocol}."
    return Finding(
        cause=cause,
        summary=f"{TAXONOMY[cause].explanation} {detail}",
        evidence=(
            Evidence(
                EvidenceKind.COMMAND, where, detail, " ".join(SS_COMMAND), "\n".join(s.text for s in sockets)
            ),
            *_states(evidence),
            *_local(evidence),
            *_stand_in(evidence),
            *evidence.probe_evidence,
        ),
        fix=fix(cause, {"target": str(evidence.target.address or where), "port": str(port)}),
    )


def _address(socket: Listener) -> str:
    return str(socket.address) if socket.address is not None else "*"


def _states(evidence: FlowEvidence) -> tuple[Evidence, ...]:
    if evidence.stalled is None:
        return ()
    waiting = f"{evidence.stalled.socket.queued} connections wait and none is accepted"
    summary = "; ".join((waiting, *evidence.stalled.states))
    return (Evidence(EvidenceKind.COMMAND, evidence.target.name, summary, "cat /proc/<pid>/stat"),)


def _local(evidence: FlowEvidence) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            EvidenceKind.PROBE,
            evidence.target.name,
            f"on {evidence.target.name} itself, {test.address}:{evidence.flow.port}/{evidence.flow.protocol}:"
            f" {test.outcome}",
        )
        for test in evidence.local_tests
    )


def _stand_in(evidence: FlowEvidence) -> tuple[Evidence, ...]:
    if evidence.stand_in is None:
        return ()
    outcome = evidence.stand_in.outcome
    meaning = "the network is fine" if outcome.success else "something else blocks as well"
    if outcome is Outcome.UNCONFIRMED:
        meaning = "no proof either way"
    return (
        Evidence(
            EvidenceKind.PROBE,
            evidence.source.name,
            f"with a temporary listener on {evidence.target.name}:{evidence.flow.port}:"
            f" {outcome} ({meaning})",
        ),
    )
