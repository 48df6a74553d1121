"""``reach`` and ``blocked`` as truth values."""

from __future__ import annotations

import pytest

from harness.assertions import Judgement, check_step_or_cause, flow_between, is_blocked_by
from harness.errors import InconclusiveError, InputError
from harness.model import Cause, Diagnosis, Finding, Flow, Outcome, Protocol, Verdict

FLOW = Flow("web-01", "db-01", Protocol.TCP, 1433)


def diagnosis(cause: Cause | None, verdict: Verdict) -> Diagnosis:
    findings = (Finding(cause, "why", (), ("do this",)),) if cause is not None else ()
    return Diagnosis(FLOW, verdict, Outcome.TIMEOUT, 1, 0, findings, missing=("root on db-01",))


FAULT = diagnosis(Cause.SUBNET_NSG_INBOUND, Verdict.FAULT)
ABSENT = diagnosis(Cause.NO_PROCESS, Verdict.FAULT)
UNKNOWN = diagnosis(None, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("found", "by", "expected"),
    [
        (FAULT, "nsg-udr", True),
        (FAULT, "nsg-udr/subnet-nsg-inbound", True),
        (FAULT, "guest-firewall", False),
        (FAULT, None, True),
        (ABSENT, None, False),  # a missing listener is an absence, not a block
        (ABSENT, "listener", True),
        (diagnosis(None, Verdict.HEALTHY), "nsg-udr", False),
        (UNKNOWN, "nsg-udr", False),
    ],
)
def test_blocked_by(found: Diagnosis, by: str | None, expected: bool) -> None:
    assert is_blocked_by(found, by) is expected


def test_a_judgement_that_does_not_hold_tells_who_asked() -> None:
    told: list[Judgement] = []
    judgement = Judgement("reach it", FAULT, False, told.append)
    assert not judgement
    assert told == [judgement]
    assert "nsg-udr/subnet-nsg-inbound" in judgement.message
    assert "do this" in judgement.message


@pytest.mark.parametrize("holds", [True, False])
def test_what_cannot_tell_is_no_truth_value(holds: bool) -> None:
    judgement = Judgement("blocked it", UNKNOWN, holds, lambda _: None)
    with pytest.raises(InconclusiveError, match="root on db-01"):
        bool(judgement)


@pytest.mark.parametrize(
    "what", [{}, {"tcp": 1, "udp": 1}, {"tcp": 0}, {"tcp": 65536}, {"tcp": True}, {"udp": "53"}]
)
def test_what_is_no_flow_is_refused(what: dict[str, object]) -> None:
    with pytest.raises(InputError, match="a -> b"):
        flow_between("a", "b", **what)  # type: ignore[arg-type]


def test_a_misspelt_step_is_refused() -> None:
    with pytest.raises(InputError, match="azreach causes"):
        check_step_or_cause("nsg")
