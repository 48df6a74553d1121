"""Step 4: nothing listens.

Microsoft documents: ``netstat`` on the target, and ``telnet`` on the VM itself. The step reads
the target's sockets and makes the connect on the VM itself, to loopback and to its own
address, which is required evidence; where disruption is allowed, a temporary listener proves
that the network is fine. It needs no root, except for the names of processes.
"""

from collections.abc import Callable
from typing import Any

from harness.model import Cause, Step
from harness.scenario import Scenario

STEP = Step.LISTENER

SCENARIOS = (
    Scenario("no-process", Cause.NO_PROCESS),
    Scenario("loopback-only", Cause.LOOPBACK_ONLY),
    Scenario("other-port", Cause.OTHER_PORT),
    Scenario("no-process", Cause.NO_PROCESS, target="db-01:53/udp", name="no-process-udp"),
)


def test_listener(case: Any, check: Callable[[Any], None]) -> None:
    check(case)
