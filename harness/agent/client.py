"""An agent as Python sees it: one typed method per operation.

Works over anything that can carry a request (:class:`Requester`), so it is the same for every
transport and every operating system. Not for deciding what an answer means for a flow
(:mod:`harness.probe`).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from harness.agent import contract
from harness.agent.contract import (
    CaptureFilter,
    CaptureReport,
    CaptureResult,
    ControlResult,
    EchoResult,
    Hello,
    ListenerReport,
    ListenResult,
    ReadResult,
    RouteResult,
    RunResult,
    TcpResult,
    TcpResults,
    TcpTarget,
    UdpResult,
    UdpResults,
    UdpTarget,
)
from harness.agent.contract_path import PathMtuResult, RawResult
from harness.agent.contract_sweep import SweepAnswer, SweepGroup, SweepResult
from harness.agent.pending import MARGIN, Pending, Requester
from harness.errors import AgentError
from harness.model import Protocol as IpProtocol

Result = TypeVar("Result")
Many = TypeVar("Many", bound=Sequence[object])

__all__ = ["MARGIN", "Agent", "Pending", "Requester"]


class Agent:
    """The agent of one machine. Times are in seconds here; safe to use from several threads.

    Every method raises AgentError for an agent that is dead or out of protocol, and
    :class:`~harness.agent.contract.RequestError` (with its ``kind``) for a request refused.
    """

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        self._hello: Hello | None = None
        self._clock_ahead = 0.0

    @property
    def machine(self) -> str:
        return self._requester.machine

    def facts(self) -> Hello:
        """What :meth:`hello` said the first time; asked once per agent."""
        if self._hello is None:
            asked = time.monotonic()
            self._hello = self.hello()
            self._clock_ahead = self._hello.clock - (asked + time.monotonic()) / 2
        return self._hello

    def clock(self) -> float:
        """The machine's own clock now, as far as :meth:`facts` can tell: seconds since the epoch.

        Stamps of one machine are comparable with each other only, since clocks may be a day off.
        """
        self.facts()
        return time.monotonic() + self._clock_ahead

    def hello(self, tools: Sequence[str] | None = None) -> Hello:
        """Versions, user, capabilities, clock, and where the named tools are."""
        return self._call(Hello, "hello", tools=_list(tools))

    def tcp(
        self,
        targets: Sequence[TcpTarget],
        *,
        timeout: float = 2.0,
        parallel: int | None = None,
        hold: float = 0.0,
        abort: bool = False,
    ) -> tuple[TcpResult, ...]:
        """Connects to every target at once; results in the targets' order.

        ``hold`` keeps each connection open so long and reports a reset; ``abort`` ends
        connections by RST, which leaves no TIME-WAIT behind.
        """
        rounds = 1 if parallel is None else -(-len(targets) // parallel)
        found = self._call(
            TcpResults,
            "tcp",
            takes=(2 * timeout + hold) * max(rounds, 1 + len(targets) // 1000),
            targets=[_plain(target) for target in targets],
            timeout_ms=timeout * 1000,
            parallel=parallel,
            hold_ms=hold * 1000 or None,
            abort=abort or None,
        )
        return self._as_many(found.results, targets, "tcp")

    def sweep(
        self,
        groups: Sequence[SweepGroup],
        *,
        timeout: float = 2.0,
        retries: int = 0,
        parallel: int | None = None,
        rate: int | None = None,
        processes: int | None = None,
    ) -> SweepResult:
        """Connects to thousands of targets: a verdict each, few particulars, in a fraction of the time.

        Results are in the order of the groups' targets. Silent targets are tried ``retries`` times
        more; ``parallel`` bounds the connects under way, ``rate`` the connects begun a second.
        Connections are ended by RST.
        """
        return self.start_sweep(
            groups, timeout=timeout, retries=retries, parallel=parallel, rate=rate, processes=processes
        ).result()

    def start_sweep(
        self,
        groups: Sequence[SweepGroup],
        *,
        timeout: float = 2.0,
        retries: int = 0,
        parallel: int | None = None,
        rate: int | None = None,
        processes: int | None = None,
    ) -> Pending[SweepResult]:
        """As :meth:`sweep`, without waiting: other machines can be asked meanwhile."""
        count = sum(map(len, groups))
        rounds = -(-count // parallel) if parallel else 1 + count // 1000
        takes = timeout * (1 + retries) * rounds + (count * (1 + retries) / rate if rate else 0.0)
        future = self._requester.submit(
            "sweep",
            **_given(
                groups=[{"addresses": list(one.addresses), "ports": list(one.ports)} for one in groups],
                timeout_ms=timeout * 1000,
                retries=retries or None,
                parallel=parallel,
                rate=rate,
                processes=processes,
            ),
        )

        def finish(data: dict[str, Any]) -> SweepResult:
            answer = contract.parse(SweepAnswer, data, machine=self.machine, op="sweep")
            self._as_many(answer.outcomes, range(count), "sweep")
            try:
                return SweepResult.of(answer)
            except ValueError as error:
                raise AgentError(
                    self.machine, f"the agent's answer to 'sweep' does not fit the contract: {error}"
                ) from None

        return Pending(self.machine, future, takes + MARGIN, finish)

    def udp(
        self, targets: Sequence[UdpTarget], *, timeout: float = 2.0, parallel: int | None = None
    ) -> tuple[UdpResult, ...]:
        """Sends every target its datagram and waits for an answer or an ICMP error."""
        return self.start_udp(targets, timeout=timeout, parallel=parallel).result()

    def start_udp(
        self, targets: Sequence[UdpTarget], *, timeout: float = 2.0, parallel: int | None = None
    ) -> Pending[tuple[UdpResult, ...]]:
        """As :meth:`udp`, without waiting: other machines can be asked meanwhile."""
        takes = timeout * (1 + len(targets) // (parallel or 1000))
        future = self._requester.submit(
            "udp",
            **_given(
                targets=[_plain(target) for target in targets], timeout_ms=timeout * 1000, parallel=parallel
            ),
        )

        def finish(data: dict[str, Any]) -> tuple[UdpResult, ...]:
            found = contract.parse(UdpResults, data, machine=self.machine, op="udp")
            return self._as_many(found.results, targets, "udp")

        return Pending(self.machine, future, takes + MARGIN, finish)

    def icmp(
        self,
        address: str,
        *,
        count: int = 1,
        timeout: float = 2.0,
        interval: float = 0.0,
        size: int = 56,
        source: str | None = None,
        methods: Sequence[str] | None = None,
    ) -> EchoResult:
        """Echo requests, one after the other, each waited for at most ``timeout``."""
        return self._call(
            EchoResult,
            "icmp",
            takes=count * (max(timeout, 1.0) + interval + 3.0),
            address=address,
            count=count,
            timeout_ms=timeout * 1000,
            interval_ms=interval * 1000 or None,
            size=size,
            source=source,
            methods=_list(methods),
        )

    def path_mtu(
        self,
        address: str,
        *,
        port: int | None = None,
        timeout: float = 1.0,
        source: str | None = None,
        methods: Sequence[str] | None = None,
        largest: int | None = None,
    ) -> PathMtuResult:
        """Finds the path MTU by echo, or by datagrams to ``port``; ``timeout`` is one packet's.

        ``methods``: some of ``icmp`` and ``udp``, tried in that order (default: both).
        """
        return self._call(
            PathMtuResult,
            "path_mtu",
            takes=40 * timeout,
            address=address,
            port=port,
            timeout_ms=timeout * 1000,
            source=source,
            methods=_list(methods),
            max=largest,
        )

    def route(self, address: str, *, source: str | None = None) -> RouteResult:
        """Interface, gateway and source address that the guest uses towards ``address``."""
        return self._call(RouteResult, "route", address=address, source=source)

    def listen(
        self, protocol: IpProtocol, *, address: str | None = None, port: int = 0, lease: float = 30.0
    ) -> ListenResult:
        """Opens a listener that closes itself after ``lease``; port 0: the machine chooses."""
        return self._call(
            ListenResult, "listen", protocol=protocol.value, address=address, port=port, lease_ms=lease * 1000
        )

    def listener_report(self, handle: int, *, wait: float = 0.0, nonce: str | None = None) -> ListenerReport:
        """Who came so far; waits at most ``wait`` for the nonce (or, without one, for anybody)."""
        return self._call(
            ListenerReport, "listener_report", takes=wait, handle=handle, wait_ms=wait * 1000, nonce=nonce
        )

    def close(self, handle: int) -> ListenerReport:
        """Closes a listener and returns its last report."""
        return self._call(ListenerReport, "close", handle=handle)

    def capture(
        self,
        wanted: CaptureFilter,
        *,
        interface: str | None = None,
        loopback: bool = False,
        limit: int = 1000,
        lease: float = 600.0,
    ) -> CaptureResult:
        """Starts a capture (kind ``permission`` without CAP_NET_RAW). None: every interface but lo."""
        return self._call(
            CaptureResult,
            "capture",
            filter=_plain(wanted),
            interface=interface,
            loopback=loopback or None,
            limit=limit,
            lease_ms=lease * 1000,
        )

    def capture_control(
        self,
        handle: int,
        *,
        address: str | None = None,
        interface: str | None = None,
        family: int = 4,
        timeout: float = 1.0,
    ) -> ControlResult:
        """Positive control of a capture: asks ``address`` (default: the gateway) by ARP or ND."""
        return self._call(
            ControlResult,
            "capture_control",
            takes=timeout,
            handle=handle,
            address=address,
            interface=interface,
            family=family,
            timeout_ms=timeout * 1000,
        )

    def capture_read(
        self, handle: int, *, wait: float = 0.0, count: int = 0, nonce: bool = False
    ) -> CaptureReport:
        """The records so far; waits at most ``wait`` for ``count`` of them or for the nonce inbound.

        Everything that reached the interface before the request did is in it.
        """
        return self._call(
            CaptureReport,
            "capture_read",
            takes=wait,
            handle=handle,
            wait_ms=wait * 1000 or None,
            count=count or None,
            nonce=nonce or None,
        )

    def capture_stop(self, handle: int) -> CaptureReport:
        return self._call(CaptureReport, "capture_stop", handle=handle)

    def raw(
        self,
        packets: Sequence[bytes],
        wanted: CaptureFilter,
        *,
        window: float = 1.0,
        interval: float = 0.0,
        count: int = 0,
    ) -> RawResult:
        """Sends crafted IP packets and returns what came in that ``wanted`` matches.

        It ends ``window`` after the last packet, or earlier with ``count`` answers; kind
        ``permission`` without CAP_NET_RAW.
        """
        return self._call(
            RawResult,
            "raw",
            takes=window + interval * len(packets),
            packets=[base64.b64encode(packet).decode("ascii") for packet in packets],
            filter=_plain(wanted),
            window_ms=window * 1000,
            interval_ms=interval * 1000 or None,
            count=count or None,
        )

    def run(
        self,
        *argv: str,
        timeout: float = 10.0,
        max_output: int = 1 << 20,
        stdin: str | None = None,
    ) -> RunResult:
        """Runs a command without a shell, in the C.UTF-8 locale; kind ``not-found`` where it is missing."""
        return self._call(
            RunResult,
            "run",
            takes=timeout,
            argv=list(argv),
            timeout_ms=timeout * 1000,
            max_output=max_output,
            stdin=stdin,
        )

    def read(self, path: str, *, max_bytes: int = 1 << 20) -> ReadResult:
        """The text of a file on the machine."""
        return self._call(ReadResult, "read", path=path, max_bytes=max_bytes)

    def quit(self) -> None:
        """Ends the agent; what it opened is closed with it."""
        self._call(contract.Nothing, "quit")

    def _call(self, kind: type[Result], op: str, *, takes: float = 0.0, **params: Any) -> Result:
        data = self._requester.request(op, timeout=takes + MARGIN, **_given(**params))
        return contract.parse(kind, data, machine=self.machine, op=op)

    def _as_many(self, results: Many, targets: Sequence[object], op: str) -> Many:
        if len(results) != len(targets):
            raise AgentError(
                self.machine,
                f"the agent's answer to '{op}' has {len(results)} results for {len(targets)} targets",
            )
        return results


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _plain(thing: TcpTarget | UdpTarget | CaptureFilter) -> dict[str, Any]:
    """A request's dataclass as JSON can carry it."""
    row: dict[str, Any] = {}
    for item in fields(thing):
        value = getattr(thing, item.name)
        if value is not None:
            row[item.name] = value.hex() if isinstance(value, bytes) else value
    return row
