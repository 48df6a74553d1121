"""Changes to a running lab that know their own undo: as data, so that a journal can keep them.

Three kinds: an ARM resource (put or deleted), a command as root of a guest, the services of
a guest. Not for what a fault means (``faults.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lab.client import Lab
from lab.errors import LabError
from lab.hosts.services import Service


@dataclass(frozen=True, slots=True)
class ArmChange:
    """An ARM resource from ``before`` to ``after``; None is its absence."""

    id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def apply(self, lab: Lab) -> None:
        _put(lab, self.id, self.after)

    def revert(self, lab: Lab) -> None:
        _put(lab, self.id, self.before)


def _put(lab: Lab, resource_id: str, body: dict[str, Any] | None) -> None:
    if body is not None:
        lab.put_resource(resource_id, body)
    elif lab.get_resource(resource_id) is not None:
        lab.delete_resource(resource_id)


@dataclass(frozen=True, slots=True)
class GuestChange:
    """A command as root of ``vm``, and the one that takes it back (which may find nothing to do)."""

    vm: str
    do: tuple[str, ...]
    undo: tuple[str, ...]

    def apply(self, lab: Lab) -> None:
        lab.run(self.vm, list(self.do))

    def revert(self, lab: Lab) -> None:
        done = lab.run(self.vm, list(self.undo), check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise LabError(f"{self.vm}: `{' '.join(self.undo)}` found nothing to undo: {said}")


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """Services of ``vm`` that are stopped, and others that are started in their place."""

    vm: str
    stop: tuple[Service, ...] = ()
    start: tuple[Service, ...] = ()

    def apply(self, lab: Lab) -> None:
        self._exchange(lab, self.stop, self.start)

    def revert(self, lab: Lab) -> None:
        self._exchange(lab, self.start, self.stop)

    def _exchange(self, lab: Lab, gone: tuple[Service, ...], wanted: tuple[Service, ...]) -> None:
        running = lab.services(self.vm)
        for service in gone:
            if service in running:
                lab.stop_service(self.vm, service)
        for service in wanted:
            if service not in running:
                lab.start_service(self.vm, service)


Change = ArmChange | GuestChange | ServiceChange


def to_json(change: Change) -> dict[str, Any]:
    """The change as a JSON object."""
    if isinstance(change, ServiceChange):
        return {
            "kind": "service",
            "vm": change.vm,
            "stop": [str(service) for service in change.stop],
            "start": [str(service) for service in change.start],
        }
    kind = "arm" if isinstance(change, ArmChange) else "guest"
    return {"kind": kind, **asdict(change)}


def from_json(document: Mapping[str, Any]) -> Change:
    """The change that :func:`to_json` wrote."""
    fields = {name: value for name, value in document.items() if name != "kind"}
    if document["kind"] == "service":
        return ServiceChange(
            vm=fields["vm"],
            stop=tuple(Service.parse(item) for item in fields["stop"]),
            start=tuple(Service.parse(item) for item in fields["start"]),
        )
    if document["kind"] == "guest":
        return GuestChange(fields["vm"], tuple(fields["do"]), tuple(fields["undo"]))
    return ArmChange(**fields)
