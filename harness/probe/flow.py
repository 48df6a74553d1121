"""One probe of a flow, whatever its protocol. Not for evidence from both ends (``observe.py``)."""

from __future__ import annotations

from harness.agent.client import Agent
from harness.model import Flow, Protocol
from harness.probe.icmp import probe_icmp
from harness.probe.result import ProbeResult
from harness.probe.tcp import probe_tcp
from harness.probe.udp import probe_udp


def probe_flow(
    flow: Flow, source: Agent, target: Agent | None, address: str, *, timeout: float, allow_disruptive: bool
) -> ProbeResult:
    """One attempt from ``source`` to ``address``; ``target``, if any, proves a datagram's delivery."""
    if flow.protocol is Protocol.ICMP:
        return probe_icmp(source, address, timeout=timeout)
    if flow.port is None:
        raise ValueError(f"{flow.protocol} needs a port")
    if flow.protocol is Protocol.TCP:
        return probe_tcp(source, address, flow.port, timeout=timeout)
    return probe_udp(
        source, address, flow.port, target=target, timeout=timeout, allow_disruptive=allow_disruptive
    )
