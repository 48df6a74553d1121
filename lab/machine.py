"""A running lab, inside the applier: its VMs, its fabric, its resources, and how each is changed.

Not for the socket that requests come by (``lab.server``), nor for how the process came to be
(``lab.applier``).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from harness.errors import AzreachError, InputError
from harness.network.model import Network, VirtualMachine
from harness.network.snapshot import network_from_resources
from lab import neighbours, state
from lab.content import GuestContent, LabContent
from lab.environment_file import MachineEntry, become_text, environment_text
from lab.errors import LabError
from lab.fabric import Fabric
from lab.hosts import accounts, filesystem, resident_sshd, sshd, sudo
from lab.hosts.accounts import Sudo
from lab.hosts.services import Service, Services
from lab.namespaces import GuestSpec, NamespaceDriver
from lab.plan import build_plan
from lab.plan_model import FabricPlan, InternetHost, Port
from lab.state import LabDirectory, LabRecord, NicRecord, ProcessRecord, VmRecord
from lab.store import ResourceStore

Progress = Callable[[str, int, int], None]
Note = Callable[[str], None]


class LabMachine:
    """Everything that one lab consists of. Make it, :meth:`raise_all`, change it, :meth:`close` it."""

    def __init__(self, directory: LabDirectory, source: str, *, rootless: bool) -> None:
        self._directory = directory
        self._source = source
        self._rootless = rootless
        # first of all: its nursery gets ready meanwhile
        self._driver = NamespaceDriver()
        self._user_key = sshd.KeyPair.generate()
        self._lowers = filesystem.lay_common(directory.guest, self._user_key, rootless=rootless)
        self._services = Services(self._driver)
        self._fabric = Fabric()
        self._tokens: dict[str, str] = {}
        self._sudo_works = False
        self._content = LabContent("", [])
        self._network = Network()
        self._internet: tuple[InternetHost, ...] = ()
        self._plan: FabricPlan
        self._store = ResourceStore([])

    def raise_all(self, content: LabContent, progress: Progress, note: Note) -> None:
        """Makes the whole lab; raises AzreachError and leaves the rest to :meth:`close`."""
        self._content = content
        self._store = ResourceStore(content.resources)
        self._network = network_from_resources(self._store.resources(), content.origin)
        _check_names(self._network, content.origin)
        for kind, arm_id in self._network.unmodelled:
            note(f"{content.origin}: the lab leaves out {arm_id} ({kind})")
        self._internet = _internet_hosts(content)
        self._plan = build_plan(self._network, internet_hosts=self._internet)
        if not self._rootless:
            self._make_room(note)
        self._check_sudo(note)
        keys = self._make_vms(progress)
        self._directory.write_record(self._record(complete=False))
        self._fabric.apply(self._plan)
        self._start_services(progress)
        if content.jump is not None:
            guests = self._driver.guests
            resident_sshd.start_all(
                self._driver, [guest for name, guest in guests.items() if name != content.jump]
            )
        self._write_files(keys)
        self._directory.write_record(self._record(complete=True))

    @property
    def lifeline(self) -> int:
        """A fd that becomes readable when the VMs have died all at once."""
        return self._driver.lifeline

    def close(self) -> None:
        """Ends every VM and the fabric; may be called in any state."""
        self._driver.destroy()
        self._fabric.close()

    # -- resources

    def resources(self) -> list[dict[str, Any]]:
        return self._store.resources()

    def get_resource(self, arm_id: str) -> dict[str, Any] | None:
        return self._store.get(arm_id)

    def put_resource(self, arm_id: str, body: dict[str, Any]) -> None:
        """A PUT, effective when it returns; what is refused (AzreachError) has changed nothing."""
        self._change(self._store.with_put(arm_id, body))

    def delete_resource(self, arm_id: str) -> None:
        """A DELETE, effective when it returns; what is refused (AzreachError) has changed nothing."""
        self._change(self._store.with_delete(arm_id))

    def counters(self) -> dict[str, int]:
        return self._fabric.counters()

    # -- guests

    def start_service(self, vm: str, service: Service) -> None:
        self._services.start([(vm, service)])

    def stop_service(self, vm: str, service: Service) -> None:
        self._services.stop(vm, service)

    def services(self, vm: str) -> tuple[Service, ...]:
        return self._services.running(vm)

    def spawn(self, vm: str, argv: Sequence[str]) -> int:
        """A process that lives until it ends or the lab does; its pid as the machine sees it."""
        if vm not in self._driver.guests:
            raise LabError(f"no VM '{vm}' in lab '{self._directory.name}'")
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        try:
            return self._driver.spawn(self._driver.guests[vm], argv, null)
        finally:
            os.close(null)

    # -- making

    def _make_room(self, note: Note) -> None:
        try:
            neighbours.raise_thresholds(os.getpid())
        except OSError:
            # as in a container that may not: then it matters to a large lab only
            if text := neighbours.shortage(len(self._network.vms)):
                note(text)

    def _make_vms(self, progress: Progress) -> dict[str, sshd.KeyPair]:
        addresses = self._addresses()
        names = filesystem.hostnames(addresses)
        keys: dict[str, sshd.KeyPair] = {}
        specs: list[GuestSpec] = []
        password = self._make_password()
        forwarding = {
            vm.name
            for vm in self._network.vms.values()
            for nic in vm.nics
            if self._network.nics[nic].ip_forwarding
        }
        for name, own in addresses.items():
            keys[name] = sshd.KeyPair.generate()
            self._tokens[name] = secrets.token_hex(8)
            guest = self._guest(name)
            specs.append(
                filesystem.guest_spec(
                    name,
                    names[name],
                    own,
                    keys[name],
                    self._tokens[name],
                    forwarding=name in forwarding if guest.forwarding is None else guest.forwarding,
                    more=accounts.own_files(Sudo(guest.sudo), password),
                )
            )
        ports = self._ports_by_vm()
        copies = sudo.private_copies(rootless=self._rootless) if self._sudo_works else ()
        for batch in self._driver.create(
            specs, self._directory.name, self._directory.stage, self._lowers, copies
        ):
            # wired as they come to life, while the next ones are made on another core
            netns = {guest.name: guest.netns for guest in batch}
            self._fabric.attach([port for name in netns for port in ports.get(name, [])], netns)
            progress("VMs", len(self._driver.guests), len(specs))
        return keys

    def _addresses(self) -> dict[str, list[str]]:
        """The addresses of every machine: VMs, and those on the internet."""
        found = {}
        for vm in self._network.vms.values():
            nics = [self._network.nics[nic] for nic in vm.nics]
            found[vm.name] = [
                str(item) for nic in nics for family in (4, 6) for item in nic.addresses(family)
            ]
        return found | {host.name: [str(item) for item in host.addresses] for host in self._internet}

    def _check_sudo(self, note: Note) -> None:
        users = [name for name, guest in self._content.guests.items() if guest.user != "root"]
        wanting = [name for name in users if self._guest(name).sudo != Sudo.NONE]
        if not wanting:
            return
        obstacle = sudo.obstacle(rootless=self._rootless)
        self._sudo_works = obstacle is None
        if obstacle is not None:
            note(f"sudo cannot work in this lab, so nobody becomes root on {', '.join(wanting)}: {obstacle}")

    def _make_password(self) -> str:
        """The hash of the password that this lab's azureuser has, where one is wanted; else nothing."""
        if all(guest.sudo != Sudo.PASSWORD for guest in self._content.guests.values()):
            return ""
        password = accounts.new_password()
        state.write_atomically(self._directory.password, f"{password}\n", mode=0o600)
        return accounts.hashed(password)

    def _ports_by_vm(self) -> dict[str, list[Port]]:
        ports: dict[str, list[Port]] = {}
        for port in self._plan.ports.values():
            ports.setdefault(port.vm, []).append(port)
        return ports

    def _guest(self, vm: str) -> GuestContent:
        return self._content.guests.get(vm, GuestContent())

    def _start_services(self, progress: Progress) -> None:
        wanted = [
            (name, Service.parse(text))
            for name, guest in self._content.guests.items()
            for text in guest.services
        ]
        progress("services", 0, len(wanted))
        # in batches, so that a thousand of them do not need as many pipes at once
        for start in range(0, len(wanted), 200):
            self._services.start(wanted[start : start + 200])

    def _write_files(self, keys: Mapping[str, sshd.KeyPair]) -> None:
        directory, guests = self._directory, self._driver.guests
        state.write_atomically(directory.key, self._user_key.private.decode(), mode=0o600)
        lines = [sshd.known_hosts_line(guests[name].hostname, key) for name, key in keys.items()]
        state.write_atomically(directory.known_hosts, "".join(lines))
        state.write_atomically(directory.snapshot, self._store.snapshot())
        entries = [self._entry(vm) for vm in self._network.vms.values()]
        entries += [self._internet_entry(host) for host in self._internet]
        state.write_atomically(
            directory.environment, environment_text(directory, entries, self._content.flows)
        )

    def _entry(self, vm: VirtualMachine) -> MachineEntry:
        guest, content, jump = self._driver.guests[vm.name], self._guest(vm.name), self._content.jump
        in_band = jump not in (None, vm.name)
        become = None
        if content.user != "root":
            become = become_text(Sudo(content.sudo), self._directory.password, works=self._sudo_works)
        return MachineEntry(
            name=vm.name,
            host=self._address(vm) if in_band else guest.hostname,
            user=content.user,
            arm_id=vm.id,
            services=tuple(Service.parse(text) for text in content.services),
            proxy_command=()
            if in_band
            else sshd.proxy_command(guest, self._tokens[vm.name], rootless=self._rootless),
            alias=guest.hostname if in_band else None,
            jump=jump if in_band else None,
            become=become,
        )

    def _internet_entry(self, host: InternetHost) -> MachineEntry:
        guest = self._driver.guests[host.name]
        return MachineEntry(
            name=host.name,
            host=guest.hostname,
            user="root",
            arm_id=None,
            services=tuple(Service.parse(text) for text in self._guest(host.name).services),
            proxy_command=sshd.proxy_command(guest, self._tokens[host.name], rootless=self._rootless),
            addresses=tuple(str(address) for address in host.addresses),
        )

    def _address(self, vm: VirtualMachine) -> str:
        nics = [self._network.nics[nic] for nic in vm.nics]
        return next(str(address) for nic in nics for family in (4, 6) for address in nic.addresses(family))

    # -- changing

    def _change(self, store: ResourceStore) -> None:
        network = network_from_resources(store.resources(), str(self._directory.snapshot))
        if {vm.name for vm in network.vms.values()} != {vm.name for vm in self._network.vms.values()}:
            raise LabError("a running lab keeps the VMs that it was raised with")
        plan = build_plan(network, self._plan.port_ids, self._internet)
        self._apply(plan)
        moved = plan.ports != self._plan.ports
        self._store, self._network, self._plan = store, network, plan
        state.write_atomically(self._directory.snapshot, store.snapshot())
        if moved:
            self._directory.write_record(self._record(complete=True))

    def _apply(self, plan: FabricPlan) -> None:
        """Makes the fabric follow ``plan``, or (raising) stay with the old one."""
        before = self._plan.ports
        gone = [old for number, old in before.items() if _wire(plan.ports.get(number)) != _wire(old)]
        new = [port for number, port in plan.ports.items() if _wire(before.get(number)) != _wire(port)]
        netns = {name: guest.netns for name, guest in self._driver.guests.items()}
        try:
            self._fabric.detach([port.id for port in gone])
            self._fabric.attach(new, netns)
            self._fabric.apply(plan)
        except AzreachError:
            self._fabric.detach([port.id for port in new])
            self._fabric.attach(gone, netns)
            self._fabric.apply(self._plan)
            raise

    # -- records

    def _record(self, *, complete: bool) -> LabRecord:
        ports = self._ports_by_vm()
        return LabRecord(
            name=self._directory.name,
            applier=ProcessRecord.of(os.getpid()),
            source=self._source,
            rootless=self._rootless,
            complete=complete,
            vms=(
                *(self._vm_record(vm.name, vm.id, ports) for vm in self._network.vms.values()),
                *(self._vm_record(host.name, "", ports) for host in self._internet),
            ),
        )

    def _vm_record(self, name: str, arm_id: str, ports: Mapping[str, list[Port]]) -> VmRecord:
        guest = self._driver.guests[name]
        nics = tuple(
            NicRecord(
                port.interface,
                port.mac,
                tuple(f"{address}/{length}" for address, length in port.addresses),
                self._network.nics[port.nic].id if port.nic in self._network.nics else "",
            )
            for port in sorted(ports.get(name, []), key=lambda port: port.interface)
        )
        services = self._guest(name).services
        return VmRecord(name, guest.hostname, arm_id, guest.pid, guest.start_time, nics, services)


def _wire(port: Port | None) -> Port | None:
    """What of a port cannot be changed while it is wired; a new address reaches a guest by DHCP only."""
    return (
        None
        if port is None
        else replace(port, addresses=(), gateway4=None, gateway6=None, ip_forwarding=False)
    )


def _internet_hosts(content: LabContent) -> tuple[InternetHost, ...]:
    return tuple(
        InternetHost(name, tuple(ip_address(text) for text in addresses))
        for name, addresses in content.internet.items()
    )


def _check_names(network: Network, origin: str) -> None:
    if not network.vms:
        raise InputError(f"{origin}: there is no VM in it")
    seen: dict[str, str] = {}
    for vm in network.vms.values():
        other = seen.setdefault(vm.name.lower(), vm.id)
        if other != vm.id:
            raise InputError(f"{origin}: two VMs are named '{vm.name}': {other} and {vm.id}")
        try:
            vm.name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{origin}: the VM name {vm.name!a} is no valid text") from None
        if not any(nic in network.nics for nic in vm.nics):
            raise InputError(f"{origin}: VM '{vm.name}' has no NIC")
