"""Step 3: a VM's own firewall blocks.

Microsoft documents: disable the firewall, test, enable it again. The step proves it without
disabling anything: captures at both ends show that the packet arrives and what leaves in
answer, the socket table shows whether the stack took it, the rules name the guilty one.
Without root on the target there is neither capture nor rule, and the answer is inconclusive.
"""

from collections.abc import Callable
from typing import Any

from harness.model import Cause, Step
from scenarios.rows import Scenario

STEP = Step.GUEST_FIREWALL

_UDP, _ICMP = "db-01:53/udp", "db-01/icmp"
_HUB: dict[str, Any] = {"source": "app-01", "topology": "hub-spoke"}
_V6: dict[str, Any] = {"topology": "dual-stack", "family": 6}

SCENARIOS = (
    Scenario("inbound-drop-nftables", Cause.INBOUND_DROP),
    Scenario("inbound-drop-iptables", Cause.INBOUND_DROP),
    Scenario("inbound-reject-nftables", Cause.INBOUND_REJECT),
    Scenario("inbound-reject-iptables", Cause.INBOUND_REJECT),
    Scenario("inbound-prohibit-nftables", Cause.INBOUND_REJECT),
    Scenario("inbound-prohibit-iptables", Cause.INBOUND_REJECT),
    Scenario("outbound-drop-nftables", Cause.OUTBOUND_DROP),
    Scenario("outbound-drop-iptables", Cause.OUTBOUND_DROP),
    Scenario("answers-dropped-nftables", Cause.ANSWERS_DROPPED),
    Scenario("answers-dropped-iptables", Cause.ANSWERS_DROPPED),
    Scenario("allow-list-nftables", Cause.ALLOW_LIST),
    Scenario("allow-list-iptables", Cause.ALLOW_LIST),
    Scenario("connection-limit-nftables", Cause.CONNECTION_LIMIT),
    Scenario("connection-limit-iptables", Cause.CONNECTION_LIMIT),
    Scenario("prerouting-drop-nftables", Cause.INBOUND_DROP),
    Scenario("raw-drop-iptables", Cause.INBOUND_DROP),
    Scenario("forward-drop-nftables", Cause.FORWARD_DROP, **_HUB),
    Scenario("forward-drop-iptables", Cause.FORWARD_DROP, **_HUB),
    Scenario("inbound-drop-nftables", Cause.INBOUND_DROP, **_HUB, name="inbound-drop-behind-appliance"),
    Scenario("inbound-drop-nftables", Cause.INBOUND_DROP, target=_UDP, name="inbound-drop-nftables-udp"),
    Scenario("inbound-drop-iptables", Cause.INBOUND_DROP, target=_UDP, name="inbound-drop-iptables-udp"),
    Scenario("inbound-drop-nftables", Cause.INBOUND_DROP, target=_ICMP, name="inbound-drop-nftables-icmp"),
    Scenario("inbound-drop-nftables", Cause.INBOUND_DROP, **_V6, name="inbound-drop-nftables-ipv6"),
    Scenario("inbound-reject-iptables", Cause.INBOUND_REJECT, **_V6, name="inbound-reject-iptables-ipv6"),
    Scenario("inbound-prohibit-nftables", Cause.INBOUND_REJECT, **_V6, name="inbound-prohibit-nftables-ipv6"),
    Scenario("outbound-drop-iptables", Cause.OUTBOUND_DROP, **_V6, name="outbound-drop-iptables-ipv6"),
    Scenario("answers-dropped-nftables", Cause.ANSWERS_DROPPED, **_V6, name="answers-dropped-nftables-ipv6"),
)


def test_guest_firewall(case: Any, check: Callable[[Any], None]) -> None:
    check(case)
