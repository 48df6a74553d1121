"""What an ARM id says by itself: resource type, parent, resource group.

Not for looking anything up; :func:`harness.network.model.key` is the form to compare by.
"""

from __future__ import annotations

from itertools import pairwise


def resource_type(arm_id: str) -> str | None:
    """``Microsoft.Network/virtualNetworks/subnets`` of an id, or None where the id has no such shape."""
    head, marker, tail = _last_provider(arm_id)
    segments = tail.split("/")
    if not marker or not head or len(segments) < 3 or len(segments) % 2 == 0 or "" in segments:
        return None
    return "/".join([segments[0], *segments[1::2]])


def kind_of(arm_id: str) -> str:
    """The resource type in the form in which types are compared; empty where the id has none."""
    return (resource_type(arm_id) or "").lower()


def parent(arm_id: str) -> str:
    """The id of the resource that a child resource belongs to."""
    return arm_id.rstrip("/").rsplit("/", 2)[0]


def segment(arm_id: str, name: str) -> str | None:
    """The segment after ``name``, as in ``segment(id, "resourceGroups")``; None where it is absent."""
    segments = arm_id.split("/")
    for label, value in pairwise(segments):
        if label.lower() == name.lower() and value:
            return value
    return None


def machine_name(arm_id: str) -> str:
    """A VM's name: the last segment; ``set_0`` for instance 0 of a scale set, as Azure names it."""
    last = arm_id.rstrip("/").rpartition("/")[2]
    scale_set = segment(arm_id, "virtualMachineScaleSets")
    return f"{scale_set}_{last}" if scale_set else last


def _last_provider(arm_id: str) -> tuple[str, str, str]:
    text, marker = arm_id.rstrip("/"), "/providers/"
    position = text.lower().rfind(marker)
    if position < 0:
        return text, "", ""
    return text[:position], marker, text[position + len(marker) :]
