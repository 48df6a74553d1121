"""Collects the evidence of one flow, once: the probe watched from both ends, then what explains a failure.

A flow that works costs one probe. One that fails is looked at from both guests at the same
time: sockets, rules, the connect on the VM itself, and, where disruption is allowed and the
port is free, the same probe against a listener of ours. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address
from typing import TypeVar

from harness.agent.client import Agent
from harness.agent.contract import RequestError
from harness.diagnosis import transits
from harness.diagnosis.azure_view import AzureView
from harness.diagnosis.ends import Ends, Party
from harness.diagnosis.evidence import End, FlowEvidence, LocalTest, StandIn, Traffic
from harness.diagnosis.traffic import repeated, sent_from, traffic_of
from harness.diagnosis.transits import appliances_of
from harness.environment import Environment
from harness.errors import AgentError
from harness.guest.addresses import IP_COMMAND, read_addresses
from harness.guest.firewall import Firewall, read_firewall
from harness.guest.listeners import SS_COMMAND, Listener, read_listeners
from harness.guest.queue import Stalled, stalled_listener
from harness.model import Flow, Protocol
from harness.network.model import IPAddress
from harness.probe.flow import probe_flow
from harness.probe.listener import Lease
from harness.probe.local import connect_locally
from harness.probe.observe import observe
from harness.probe.repeat import Schedule, repeat
from harness.probe.result import Proof
from harness.probe.tcp import probe_tcp
from harness.probe.udp import probe_udp
from harness.transport.session import Sessions

Fact = TypeVar("Fact")


class Collector:
    """Collects for the flows of one environment. May be used from several threads."""

    def __init__(
        self,
        environment: Environment,
        sessions: Sessions,
        azure: AzureView,
        *,
        allow_disruptive: bool,
        timeout: float,
        progress: Callable[[str], None],
        schedule: Schedule | None = None,
    ) -> None:
        self._environment = environment
        self._sessions = sessions
        self._azure = azure
        self._ends = Ends(environment, sessions, azure)
        self._allow_disruptive = allow_disruptive
        self._timeout = timeout
        self._progress = progress
        self._schedule = schedule

    def collect(self, flow: Flow) -> FlowEvidence:
        """Everything that the steps need to know of ``flow``.

        Raises what :meth:`Ends.reach` does, AgentError where the source's agent fails, InputError
        for an end without a known address, SnapshotError for an unusable snapshot.
        """
        self._progress("connecting")
        source, target = self._ends.reach(flow)
        target_address = self._ends.address(target, flow.family)
        known_source = Party(flow.source, flow.source, source)
        source_address = self._ends.address(known_source, target_address.version)
        prediction, problem = self._azure.predict(flow, source_address, target_address)
        self._progress("probing")
        observation = observe(
            source,
            target.agent,
            protocol=flow.protocol,
            address=str(target_address),
            port=flow.port,
            timeout=self._timeout,
            # an appliance may put its own address in the place of the source's
            translated=prediction is not None and bool(appliances_of(prediction)),
        )
        traffic = traffic_of(observation)
        if self._schedule is not None and traffic.outcome.success:
            traffic = self._again(flow, source, target.agent, str(target_address), traffic, self._schedule)
        evidence = FlowEvidence(
            flow=flow,
            source=End(flow.source, sent_from(observation) or source_address, flow.source),
            target=End(flow.target, target_address, target.machine, problem=target.problem),
            traffic=traffic,
            prediction=prediction,
            prediction_problem=problem,
            accounted=self._accounted(target.machine),
        )
        if evidence.success:
            return replace(evidence, stalled=_ask(_nothing, _stalled, target.agent, evidence))
        self._progress("collecting evidence from both ends")
        evidence = self._explain(evidence, source, target.agent)
        evidence = replace(evidence, target=replace(evidence.target, problem=self._ends.problem_now(target)))
        network = self._azure.network()
        if network is not None and transits.wanted(evidence):
            self._progress("looking at the appliances in the path")
            passed = transits.look(evidence, network, self._environment, self._sessions, source)
            evidence = replace(evidence, transits=passed)
        return evidence

    def _again(
        self,
        flow: Flow,
        source: Agent,
        target: Agent | None,
        address: str,
        first: Traffic,
        schedule: Schedule,
    ) -> Traffic:
        """The flow probed again and again after a first success; the first attempt counts as one of them."""
        if schedule.count == 1:
            return first
        rest = replace(schedule, count=schedule.count - 1 if schedule.count is not None else None)
        result = repeat(
            lambda: probe_flow(
                flow, source, target, address, timeout=self._timeout, allow_disruptive=self._allow_disruptive
            ),
            rest,
            heard=lambda attempt, number: self._progress(
                f"{number + 1} attempts, the last {attempt.outcome}"
            ),
        )
        return repeated(first, result)

    def _accounted(self, machine: str | None) -> frozenset[tuple[Protocol, int]]:
        """What the target is meant to serve: its declared services and the flows that are declared to it."""
        if machine is None:
            return frozenset()
        services = self._environment.machines[machine].services
        declared = {(service.protocol, service.port) for service in services}
        for rule in self._environment.flows:
            if rule.port is not None and machine in self._environment.matching(rule.target):
                declared.add((rule.protocol, rule.port))
        return frozenset(declared)

    # what explains a failure

    def _explain(self, evidence: FlowEvidence, source: Agent, target: Agent | None) -> FlowEvidence:
        source_end, target_end = evidence.source, evidence.target
        here, there = source_end.address, target_end.address
        assert here is not None
        assert there is not None
        with ThreadPoolExecutor(4, thread_name_prefix="collect") as pool:
            source_rules = pool.submit(read_firewall, source, here.version)
            source_nic = pool.submit(_interface, source, there)
            if target is None:
                source_end = replace(
                    source_end, interface=source_nic.result(), firewall=source_rules.result()
                )
                return replace(evidence, source=source_end)
            target_rules = pool.submit(_ask, _unreadable, read_firewall, target, there.version)
            target_nic = pool.submit(_ask, _nothing, _interface_of, target, there)
            local = pool.submit(_ask, _nothing, self._local_tests, target, evidence)
            sockets = _ask(_nothing, _sockets, target)
            # one after the other: the test on the VM itself must not meet our own listener
            local_tests = local.result() or ()
            stand_in = self._stand_in(evidence, source, target, sockets)
            return replace(
                evidence,
                source=replace(source_end, interface=source_nic.result(), firewall=source_rules.result()),
                target=replace(
                    target_end,
                    interface=target_nic.result(),
                    firewall=target_rules.result(),
                    listeners=sockets,
                ),
                local_tests=local_tests,
                stand_in=stand_in,
            )

    def _local_tests(self, target: Agent, evidence: FlowEvidence) -> tuple[LocalTest, ...]:
        flow = evidence.flow
        if flow.protocol is not Protocol.TCP or flow.port is None:
            return ()
        found = connect_locally(target, flow.port, [str(evidence.target.address)])
        return tuple(LocalTest(ip_address(item.address), item.outcome) for item in found)

    def _stand_in(
        self, evidence: FlowEvidence, source: Agent, target: Agent, sockets: tuple[Listener, ...] | None
    ) -> StandIn | None:
        """The same probe against a listener of ours, where the port is free and disruption is allowed."""
        flow, address = evidence.flow, str(evidence.target.address)
        if not self._allow_disruptive or sockets is None or flow.port is None:
            return None
        if evidence.traffic is not None and evidence.traffic.arrived_target is False:
            return None  # what never reaches the VM would not reach a listener of ours either
        if any(socket.protocol is flow.protocol and socket.port == flow.port for socket in sockets):
            return None
        try:
            if flow.protocol is Protocol.UDP:
                result = probe_udp(
                    source, address, flow.port, target=target, timeout=self._timeout, allow_disruptive=True
                )
                return StandIn(result.outcome) if result.proof is Proof.LISTENER else None
            with Lease(target, flow.protocol, flow.port, allow_disruptive=True):
                return StandIn(probe_tcp(source, address, flow.port, timeout=self._timeout).outcome)
        except RequestError:
            return None  # the port was taken meanwhile, or the user may not bind it


def _nothing(error: AgentError) -> None:
    del error


def _unreadable(error: AgentError) -> Firewall:
    return Firewall(None, problem=error.message)


def _ask(otherwise: Callable[[AgentError], Fact], question: Callable[..., Fact], *arguments: object) -> Fact:
    """``question``'s answer, or ``otherwise`` where the target's agent cannot give it."""
    try:
        return question(*arguments)
    except AgentError as error:
        return otherwise(error)


def _sockets(agent: Agent) -> tuple[Listener, ...] | None:
    result = agent.run(*SS_COMMAND)
    return read_listeners(result.stdout) if result.exit_code == 0 else None


def _stalled(agent: Agent | None, evidence: FlowEvidence) -> Stalled | None:
    """Whether the process behind a completed handshake takes the connection."""
    address, flow = evidence.target.address, evidence.flow
    if agent is None or address is None or flow.port is None or flow.protocol is not Protocol.TCP:
        return None
    return stalled_listener(agent, address, flow.port)


def _interface(agent: Agent, towards: IPAddress) -> str | None:
    try:
        return agent.route(str(towards)).interface
    except RequestError:
        return None


def _interface_of(agent: Agent, address: IPAddress) -> str | None:
    listed = read_addresses(agent.run(*IP_COMMAND).stdout)
    return next((found.interface for found in listed if found.address == address), None)
