"""The resident agent of a Linux VM: no dependencies, any python3 from 3.6 on.

The parts of this package are joined into one text by ``harness.agent.bootstrap``, sent over
the log-in, and executed there; nothing is written on the VM. Requests are then served on the
same stream, one JSON document per line, any number in flight, answers in any order:
``{"id": 1, "op": "tcp", ...}`` -> ``{"id": 1, "ok": true, "result": {...}}`` or
``{"id": 1, "ok": false, "error": {"type": "...", "message": "..."}}``. The agent ends when its
input closes, or says nothing for a quarter of an hour, and everything it opened ends with it.

On the VM all parts are one module: a top-level name belongs to one part only, and imports between
parts (always ``from harness.agent.linux.PART import NAME``, never ``as``) are left out.
Annotations that 3.6 cannot evaluate stand in quotes. What each request and answer means is
``harness.agent.contract``'s business; the agent does it, on its one machine, and judges nothing.
The controller imports the parts in tests only.
"""

PARTS = (
    "words",
    "reactor",
    "request",
    "neterror",
    "batch",
    "tcp",
    "udp",
    "sweep",
    "route",
    "hello",
    "command",
    "ping",
    "path_mtu",
    "listener",
    "filter",
    "decode",
    "capture",
    "control",
    "raw",
    "agent",
)
"""A part imports only from those before it."""

AT_START = ("words", "reactor", "request", "agent")
"""What every session needs. The others are sent along as text, and compiled when first asked for."""
