"""What a lab is to be made of: ARM resources, and what only a lab file says of its guests.

It crosses from the command, which reads the file, to the applier, which makes the lab, as JSON;
so the applier needs neither YAML nor pydantic. Not for the network itself (``harness.network``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import SnapshotError
from harness.network.armids import resource_type
from harness.yamlfile import read_text
from lab.arm import VM


@dataclass(frozen=True, slots=True)
class GuestContent:
    """A guest as its lab file has it: services as text, the user to log in as, whether it forwards.

    ``forwarding`` None: it does if any of its NICs has IP forwarding. ``sudo`` is a value of
    :class:`lab.hosts.accounts.Sudo`.
    """

    services: tuple[str, ...] = ()
    user: str = "root"
    forwarding: bool | None = None
    sudo: str = "nopasswd"


@dataclass(frozen=True, slots=True)
class LabContent:
    """Everything that a lab is made of. ``origin`` is the file that errors name.

    ``jump``: the VM through which all others are managed in band; None: all are reached out of band.
    ``internet``: the addresses of machines on the internet, by name; they are guests as VMs are.
    """

    origin: str
    resources: list[dict[str, Any]]
    guests: Mapping[str, GuestContent] = field(default_factory=dict)
    flows: tuple[dict[str, Any], ...] = ()
    jump: str | None = None
    internet: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def vm_count(self) -> int:
        """How many VMs the resources have."""
        return sum(resource_type(resource["id"]) == VM for resource in self.resources)

    def to_json(self) -> str:
        return json.dumps(
            {
                "origin": self.origin,
                "resources": self.resources,
                "guests": {name: asdict(guest) for name, guest in self.guests.items()},
                "flows": self.flows,
                "jump": self.jump,
                "internet": self.internet,
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> LabContent:
        document = json.loads(text)
        guests = {
            name: GuestContent(**{**guest, "services": tuple(guest["services"])})
            for name, guest in document["guests"].items()
        }
        internet = {name: tuple(addresses) for name, addresses in document["internet"].items()}
        flows = tuple(document["flows"])
        return cls(**{**document, "guests": guests, "flows": flows, "internet": internet})


def load_content(path: Path) -> LabContent:
    """A lab file (YAML) or a snapshot (JSON); raises InputError that names the file and the place."""
    if path.suffix.lower() == ".json" or read_text(path).lstrip("\ufeff \t\r\n").startswith("{"):
        return _from_snapshot(path)
    return _from_lab_file(path)


def network_of_lab_file(path: Path) -> list[dict[str, Any]] | None:
    """The ARM resources of a lab file, None for any other file (entry point ``azreach.networks``)."""
    if re.search(r"^vnets\s*:", read_text(path), re.MULTILINE) is None:
        return None
    return _from_lab_file(path).resources


def _from_lab_file(path: Path) -> LabContent:
    # pydantic takes its time to import, and a snapshot does not need it
    from lab.hosts.accounts import Sudo
    from lab.labfile import load_lab_file
    from lab.resources import to_resources

    lab = load_lab_file(path)
    guests = {
        name: GuestContent(
            tuple(str(service) for service in vm.services), vm.user, vm.forwarding, (vm.sudo or Sudo.NOPASSWD)
        )
        for name, _, vm in lab.expanded()
    }
    guests |= {
        name: GuestContent(tuple(str(service) for service in host.services))
        for name, host in lab.internet_hosts.items()
    }
    internet = {name: host.addresses for name, host in lab.internet_hosts.items()}
    flows = tuple(
        flow.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        for flow in lab.flows
    )
    jump = lab.management.jump if lab.management is not None else None
    return LabContent(str(path), to_resources(lab), guests, flows, jump, internet)


def _from_snapshot(path: Path) -> LabContent:
    from harness.network.snapshot import load_snapshot

    # for its checks: from here on, the resources are known to be well formed
    load_snapshot(path)
    try:
        document = json.loads(read_text(path).removeprefix("\ufeff"))
    except ValueError as error:
        raise SnapshotError(f"{path}: {error}") from error
    return LabContent(str(path), document["resources"])
