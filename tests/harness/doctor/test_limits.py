"""What steps will not be able to tell, from what is known of a machine."""

from __future__ import annotations

import pytest

from harness.doctor.examine import Facts
from harness.doctor.limits import limits_of
from harness.errors import AgentError, TransportError
from harness.model import Step
from tests.harness.doctor.machines import facts, hello, user

NSG, VNET, FIREWALL, LISTENER = Step.NSG_UDR, Step.INTER_VNET, Step.GUEST_FIREWALL, Step.LISTENER
CASES: dict[str, tuple[Facts, bool | None, bool, list[Step]]] = {
    "all is well": (facts(), True, True, []),
    "all is well, live": (facts(), True, False, []),
    "no snapshot": (facts(), None, True, [NSG, VNET]),
    "not in the snapshot": (facts(), False, True, [NSG, VNET]),
    "not root": (user(), True, True, [NSG, FIREWALL, FIREWALL, LISTENER]),
    "not root, live": (user(), True, False, [NSG, FIREWALL, FIREWALL, LISTENER, LISTENER]),
    "no ss": (facts(hello=hello(without=("ss",))), True, True, [LISTENER]),
    "no filter": (facts(hello=hello(without=("nft", "iptables-save"))), True, True, [FIREWALL]),
    "no nft": (facts(hello=hello(without=("nft",))), True, True, [FIREWALL]),
    "no iptables": (facts(hello=hello(without=("iptables-save",))), True, True, [FIREWALL]),
}


@pytest.mark.parametrize(("known", "snapshot", "disruptive", "steps"), CASES.values(), ids=CASES.keys())
def test_limits(known: Facts, snapshot: bool | None, disruptive: bool, steps: list[Step]) -> None:
    found = limits_of(known, in_snapshot=snapshot, allow_disruptive=disruptive)
    assert [limit.step for limit in found] == steps
    assert all(limit.cannot and limit.why for limit in found)


@pytest.mark.parametrize(
    "known", [Facts(failure=TransportError("m", "gone")), facts(died=AgentError("m", "died")), Facts()]
)
def test_a_machine_that_cannot_be_used_tells_nothing(known: Facts) -> None:
    (limit,) = limits_of(known, in_snapshot=True, allow_disruptive=True)
    assert limit.step is None
