"""Azure's configuration as the diagnosis asks it: a VM's addresses, and the engine's prediction.

Reads the environment's snapshot when it is first needed, and again when the file changed.
"""

from __future__ import annotations

from pathlib import Path

from harness.environment import Environment, Machine
from harness.errors import InputError, SnapshotError
from harness.model import Flow
from harness.network.load import load_network
from harness.network.model import IPAddress, Network, VirtualMachine, key
from harness.policy.decision import Explanation
from harness.policy.explain import explain


class AzureView:
    """The snapshot of an environment; without one nothing is known and nothing predicted."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._path = environment.azure.snapshot
        self._stamp: tuple[int, int] | None = None
        self._network: Network | None = None

    def network(self) -> Network | None:
        """The network as the snapshot file has it now; raises SnapshotError."""
        if self._path is None:
            return None
        stamp = _stamp(self._path)
        if self._network is None or stamp != self._stamp:
            self._network, self._stamp = load_network(self._path), stamp
        return self._network

    def addresses(self, name: str, machine: Machine) -> tuple[IPAddress, ...]:
        """The private addresses of a machine's NICs, the primary NIC's first; empty if unknown."""
        network = self.network()
        vm = self._vm(network, name, machine) if network is not None else None
        if network is None or vm is None:
            return ()
        nics = [network.nics[nic] for nic in vm.nics]
        return tuple(address for nic in nics for family in (4, 6) for address in nic.addresses(family))

    def predict(
        self, flow: Flow, source: IPAddress | None, target: IPAddress | None
    ) -> tuple[Explanation | None, str | None]:
        """What the engine says of ``flow``, or why it cannot say anything."""
        try:
            network = self.network()
            if network is None:
                return None, None
            ends = [
                self._end(network, name, address)
                for name, address in ((flow.source, source), (flow.target, target))
            ]
            return explain(network, Flow(ends[0], ends[1], flow.protocol, flow.port, flow.family)), None
        except SnapshotError:
            raise
        except InputError as error:
            return None, f"the snapshot cannot judge this flow: {error.message}"

    def _end(self, network: Network, name: str, address: IPAddress | None) -> str:
        """The end as the engine is asked about it: the IP configuration that has the address, if known."""
        machine = self._environment.machines.get(name)
        vm = self._vm(network, name, machine) if machine is not None else None
        if vm is None:
            return str(address) if address is not None else name
        for nic in vm.nics:
            for configuration in network.nics[nic].ip_configurations:
                if configuration.address == address:
                    return configuration.id
        return vm.id

    def _vm(self, network: Network, name: str, machine: Machine) -> VirtualMachine | None:
        if machine.arm_id is not None:
            vm = network.vms.get(key(machine.arm_id))
            if vm is None:
                raise SnapshotError(f"{self._path}: has no VM {machine.arm_id} (machine '{name}')")
            return vm
        named = network.vms_named(name)
        return named[0] if len(named) == 1 else None


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror or error}") from error
    return status.st_mtime_ns, status.st_ino
