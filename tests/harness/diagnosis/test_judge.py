"""The judge and its steps as data: evidence in, causes out. No machine is touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.diagnosis.evidence import End, FlowEvidence, LocalTest, StandIn, Traffic, Transit
from harness.diagnosis.judge import judge
from harness.errors import InconclusiveError
from harness.guest.firewall import Firewall
from harness.guest.iptables import read_iptables
from harness.guest.listeners import Listener, read_listeners
from harness.guest.queue import Stalled
from harness.guest.ruleset import Ruleset
from harness.model import Cause, Flow, Outcome, Protocol, Verdict
from harness.network.model import Access
from harness.policy.decision import Decision, DecisionKind, Explanation, PolicyVerdict, Way
from harness.probe.seen import Answer

WEB, DB = ip_address("10.0.1.4"), ip_address("10.0.3.4")
FLOW = Flow("web-01", "db-01", Protocol.TCP, 1433)
NO_RULES = Firewall(Ruleset(), ("nft list ruleset",))
LISTENS = 'tcp LISTEN 0 128 0.0.0.0:1433 0.0.0.0:* users:(("sqlservr",pid=7,fd=3))'
SSHD = 'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=5,fd=3))'

CONNECTED = Traffic(
    Outcome.CONNECTED, "", 1, 1, 0.2, 50000, left_source=True, arrived_target=True, accepted=True,
    answer_left=Answer.ACCEPT, answer_arrived=True,
)  # fmt: skip
SILENT_AT_TARGET = replace(
    CONNECTED,
    outcome=Outcome.TIMEOUT,
    successes=0,
    accepted=False,
    answer_left=Answer.NONE,
    answer_arrived=False,
)
NEVER_ARRIVED = replace(SILENT_AT_TARGET, arrived_target=False)
REFUSED = replace(SILENT_AT_TARGET, outcome=Outcome.REFUSED, answer_left=Answer.RESET, answer_arrived=True)
NEVER_LEFT = replace(NEVER_ARRIVED, left_source=False)
BLIND_TIMEOUT = Traffic(Outcome.TIMEOUT, "", 1, 0, source_port=50000)


def rules(text: str) -> Firewall:
    chains = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]"
    return Firewall(read_iptables(f"*filter\n{chains}\n{text}\nCOMMIT\n", 4), ("iptables-save -c",))


def sockets(*lines: str) -> tuple[Listener, ...]:
    return read_listeners("\n".join(lines))


def evidence(traffic: Traffic | None, **changes: object) -> FlowEvidence:
    source = End("web-01", WEB, "web-01", "eth0", sockets(SSHD), NO_RULES)
    target = End("db-01", DB, "db-01", "eth0", sockets(SSHD, LISTENS), NO_RULES)
    ends = {name: value for name, value in changes.items() if name in ("source", "target")}
    rest = {name: value for name, value in changes.items() if name not in ends}
    made = FlowEvidence(FLOW, source, target, traffic, allow())
    made = replace(made, **rest)  # type: ignore[arg-type]
    for name, fields in ends.items():
        made = replace(made, **{name: replace(getattr(made, name), **fields)})  # type: ignore[arg-type]
    return made


def allow() -> Explanation:
    return Explanation(FLOW, PolicyVerdict.ALLOW, None, None, None, (), None, WEB, DB)


def deny(cause: Cause, way: Way = Way.FORWARD) -> Explanation:
    decision = Decision(
        way, DecisionKind.NSG, Access.DENY, "subnet db", "rule nsg-db/Deny denies", rule="nsg-db/Deny"
    )
    return Explanation(
        FLOW,
        PolicyVerdict.DENY,
        cause,
        "nsg-db/Deny",
        None,
        (decision,),
        decision,
        WEB,
        DB,
        fixing=lambda: ("az x",),
    )


DROP_IN = rules("-A INPUT -p tcp -m tcp --dport 1433 -j DROP")
REJECT_IN = rules("-A INPUT -p tcp -m tcp --dport 1433 -j REJECT --reject-with tcp-reset")
DROP_OUT = rules("-A OUTPUT -p tcp -m tcp --dport 1433 -j DROP")
DROP_ANSWERS = rules("-A OUTPUT -p tcp -m tcp --sport 1433 -j DROP")
DOUBTFUL = rules("-A INPUT -p tcp -m u32 --u32 0x0=0x1 -j DROP")
LIMIT = rules("-A INPUT -p tcp -m connlimit --connlimit-above 1 -j DROP")
ALLOW_LIST = rules(
    "-A INPUT -s 10.0.9.0/24 -p tcp -m tcp --dport 1433 -j ACCEPT\n-A INPUT -p tcp --dport 1433 -j DROP"
)
EXCEPTIONS = rules("-A INPUT ! -s 10.0.9.0/24 -p tcp -m tcp --dport 1433 -j REJECT")
DROP_THROUGH = rules("-A FORWARD -p tcp -m tcp --dport 1433 -j DROP")
DROP_THROUGH_ANSWERS = rules("-A FORWARD -p tcp -m tcp --sport 1433 -j DROP")
UNREADABLE = Firewall(None, problem="reading firewall rules needs root")
LOOPBACK = 'tcp LISTEN 0 128 127.0.0.1:1433 0.0.0.0:* users:(("sqlservr",pid=7,fd=3))'
ELSEWHERE = 'tcp LISTEN 0 128 0.0.0.0:1434 0.0.0.0:* users:(("sqlservr",pid=7,fd=3))'
OTHER_NIC = 'tcp LISTEN 0 128 10.0.9.9:1433 0.0.0.0:* users:(("sqlservr",pid=7,fd=3))'
FULL = "tcp LISTEN 2 1 0.0.0.0:1433 0.0.0.0:*"
ONLY_6 = "tcp LISTEN 0 128 [::]:1433 [::]:*"
DECLARED = frozenset({(Protocol.TCP, 1433)})

CASES: dict[str, tuple[FlowEvidence, list[Cause]]] = {
    "subnet NSG": (
        evidence(NEVER_ARRIVED, prediction=deny(Cause.SUBNET_NSG_INBOUND)),
        [Cause.SUBNET_NSG_INBOUND],
    ),
    "subnet NSG, no captures": (
        evidence(BLIND_TIMEOUT, prediction=deny(Cause.SUBNET_NSG_INBOUND)),
        [Cause.SUBNET_NSG_INBOUND],
    ),
    "peering": (evidence(NEVER_ARRIVED, prediction=deny(Cause.NO_PEERING)), [Cause.NO_PEERING]),
    "drop, rule named": (evidence(SILENT_AT_TARGET, target={"firewall": DROP_IN}), [Cause.INBOUND_DROP]),
    "drop, rules in doubt": (evidence(SILENT_AT_TARGET, target={"firewall": DOUBTFUL}), [Cause.INBOUND_DROP]),
    "drop, rules unread": (evidence(SILENT_AT_TARGET, target={"firewall": UNREADABLE}), [Cause.INBOUND_DROP]),
    "reject, rule named": (evidence(REFUSED, target={"firewall": REJECT_IN}), [Cause.INBOUND_REJECT]),
    "reject, rules unread": (evidence(REFUSED, target={"firewall": UNREADABLE}), [Cause.INBOUND_REJECT]),
    "answers dropped": (
        evidence(replace(SILENT_AT_TARGET, accepted=True), target={"firewall": DROP_ANSWERS}),
        [Cause.ANSWERS_DROPPED],
    ),
    "answers dropped, rules unread": (
        evidence(replace(SILENT_AT_TARGET, accepted=True), target={"firewall": UNREADABLE}),
        [Cause.ANSWERS_DROPPED],
    ),
    "outbound drop": (evidence(NEVER_LEFT, source={"firewall": DROP_OUT}), [Cause.OUTBOUND_DROP]),
    "outbound drop, rules unread": (
        evidence(NEVER_LEFT, source={"firewall": UNREADABLE}),
        [Cause.OUTBOUND_DROP],
    ),
    "drop, a limit": (evidence(SILENT_AT_TARGET, target={"firewall": LIMIT}), [Cause.CONNECTION_LIMIT]),
    "a limit that stops some": (
        evidence(
            replace(CONNECTED, outcome=Outcome.INTERMITTENT, attempts=9, successes=6),
            target={"firewall": LIMIT},
        ),
        [Cause.CONNECTION_LIMIT],
    ),
    "allow-list": (evidence(SILENT_AT_TARGET, target={"firewall": ALLOW_LIST}), [Cause.ALLOW_LIST]),
    "allow-list of exceptions": (evidence(REFUSED, target={"firewall": EXCEPTIONS}), [Cause.ALLOW_LIST]),
    "full accept queue": (
        evidence(SILENT_AT_TARGET, target={"listeners": sockets(FULL), "firewall": UNREADABLE}),
        [Cause.BACKLOG_FULL],
    ),
    "a full accept queue whose port is blocked as well": (
        evidence(SILENT_AT_TARGET, target={"listeners": sockets(FULL), "firewall": DROP_IN}),
        [Cause.INBOUND_DROP, Cause.BACKLOG_FULL],
    ),
    "stopped process": (
        evidence(CONNECTED, stalled=Stalled(read_listeners(LISTENS)[0], ("sqlservr (pid 7): state T",))),
        [Cause.PROCESS_STOPPED],
    ),
    "other family": (evidence(REFUSED, target={"listeners": sockets(ONLY_6)}), [Cause.ADDRESS_FAMILY]),
    "no process": (evidence(REFUSED, target={"listeners": sockets(SSHD)}), [Cause.NO_PROCESS]),
    "loopback only": (evidence(REFUSED, target={"listeners": sockets(LOOPBACK)}), [Cause.LOOPBACK_ONLY]),
    "other address": (evidence(REFUSED, target={"listeners": sockets(OTHER_NIC)}), [Cause.OTHER_ADDRESS]),
    "other port": (evidence(REFUSED, target={"listeners": sockets(SSHD, ELSEWHERE)}), [Cause.OTHER_PORT]),
    "other port is another declared service": (
        evidence(
            REFUSED, target={"listeners": sockets(ELSEWHERE)}, accounted=DECLARED | {(Protocol.TCP, 1434)}
        ),
        [Cause.NO_PROCESS],
    ),
    "no process behind a reject": (
        evidence(REFUSED, target={"listeners": sockets(SSHD), "firewall": REJECT_IN}),
        [Cause.INBOUND_REJECT, Cause.NO_PROCESS],
    ),
    "everything at once, in the packet's order": (
        evidence(
            NEVER_LEFT,
            prediction=deny(Cause.SUBNET_NSG_INBOUND),
            source={"firewall": DROP_OUT},
            target={"firewall": DROP_IN, "listeners": sockets(SSHD)},
        ),
        [Cause.OUTBOUND_DROP, Cause.SUBNET_NSG_INBOUND, Cause.INBOUND_DROP, Cause.NO_PROCESS],
    ),
    "appliance that does not forward": (
        evidence(
            NEVER_ARRIVED,
            transits=(Transit("nva-01", arrived=True, left=False, forwards=False, firewall=NO_RULES),),
        ),
        [Cause.APPLIANCE_NOT_FORWARDING],
    ),
    "appliance whose firewall drops": (
        evidence(
            NEVER_ARRIVED,
            transits=(Transit("nva-01", arrived=True, left=False, forwards=True, firewall=DROP_THROUGH),),
        ),
        [Cause.FORWARD_DROP],
    ),
    "appliance that drops the answer": (
        evidence(
            replace(SILENT_AT_TARGET, accepted=True, answer_left=Answer.ACCEPT),
            transits=(
                Transit("nva-01", True, False, answer=True, forwards=True, firewall=DROP_THROUGH_ANSWERS),
            ),
        ),
        [Cause.FORWARD_DROP],
    ),
    "return route": (
        evidence(
            replace(SILENT_AT_TARGET, accepted=True, answer_left=Answer.ACCEPT),
            prediction=deny(Cause.ASYMMETRIC_RETURN, Way.RETURN),
        ),
        [Cause.ASYMMETRIC_RETURN],
    ),
}


@pytest.mark.parametrize(("known", "causes"), CASES.values(), ids=CASES.keys())
def test_causes_in_the_order_of_the_packets_way(known: FlowEvidence, causes: list[Cause]) -> None:
    diagnosis = judge(known)
    assert [finding.cause for finding in diagnosis.findings] == causes
    assert diagnosis.verdict is Verdict.FAULT
    assert diagnosis.cause is causes[0]
    assert not diagnosis
    for finding in diagnosis.findings:
        assert finding.evidence
        assert finding.fix


@pytest.mark.parametrize(
    "known",
    [
        evidence(CONNECTED),
        # the packets win over whatever the rules seem to say
        evidence(
            CONNECTED,
            prediction=deny(Cause.SUBNET_NSG_INBOUND),
            target={"firewall": DROP_IN, "listeners": sockets(SSHD)},
        ),
    ],
    ids=["healthy", "healthy although the configuration denies"],
)
def test_a_flow_that_works_has_no_finding(known: FlowEvidence) -> None:
    diagnosis = judge(known)
    assert (diagnosis.verdict, diagnosis.findings, bool(diagnosis)) == (Verdict.HEALTHY, (), True)


INCONCLUSIVE: dict[str, tuple[FlowEvidence, str]] = {
    "dead agent": (evidence(None, source={"problem": "web-01: the agent died"}), "the agent died"),
    "no snapshot": (evidence(NEVER_ARRIVED, prediction=None), "no snapshot"),
    "the snapshot allows, the packet vanishes": (evidence(NEVER_ARRIVED), "the snapshot is not today's"),
    "the snapshot denies, the packet arrives": (
        evidence(SILENT_AT_TARGET, prediction=deny(Cause.SUBNET_NSG_INBOUND)),
        "the snapshot is not today's",
    ),
    "neither capture nor rules": (
        evidence(BLIND_TIMEOUT, target={"firewall": UNREADABLE}, source={"firewall": UNREADABLE}),
        "needs root",
    ),
    "no route on the source": (evidence(replace(NEVER_LEFT, outcome=Outcome.NO_ROUTE)), "no route"),
    "the appliance cannot be asked": (
        evidence(NEVER_ARRIVED, transits=(Transit("nva-01", problem="nva-01: connection refused"),)),
        "nva-01: connection refused",
    ),
    "kept in the source for no known reason": (evidence(NEVER_LEFT), "neighbours"),
    "works at times": (
        evidence(
            replace(
                CONNECTED, outcome=Outcome.INTERMITTENT, detail="6 of 9 succeeded", attempts=9, successes=6
            )
        ),
        "6 of 9 succeeded",
    ),
    "answer lost": (
        evidence(replace(SILENT_AT_TARGET, accepted=True, answer_left=Answer.ACCEPT)),
        "way back",
    ),
}


@pytest.mark.parametrize(("known", "missing"), INCONCLUSIVE.values(), ids=INCONCLUSIVE.keys())
def test_what_cannot_be_told_is_said_to_be_missing(known: FlowEvidence, missing: str) -> None:
    diagnosis = judge(known)
    assert diagnosis.verdict is Verdict.INCONCLUSIVE
    assert missing in " ".join(diagnosis.missing)
    assert diagnosis.reachable is None
    with pytest.raises(InconclusiveError, match="inconclusive"):
        bool(diagnosis)


def test_the_connect_on_the_vm_itself_is_evidence_of_the_listener_step() -> None:
    tests = (LocalTest(ip_address("127.0.0.1"), Outcome.CONNECTED), LocalTest(DB, Outcome.REFUSED))
    known = evidence(
        REFUSED,
        target={"listeners": sockets(LOOPBACK)},
        local_tests=tests,
        stand_in=StandIn(Outcome.CONNECTED),
    )
    shown = [item.summary for item in judge(known).findings[0].evidence]
    assert "on db-01 itself, 127.0.0.1:1433/tcp: connected" in shown
    assert "on db-01 itself, 10.0.3.4:1433/tcp: refused" in shown
    assert "with a temporary listener on db-01:1433: connected (the network is fine)" in shown


maybe = st.none() | st.booleans()


@given(
    st.builds(
        Traffic,
        outcome=st.sampled_from(Outcome),
        detail=st.just(""),
        attempts=st.just(1),
        successes=st.just(0),
        left_source=maybe,
        arrived_target=maybe,
        accepted=maybe,
        answer_left=st.none() | st.sampled_from(Answer),
        answer_arrived=maybe,
    ),
    st.sampled_from([allow(), deny(Cause.SUBNET_NSG_INBOUND), None]),
    st.sampled_from([NO_RULES, DROP_IN, REJECT_IN, DROP_ANSWERS, UNREADABLE, DOUBTFUL, None]),
    st.sampled_from([sockets(), sockets(LISTENS), sockets(LOOPBACK), None]),
)
def test_whatever_is_seen_a_verdict_is_given_and_argued(
    traffic: Traffic,
    prediction: Explanation | None,
    firewall: Firewall | None,
    listeners: tuple[Listener, ...] | None,
) -> None:
    diagnosis = judge(
        evidence(traffic, prediction=prediction, target={"firewall": firewall, "listeners": listeners})
    )
    match diagnosis.verdict:
        case Verdict.HEALTHY:
            assert traffic.outcome.success
            assert not diagnosis.findings
        case Verdict.FAULT:
            assert not traffic.outcome.success
            assert diagnosis.cause is not None
        case Verdict.INCONCLUSIVE:
            assert diagnosis.missing


UDP_FLOW = replace(FLOW, protocol=Protocol.UDP, port=514)
SYSLOG = "udp UNCONN 0 0 0.0.0.0:514 0.0.0.0:*"
UNANSWERED = Traffic(
    Outcome.UNCONFIRMED,
    "",
    1,
    0,
    source_port=50000,
    left_source=True,
    arrived_target=True,
    answer_left=Answer.NONE,
)


def test_a_datagram_that_nobody_answers_is_neither_healthy_nor_blocked() -> None:
    allowed = evidence(UNANSWERED, target={"listeners": sockets(SYSLOG)})
    diagnosis = judge(replace(allowed, flow=UDP_FLOW))
    assert (diagnosis.verdict, diagnosis.findings) == (Verdict.INCONCLUSIVE, ())
    assert "nothing proves that it read it" in " ".join(diagnosis.missing)
    doubtful = evidence(UNANSWERED, target={"listeners": sockets(SYSLOG), "firewall": SOMETIMES_ACCEPTED})
    assert judge(replace(doubtful, flow=UDP_FLOW)).findings == ()
    dropped = evidence(
        UNANSWERED, target={"listeners": sockets(SYSLOG), "firewall": rules("-A INPUT -p udp -j DROP")}
    )
    assert judge(replace(dropped, flow=UDP_FLOW)).cause is Cause.INBOUND_DROP


SOMETIMES_ACCEPTED = rules("-A INPUT -p udp -m set --match-set admins src -j ACCEPT\n-A INPUT -j DROP")

LOST_BEFORE_THE_TARGET = [
    NEVER_ARRIVED,
    NEVER_LEFT,
    replace(NEVER_LEFT, outcome=Outcome.NO_ROUTE),
]


@pytest.mark.parametrize("traffic", LOST_BEFORE_THE_TARGET)
@pytest.mark.parametrize("firewall", [NO_RULES, DROP_IN, REJECT_IN, ALLOW_LIST, LIMIT])
@pytest.mark.parametrize("listening", [(), (LISTENS,), (LOOPBACK,), (ELSEWHERE,)])
@pytest.mark.parametrize("prediction", [None, allow()])
def test_what_never_arrived_is_not_the_targets_fault(
    traffic: Traffic, firewall: Firewall, listening: tuple[str, ...], prediction: Explanation | None
) -> None:
    """Its faults are told as well, as warnings: the cause lies before it, and is not known."""
    known = evidence(
        traffic, prediction=prediction, target={"firewall": firewall, "listeners": sockets(*listening)}
    )
    diagnosis = judge(known)
    assert (diagnosis.verdict, diagnosis.cause) == (Verdict.INCONCLUSIVE, None)
    assert diagnosis.missing


def test_a_loss_on_the_way_there_is_not_the_way_backs_fault() -> None:
    known = evidence(NEVER_ARRIVED, prediction=deny(Cause.ASYMMETRIC_RETURN, Way.RETURN))
    assert judge(known).cause is None


@pytest.mark.parametrize(
    ("state", "verdict"), [("T", Verdict.FAULT), ("t", Verdict.FAULT), ("S", Verdict.HEALTHY)]
)
def test_a_slow_process_is_no_stopped_one(state: str, verdict: Verdict) -> None:
    stalled = Stalled(read_listeners(LISTENS)[0], (f"sqlservr (pid 7): state {state}",))
    diagnosis = judge(evidence(CONNECTED, stalled=stalled))
    assert diagnosis.verdict is verdict
    assert [finding.cause for finding in diagnosis.findings] == [Cause.PROCESS_STOPPED]


def test_an_appliance_that_puts_its_own_address_in_is_not_one_that_does_not_forward() -> None:
    masquerading = Transit("nva-01", True, True, translated_to="10.10.0.4", forwards=True, firewall=NO_RULES)
    diagnosis = judge(evidence(NEVER_ARRIVED, transits=(masquerading,)))
    assert diagnosis.verdict is Verdict.INCONCLUSIVE
    assert "from another address, 10.10.0.4" in " ".join(diagnosis.missing)
