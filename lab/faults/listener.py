"""Faults of a service: gone, moved, bound elsewhere, stopped, or not accepting."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import InputError
from lab.changes import Change, GuestChange, ServiceChange
from lab.faults.helper import helper
from lab.faults.site import Fault, Site
from lab.hosts.services import Service

_BRIDGE = {4: "172.17.0.1", 6: "fd00:172:17::1"}
"""An address that a VM has for itself only, as that of a container bridge."""


def _service(site: Site) -> Service:
    services = site.lab.services(site.flow.target)
    for service in services:
        if service.protocol is site.flow.protocol and service.port == site.flow.port:
            return service
    has = ", ".join(f"{service.port}/{service.protocol}" for service in services) or "none"
    raise InputError(
        f"{site.flow.target} runs no service on {site.flow.port}/{site.flow.protocol}", hint=f"it has: {has}"
    )


def _no_process(site: Site) -> list[Change]:
    return [ServiceChange(site.flow.target, stop=(_service(site),))]


def _rebound(site: Site, address: str) -> ServiceChange:
    service = _service(site)
    return ServiceChange(site.flow.target, (service,), (replace(service, address=address),))


def _loopback_only(site: Site) -> list[Change]:
    return [_rebound(site, "127.0.0.1" if site.target.version == 4 else "::1")]


def _other_address(site: Site) -> list[Change]:
    address = _BRIDGE[site.target.version]
    words = ("address", "{}", f"{address}/{32 if site.target.version == 4 else 128}", "dev", "lo")
    add, delete = (("ip", *(word.format(verb) for word in words)) for verb in ("replace", "delete"))
    return [GuestChange(site.flow.target, add, delete), _rebound(site, address)]


def _other_family(site: Site) -> list[Change]:
    return [_rebound(site, "0.0.0.0" if site.target.version == 6 else "::")]


def _other_port(site: Site) -> list[Change]:
    service = _service(site)
    taken = {other.port for other in site.lab.services(site.flow.target)}
    free = next(port for port in range(service.port + 1, 65536) if port not in taken)
    return [ServiceChange(site.flow.target, (service,), (replace(service, port=free),))]


def _process_stopped(site: Site) -> list[Change]:
    pid = str(_service(site).pid)
    return [GuestChange(site.flow.target, ("kill", "-STOP", pid), ("kill", "-CONT", pid))]


def _backlog_full(site: Site) -> list[Change]:
    """A process that never accepts takes the service's place, and its queue is filled."""
    service = _service(site)
    return [
        ServiceChange(site.flow.target, stop=(service,)),
        helper(site.flow.target, "stuck", "127.0.0.1", str(site.flow.port), "1"),
    ]


FAULTS = (
    Fault("no-process", "the target's service is stopped", _no_process),
    Fault("loopback-only", "the target's service is bound to loopback only", _loopback_only),
    Fault("other-address", "the target's service is bound to another address of the VM", _other_address),
    Fault("other-family", "the target's service listens on the other address family only", _other_family),
    Fault("other-port", "the target's service listens on another port", _other_port),
    Fault(
        "process-stopped", "the target's service is stopped by a signal, its socket stays", _process_stopped
    ),
    Fault("backlog-full", "the target's service does not accept, and its queue is full", _backlog_full),
)
