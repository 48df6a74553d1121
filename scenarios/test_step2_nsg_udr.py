"""Step 2: a network security group or a user-defined route blocks.

Microsoft documents: IP flow verify, the effective security rules of both levels, the
effective routes. The step names the deciding rule or route from the configuration and shows
with packets at both ends that it is true: the SYN leaves the source and never arrives.
It cannot name a rule without a snapshot of the network. An appliance in the path is watched too.
"""

from collections.abc import Callable
from typing import Any

from harness.model import Cause, Step
from scenarios.rows import Scenario

STEP = Step.NSG_UDR

_UDP, _ICMP = "db-01:53/udp", "db-01/icmp"
_HUB: dict[str, Any] = {"source": "app-01", "topology": "hub-spoke"}
_V6: dict[str, Any] = {"topology": "dual-stack", "family": 6}

SCENARIOS = (
    Scenario("nic-nsg-inbound", Cause.NIC_NSG_INBOUND),
    Scenario("subnet-nsg-inbound", Cause.SUBNET_NSG_INBOUND),
    Scenario("nic-nsg-outbound", Cause.NIC_NSG_OUTBOUND),
    Scenario("subnet-nsg-outbound", Cause.SUBNET_NSG_OUTBOUND),
    Scenario("source-not-in-asg", Cause.ASG_MEMBERSHIP, target="app-01:8080/tcp"),
    Scenario("route-to-none", Cause.ROUTE_TO_NONE),
    Scenario("appliance-gone", Cause.APPLIANCE_UNREACHABLE, **_HUB),
    Scenario("appliance-without-ip-forwarding", Cause.APPLIANCE_NOT_FORWARDING, **_HUB),
    Scenario("appliance-guest-not-forwarding", Cause.APPLIANCE_NOT_FORWARDING, **_HUB),
    Scenario("appliance-nsg", Cause.APPLIANCE_NSG, **_HUB),
    Scenario("asymmetric-return", Cause.ASYMMETRIC_RETURN, "jump-01", "app-01:8080/tcp", "hub-spoke"),
    Scenario("subnet-nsg-inbound", Cause.SUBNET_NSG_INBOUND, target=_UDP, name="subnet-nsg-inbound-udp"),
    Scenario("nic-nsg-inbound", Cause.NIC_NSG_INBOUND, target=_ICMP, name="nic-nsg-inbound-icmp"),
    Scenario("nic-nsg-inbound", Cause.NIC_NSG_INBOUND, **_V6, name="nic-nsg-inbound-ipv6"),
    Scenario("subnet-nsg-outbound", Cause.SUBNET_NSG_OUTBOUND, **_V6, name="subnet-nsg-outbound-ipv6"),
    Scenario("route-to-none", Cause.ROUTE_TO_NONE, **_V6, name="route-to-none-ipv6"),
)


def test_nsg_udr(case: Any, check: Callable[[Any], None]) -> None:
    check(case)
