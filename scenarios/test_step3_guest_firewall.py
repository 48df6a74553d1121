"""Step 3: a VM's own firewall blocks.

Microsoft documents: disable the firewall, test, enable it again. The step proves it without
disabling anything: captures at both ends show that the packet arrives and what leaves in
answer, the socket table shows whether the stack took it, the rules name the guilty one.
Without root on the target there is neither capture nor rule, and the answer is inconclusive.
"""

from collections.abc import Callable
from typing import Any

from harness.model import Cause, Step
from harness.scenario import Scenario

STEP = Step.GUEST_FIREWALL

SCENARIOS = (
    Scenario("inbound-drop-nftables", Cause.INBOUND_DROP),
    Scenario("inbound-reject-iptables", Cause.INBOUND_REJECT),
    Scenario("answers-dropped-nftables", Cause.ANSWERS_DROPPED),
    Scenario("outbound-drop-nftables", Cause.OUTBOUND_DROP),
    Scenario("inbound-drop-nftables", Cause.INBOUND_DROP, target="db-01:53/udp", name="inbound-drop-udp"),
    Scenario("inbound-drop-nftables", Cause.INBOUND_DROP, target="db-01/icmp", name="inbound-drop-icmp"),
    Scenario(
        "inbound-drop-nftables",
        Cause.INBOUND_DROP,
        "app-01",
        topology="hub-spoke",
        name="inbound-drop-behind-appliance",
    ),
)


def test_guest_firewall(case: Any, check: Callable[[Any], None]) -> None:
    check(case)
