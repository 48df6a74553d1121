"""Virtual machines, those of scale sets included: which NICs each has, the primary one first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.errors import SnapshotError
from harness.network.arm import kinds
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Reader, properties
from harness.network.arm.interfaces import NicDraft
from harness.network.armids import machine_name
from harness.network.fields import Fields
from harness.network.model import NetworkInterface, Subnet, VirtualMachine
from harness.network.words import key
from harness.text import plain


@dataclass(slots=True)
class VmDraft:
    """``primaries``: what the VM itself says of its NICs (keys), in its order."""

    id: str
    name: str
    primaries: dict[str, bool] = field(default_factory=dict)


class Machines:
    def __init__(self, links: Associations) -> None:
        self.vms: dict[str, VmDraft] = {}
        self._links = links
        self.readers: Mapping[str, Reader] = {kinds.VM: self._vm, kinds.SCALE_SET_VM: self._vm}

    def settle(
        self,
        drafts: Mapping[str, NicDraft],
        nics: Mapping[str, NetworkInterface],
        subnets: Mapping[str, Subnet],
        origin: str,
    ) -> tuple[dict[str, VirtualMachine], dict[str, NetworkInterface]]:
        """Every VM, and all NICs, now attached. A VM that only its NIC names is one, too."""
        links = self._links.nic_vms
        members: dict[str, list[str]] = defaultdict(list)
        ids = {key(claim.value): claim.value for claim in reversed(links.claims)}
        for nic, vm in links.settle(nics).items():
            if vm not in self.vms:
                self.vms[vm] = VmDraft(ids[vm], machine_name(ids[vm]))
            members[vm].append(nic)
        vms, attached = {}, dict(nics)
        for name, draft in self.vms.items():
            mine = list(draft.primaries)
            mine += [nic for nic in members[name] if nic not in draft.primaries]
            _check_one_vnet(draft, [nics[nic] for nic in mine], subnets, origin)
            primary = _primary_nic(draft, mine, drafts, origin)
            mine.sort(key=lambda nic: nic != primary)
            vms[name] = VirtualMachine(draft.id, draft.name, tuple(mine))
            for nic in mine:
                attached[nic] = replace(nics[nic], vm=name, primary=nic == primary)
        return vms, attached

    def _vm(self, fields: Fields, arm_id: str, _name: str) -> None:
        draft = VmDraft(arm_id, machine_name(arm_id))
        self.vms[key(arm_id)] = draft
        profile = properties(fields).nested("networkProfile")
        for item in profile.objects("networkInterfaces"):
            nic = item.arm_id()
            if key(nic) in draft.primaries:
                item.fail("id", f"{plain(nic)} stands twice in this list")
            draft.primaries[key(nic)] = bool(item.nested("properties").optional_flag("primary"))
            self._links.nic_vms.add(nic, arm_id, profile, "networkInterfaces")


def _check_one_vnet(
    draft: VmDraft, mine: Sequence[NetworkInterface], subnets: Mapping[str, Subnet], origin: str
) -> None:
    """Azure: all NICs of a VM are in one virtual network."""
    vnets = {subnets[nic.subnet].vnet: nic.id for nic in mine}
    if len(vnets) > 1:
        first, second, *_ = vnets.values()
        raise SnapshotError(
            f"{origin}: {plain(draft.id)}: networkProfile: its network interfaces {plain(first)} and"
            f" {plain(second)} are in different virtual networks"
        )


def _primary_nic(
    draft: VmDraft, mine: Sequence[str], drafts: Mapping[str, NicDraft], origin: str
) -> str | None:
    by_vm = [nic for nic, primary in draft.primaries.items() if primary]
    by_nic = [nic for nic in mine if drafts[nic].primary]
    chosen = list(dict.fromkeys(by_vm or by_nic))
    if len(chosen) > 1 or (by_vm and by_nic and by_vm != by_nic):
        one, other = (*by_vm, *(nic for nic in by_nic if nic not in by_vm))[:2]
        raise SnapshotError(
            f"{origin}: {plain(draft.id)}: networkProfile: both {plain(drafts[one].id)} and"
            f" {plain(drafts[other].id)} are its primary network interface"
        )
    return next(iter((*chosen, *mine)), None)
