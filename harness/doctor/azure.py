"""Is this machine the VM that the snapshot says it is? Its ``arm_id`` and its addresses are compared.

Pure: a network, a machine's entry and the guest's addresses in, a result out. Not for loading
the snapshot (:mod:`harness.network.snapshot`).
"""

from __future__ import annotations

from harness.doctor.model import ENVIRONMENT_FILE, HERE, Check, CheckResult, Cure, Status
from harness.environment import Machine
from harness.guest.addresses import InterfaceAddress
from harness.network.model import IPAddress, Network, VirtualMachine, key


def vm_of(network: Network, name: str, machine: Machine) -> VirtualMachine | None:
    """The VM that the diagnosis takes a machine for: by ``arm_id``, else the only one of its name."""
    if machine.arm_id is not None:
        return network.vms.get(key(machine.arm_id))
    named = network.vms_named(name)
    return named[0] if len(named) == 1 else None


def vm_with(network: Network, addresses: tuple[InterfaceAddress, ...] | None) -> VirtualMachine | None:
    """The only VM that has any of these addresses."""
    found = {
        nic.vm
        for item in addresses or ()
        for nic, _ in network.holders.get(item.address, ())
        if nic.vm is not None
    }
    return network.vms.get(found.pop()) if len(found) == 1 else None


def check_azure(
    network: Network | None, name: str, machine: Machine, addresses: tuple[InterfaceAddress, ...] | None
) -> CheckResult:
    """Whether the snapshot has the machine, and whether the guest has the addresses that Azure gave it."""
    if network is None:
        return _result(Status.UNKNOWN, "-", "there is no snapshot to hold this machine against")
    vm = vm_of(network, name, machine)
    if vm is None:
        return _not_found(network, name, machine, addresses)
    if addresses is None:
        return _result(Status.UNKNOWN, "?", f"the guest's addresses are not known; Azure has {vm.id}")
    return _compare(network, name, vm, addresses)


def _not_found(
    network: Network, name: str, machine: Machine, addresses: tuple[InterfaceAddress, ...] | None
) -> CheckResult:
    candidate = vm_with(network, addresses)
    right = candidate.id if candidate is not None else "<the VM's ARM id>"
    cures = (Cure(ENVIRONMENT_FILE, f"machines.{name}.arm_id: {right}"),)
    if machine.arm_id is not None:
        look = Cure(HERE, f"az vm show --ids {machine.arm_id} --query id")
        renew = f"the snapshot has no VM {machine.arm_id}; renew the snapshot or correct arm_id"
        # every diagnosis with this machine refuses such a file
        return _result(
            Status.FAILED, "not found", renew, *(cures if candidate is not None else (look, *cures))
        )
    count = len(network.vms_named(name))
    found = f"{count} VMs are" if count else "no VM is"
    return _result(
        Status.WARNING, "no arm_id", f"there is no arm_id, and in the snapshot {found} named {name}", *cures
    )


def _compare(
    network: Network, name: str, vm: VirtualMachine, addresses: tuple[InterfaceAddress, ...]
) -> CheckResult:
    given = [
        address for nic in vm.nics for family in (4, 6) for address in network.nics[nic].addresses(family)
    ]
    have = {item.address for item in addresses}
    missing = [address for address in given if address not in have]
    if given and len(missing) == len(given):
        other = vm_with(network, addresses)
        cure = Cure(
            ENVIRONMENT_FILE,
            f"machines.{name}.arm_id: {other.id}"
            if other is not None and other.id != vm.id
            else f"machines.{name}.ssh.host: <an address of {vm.name}>",
        )
        return _result(
            Status.FAILED,
            "another VM",
            f"Azure gave {vm.name} {_list(given)}, the guest has {_list(sorted(have, key=str))}:"
            " this log-in leads to another machine",
            cure,
        )
    interface = next((item.interface for item in addresses if item.address in given), "eth0")
    if missing:
        cures = [
            Cure(name, f"sudo ip address add {address}/{_length(network, vm, address)} dev {interface}")
            for address in missing
        ]
        return _result(
            Status.WARNING,
            "address missing",
            f"Azure gave {vm.name} {_list(missing)}, which the guest does not have: nothing answers there",
            *cures,
        )
    strange = [
        item for item in addresses if item.address not in given and _in_subnets(network, vm, item.address)
    ]
    if strange:
        return _result(
            Status.WARNING,
            "own address",
            f"the guest has {_list([item.address for item in strange])} of its subnet, which Azure did not"
            " give it: Azure drops packets from there",
            *(Cure(name, f"sudo ip address del {item.address} dev {item.interface}") for item in strange),
        )
    return _result(Status.OK, "ok", f"{vm.id}: Azure and the guest agree on {_list(given)}")


def _in_subnets(network: Network, vm: VirtualMachine, address: IPAddress) -> bool:
    return any(
        address in prefix
        for nic in vm.nics
        for prefix in network.subnets[network.nics[nic].subnet].prefixes
        if prefix.version == address.version
    )


def _length(network: Network, vm: VirtualMachine, address: IPAddress) -> int:
    """The prefix length with which Azure's DHCP would give the address: the subnet's."""
    for nic in vm.nics:
        for prefix in network.subnets[network.nics[nic].subnet].prefixes:
            if prefix.version == address.version and address in prefix:
                return prefix.prefixlen
    return address.max_prefixlen


def _list(addresses: list[IPAddress]) -> str:
    return ", ".join(str(address) for address in addresses) or "no address"


def _result(status: Status, short: str, summary: str, *cures: Cure) -> CheckResult:
    return CheckResult(Check.AZURE, status, short, summary, tuple(cures))
