"""What a traceroute and a path MTU look like: lines for people, documents for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from harness.model import Flow
from harness.probe.path_mtu import PathMtu
from harness.probe.traceroute import Trace
from harness.report.documents import FlowDocument, flow_document


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HopDocument(_Document):
    """One TTL; ``machine`` is the environment's name of ``address``. ``outcome``: only at the path's end."""

    ttl: int
    address: str | None
    machine: str | None
    rtt_ms: float | None
    outcome: str | None
    detail: str


class TraceDocument(_Document):
    """``azreach traceroute --json``."""

    flow: FlowDocument
    source_address: str
    target_address: str
    outcome: str
    hops: list[HopDocument]


class MtuReportDocument(_Document):
    """Who said that a packet was too big; ``address`` null: the source itself."""

    address: str | None
    mtu: int


class PathMtuDocument(_Document):
    """``azreach probe --path-mtu --json``. Sizes are those of IP packets."""

    flow: FlowDocument
    target_address: str
    verdict: str
    mtu: int | None
    method: str
    interface: str
    interface_mtu: int
    kernel_mtu: int | None
    said: list[MtuReportDocument]
    probes: int


def trace_lines(flow: Flow, trace: Trace, names: Mapping[str, str]) -> Iterator[str]:
    """A headline, and a line per TTL."""
    yield f"{flow} ({trace.source_address} -> {trace.address}): {trace.outcome}"
    for hop in trace.hops:
        if hop.address is None:
            yield f"{hop.ttl:>3}  *"
            continue
        name = f"{names[hop.address]} ({hop.address})" if hop.address in names else hop.address
        times = f"  {hop.rtt_ms:.2f} ms" if hop.rtt_ms is not None else ""
        said = f"  {hop.outcome} ({hop.detail})" if hop.outcome is not None else ""
        yield f"{hop.ttl:>3}  {name}{times}{said}"
    if not trace.hops or trace.hops[-1].outcome is None:
        yield "     nobody answered from here on"


def trace_document(flow: Flow, trace: Trace, names: Mapping[str, str]) -> TraceDocument:
    return TraceDocument(
        flow=flow_document(flow),
        source_address=trace.source_address,
        target_address=trace.address,
        outcome=trace.outcome.value,
        hops=[
            HopDocument(
                ttl=hop.ttl,
                address=hop.address,
                machine=names.get(hop.address) if hop.address is not None else None,
                rtt_ms=hop.rtt_ms,
                outcome=hop.outcome.value if hop.outcome is not None else None,
                detail=hop.detail,
            )
            for hop in trace.hops
        ],
    )


def path_mtu_document(flow: Flow, found: PathMtu) -> PathMtuDocument:
    return PathMtuDocument(
        flow=flow_document(flow),
        target_address=found.address,
        verdict=found.verdict.value,
        mtu=found.mtu,
        method=found.method,
        interface=found.interface,
        interface_mtu=found.interface_mtu,
        kernel_mtu=found.kernel_mtu,
        said=[MtuReportDocument(address=one.sender, mtu=one.mtu) for one in found.said],
        probes=found.probes,
    )
