"""The two ends of a flow in an environment: whose agent to ask, and which addresses they have.

An end is a machine of the environment or an address; an address that a machine is known to
have stands for that machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from harness.agent.client import Agent
from harness.diagnosis.azure_view import AzureView
from harness.environment import Environment, is_address
from harness.errors import AgentError, AuthenticationError, AzreachError, HostKeyError, InputError
from harness.guest.addresses import IP_COMMAND, read_addresses
from harness.model import Flow
from harness.network.model import IPAddress
from harness.transport.session import Sessions


@dataclass(frozen=True, slots=True)
class Party:
    """One end as it was reached. ``agent`` None: nobody to ask, and ``problem`` may say why."""

    name: str
    machine: str | None
    agent: Agent | None = None
    problem: str | None = None


class Ends:
    """Finds and reaches the ends of flows. May be used from several threads."""

    def __init__(self, environment: Environment, sessions: Sessions, azure: AzureView) -> None:
        self._environment = environment
        self._sessions = sessions
        self._azure = azure

    def reach(self, flow: Flow) -> tuple[Agent, Party]:
        """The source's agent, and the target as far as it can be reached.

        Raises UnknownNameError for names that lead nowhere, TransportError or AgentError for a
        source that cannot be used, HostKeyError and AuthenticationError for either end: those
        want a decision, not a diagnosis.
        """
        self._environment.machine(flow.source)
        machine = self._machine_of(flow.target)
        if machine is None and not is_address(flow.target):
            self._environment.machine(flow.target)  # raises: neither a machine nor an address
        opened = self._sessions.open_many([name for name in (flow.source, machine) if name is not None])
        source = opened[flow.source]
        if isinstance(source, AzreachError):
            raise source
        if machine is None:
            return source.agent, Party(flow.target, None)
        target = opened[machine]
        if isinstance(target, HostKeyError | AuthenticationError):
            raise target
        if isinstance(target, AzreachError):
            return source.agent, Party(flow.target, machine, problem=self._unreachable(machine, target))
        return source.agent, Party(flow.target, machine, target.agent)

    def problem_now(self, party: Party) -> str | None:
        """Why nobody at this end can be asked, also if its session was cut while it was used."""
        if party.agent is None or party.machine is None:
            return party.problem
        try:
            party.agent.hello()
        except AgentError as error:
            return self._unreachable(party.machine, error)
        return None

    def address(self, party: Party, family: int | None) -> IPAddress:
        """The address of an end: as declared, else Azure's word, else what the guest has; IPv4 first."""
        if is_address(party.name):
            return ip_address(party.name)
        assert party.machine is not None
        known = self._known_addresses(party.machine)
        if not known and party.agent is not None:
            known = tuple(found.address for found in read_addresses(party.agent.run(*IP_COMMAND).stdout))
        fitting = [address for address in known if family in (None, address.version)]
        if fitting:
            return min(fitting, key=lambda address: address.version)
        wanted = f"IPv{family} address" if family is not None else "address"
        why = f" ({party.problem})" if party.problem else ""
        raise InputError(
            f"{party.name}: no {wanted} is known{why}",
            hint=f"give machines.{party.machine}.addresses in the environment file, or a snapshot and arm_id",
        )

    def _unreachable(self, machine: str, error: AzreachError) -> str:
        if not self._manages_in_band(machine):
            return error.message
        return f"{error.message} (SSH to it uses the data NIC: what blocks the flow may block SSH as well)"

    def _manages_in_band(self, name: str) -> bool:
        """Whether SSH goes to an address that the machine's own NICs have."""
        host = self._environment.machines[name].ssh.host
        return is_address(host) and ip_address(host) in self._known_addresses(name)

    def _machine_of(self, name: str) -> str | None:
        """The machine of that name, or the one that has that address."""
        if name in self._environment.machines:
            return name
        if not is_address(name):
            return None
        wanted = ip_address(name)
        for machine in self._environment.machines:
            if wanted in self._known_addresses(machine):
                return machine
        return None

    def _known_addresses(self, name: str) -> tuple[IPAddress, ...]:
        machine = self._environment.machines[name]
        if machine.addresses:
            return tuple(ip_address(text) for text in machine.addresses)
        return self._azure.addresses(name, machine)
