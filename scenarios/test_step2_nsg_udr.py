"""Step 2: a network security group or a user-defined route blocks.

Microsoft documents: IP flow verify, the effective security rules of both levels, the
effective routes. The step names the deciding rule or route from the configuration and shows
with packets at both ends that it is true: the SYN leaves the source and never arrives.
It cannot name a rule without a snapshot of the network.
"""

from collections.abc import Callable
from typing import Any

from harness.model import Cause, Step
from harness.scenario import Scenario

STEP = Step.NSG_UDR

SCENARIOS = (
    Scenario("subnet-nsg-inbound", Cause.SUBNET_NSG_INBOUND),
    Scenario("nic-nsg-inbound", Cause.NIC_NSG_INBOUND),
    Scenario("nic-nsg-outbound", Cause.NIC_NSG_OUTBOUND),
    Scenario("subnet-nsg-outbound", Cause.SUBNET_NSG_OUTBOUND),
    Scenario("route-to-none", Cause.ROUTE_TO_NONE),
    Scenario(
        "subnet-nsg-inbound", Cause.SUBNET_NSG_INBOUND, target="db-01:53/udp", name="subnet-nsg-inbound-udp"
    ),
    Scenario("nic-nsg-inbound", Cause.NIC_NSG_INBOUND, target="db-01/icmp", name="nic-nsg-inbound-icmp"),
)


def test_nsg_udr(case: Any, check: Callable[[Any], None]) -> None:
    check(case)
