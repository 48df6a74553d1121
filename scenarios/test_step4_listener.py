"""Step 4: nothing listens.

Microsoft documents: ``netstat`` on the target, and ``telnet`` on the VM itself. The step reads
the target's sockets and makes the connect on the VM itself, to loopback and to its own
address, which is required evidence; where disruption is allowed, a temporary listener proves
that the network is fine. It needs no root, except for the names of processes.
"""

from collections.abc import Callable
from typing import Any

from harness.model import Cause, Step
from scenarios.rows import Scenario

STEP = Step.LISTENER

_UDP = "db-01:53/udp"
_V6: dict[str, Any] = {"topology": "dual-stack", "family": 6}

SCENARIOS = (
    Scenario("no-process", Cause.NO_PROCESS),
    Scenario("loopback-only", Cause.LOOPBACK_ONLY),
    Scenario("other-port", Cause.OTHER_PORT),
    Scenario("other-address", Cause.OTHER_ADDRESS),
    Scenario("backlog-full", Cause.BACKLOG_FULL),
    Scenario("process-stopped", Cause.PROCESS_STOPPED),
    Scenario("no-process", Cause.NO_PROCESS, target=_UDP, name="no-process-udp"),
    Scenario("loopback-only", Cause.LOOPBACK_ONLY, target=_UDP, name="loopback-only-udp"),
    Scenario("other-family", Cause.ADDRESS_FAMILY, **_V6, name="ipv4-only-asked-by-ipv6"),
    Scenario("no-process", Cause.NO_PROCESS, **_V6, name="no-process-ipv6"),
    Scenario("loopback-only", Cause.LOOPBACK_ONLY, **_V6, name="loopback-only-ipv6"),
    Scenario("backlog-full", Cause.BACKLOG_FULL, **_V6, name="backlog-full-ipv6"),
)


def test_listener(case: Any, check: Callable[[Any], None]) -> None:
    check(case)
