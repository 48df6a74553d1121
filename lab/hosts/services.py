"""The services of a lab's VMs, from the applier's side: start, stop, list.

One process for each service (``service.py``). Not for the listeners that a diagnosis opens for
the length of a probe: those are the agent's.
"""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from harness.errors import InputError, UnknownNameError
from harness.model import Protocol
from lab import linux
from lab.errors import LabError
from lab.hosts.filesystem import SERVICE_PROGRAM
from lab.namespaces import Guest, NamespaceDriver, Start

_TEXT = re.compile(r"(?:(?P<address>.+):)?(?P<port>\d{1,5})/(?P<protocol>tcp|udp)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """A listener: ``address`` None means every address, IPv4 and IPv6.

    ``pid`` (in the VM) is known of a running one and does not count when services are compared.
    """

    protocol: Protocol
    port: int
    address: str | None = None
    pid: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        address = f"[{self.address}]" if self.address and ":" in self.address else self.address
        return f"{f'{address}:' if address else ''}{self.port}/{self.protocol}"

    @classmethod
    def parse(cls, text: str) -> Service:
        """``1433/tcp``, ``127.0.0.1:53/udp``, ``[::1]:80/tcp``; raises InputError."""
        match = _TEXT.fullmatch(text)
        if match is None or not 1 <= int(match["port"]) <= 65535:
            raise InputError(f"'{text}' is no service; write PORT/tcp or PORT/udp, as in 1433/tcp")
        address = match["address"]
        if address is not None:
            try:
                address = str(ip_address(address.removeprefix("[").removesuffix("]")))
            except ValueError:
                raise InputError(f"'{text}': '{address}' is no address") from None
        return cls(Protocol(match["protocol"]), int(match["port"]), address)

    def argv(self) -> list[str]:
        """The command of its process."""
        words = ["/usr/bin/python3", "-I", "-S", SERVICE_PROGRAM, self.protocol.value, str(self.port)]
        return [*words, self.address] if self.address else words


@dataclass(frozen=True, slots=True)
class _Running:
    service: Service
    pidfd: int

    @property
    def alive(self) -> bool:
        return not self._ended(0)

    def wait(self) -> None:
        """Returns when the process has ended."""
        self._ended(None)

    def _ended(self, timeout: float | None) -> bool:
        # not select(2), which knows no fd above 1023
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(timeout))


class Services:
    """Every service that the applier started, and whether it still runs."""

    def __init__(self, driver: NamespaceDriver) -> None:
        self._driver = driver
        self._running: dict[str, list[_Running]] = {}

    def start(self, wanted: Iterable[tuple[str, Service]]) -> None:
        """Starts services (VM name, service) side by side; returns when all listen.

        Raises LabError of the first that cannot; the others run.
        """
        launches = []
        for vm, service in wanted:
            reader, writer = os.pipe()
            guest = self._guest(vm)
            if service in (running.service for running in self._alive(vm)):
                os.close(reader)
                os.close(writer)
                raise LabError(f"{vm}: {service} runs already")
            launches.append((vm, service, reader, self._driver.start(guest, service.argv(), writer, "/")))
            os.close(writer)
        problems = []
        for vm, service, reader, start in launches:
            try:
                self._finish(vm, service, reader, start)
            except LabError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def stop(self, vm: str, service: Service) -> None:
        """Ends a service; returns when its socket is closed."""
        for running in self._alive(vm):
            if running.service == service:
                # SIGKILL also ends one that a fault has stopped by SIGSTOP
                signal.pidfd_send_signal(running.pidfd, signal.SIGKILL)
                running.wait()
                self._alive(vm)
                return
        raise LabError(f"{vm}: no service {service} runs")

    def running(self, vm: str) -> tuple[Service, ...]:
        """The services that run in a VM."""
        self._guest(vm)
        return tuple(running.service for running in self._alive(vm))

    def _guest(self, vm: str) -> Guest:
        try:
            return self._driver.guests[vm]
        except KeyError:
            raise UnknownNameError(f"no VM '{vm}' in this lab") from None

    def _alive(self, vm: str) -> list[_Running]:
        alive = []
        for running in self._running.get(vm, []):
            if running.alive:
                alive.append(running)
            else:
                os.close(running.pidfd)
        self._running[vm] = alive
        return alive

    def _finish(self, vm: str, service: Service, reader: int, start: Start) -> None:
        with open(reader, "rb") as pipe:
            pid = start.wait()
            answer = pipe.readline().decode(errors="replace").strip()
            if answer != "ready":
                text = answer.removeprefix("error ") or "its process ended"
                raise LabError(f"{vm}: {service} could not be started: {text}")
        running = Service(service.protocol, service.port, service.address, linux.pid_in_namespace(pid))
        self._running.setdefault(vm, []).append(_Running(running, os.pidfd_open(pid)))
