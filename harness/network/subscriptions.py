"""Lets two descriptions of one network meet whose ids differ in nothing but the subscription.

A Terraform plan does not know the subscription of what it will make, and a copy of an environment
(staging, production) has one of its own. Objects are compared by id, so one side is read as if it were
in the other's subscription.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.network.armids import segment
from harness.network.snapshot import Source
from harness.network.terraform.identities import PLACEHOLDER_SUBSCRIPTION
from harness.text import plain

_PREFIX = "/subscriptions/"


def in_one_subscription(
    before: Sequence[Source], after: Sequence[Source]
) -> tuple[list[Source], list[Source], tuple[str, ...]]:
    """Both sides, one of them moved into the other's subscription where that can only be meant; and notes.

    What is in the subscription that a plan fills in is moved to the only one of the other side. Where
    each side has exactly one, ``after`` is moved to that of ``before``. Else nothing is.
    """
    old, new = subscriptions(before), subscriptions(after)
    planned_old, planned_new = PLACEHOLDER_SUBSCRIPTION in old, PLACEHOLDER_SUBSCRIPTION in new
    known_old, known_new = old - {PLACEHOLDER_SUBSCRIPTION}, new - {PLACEHOLDER_SUBSCRIPTION}
    if planned_old and not planned_new and len(known_new) == 1:
        (real,) = known_new
        return _moved(before, PLACEHOLDER_SUBSCRIPTION, real), list(after), (_planned("BEFORE", real),)
    if planned_new and not planned_old and len(known_old) == 1:
        (real,) = known_old
        return list(before), _moved(after, PLACEHOLDER_SUBSCRIPTION, real), (_planned("AFTER", real),)
    if len(old) == len(new) == 1 and old != new:
        (one,), (other,) = old, new
        note = f"AFTER is in subscription {plain(other)} and read as if it were in {plain(one)}, as BEFORE is"
        return list(before), _moved(after, other, one), (note,)
    if planned_old is not planned_new:
        side = "AFTER" if planned_new else "BEFORE"
        note = (
            f"{side} does not tell the subscription of what it plans, and the other side has several:"
            " what is planned counts as new"
        )
        return list(before), list(after), (note,)
    return list(before), list(after), ()


def subscriptions(sources: Sequence[Source]) -> frozenset[str]:
    """Those of the resources' own ids, in lower case."""
    ids = (body.get("id") for source in sources for body in source.resources if isinstance(body, dict))
    found = (segment(arm_id, "subscriptions") for arm_id in ids if isinstance(arm_id, str))
    return frozenset(name.lower() for name in found if name)


def _planned(side: str, real: str) -> str:
    return f"{side} does not tell the subscription of what it plans: taken to be {plain(real)}"


def _moved(sources: Sequence[Source], old: str, new: str) -> list[Source]:
    prefix = f"{_PREFIX}{old}/"
    return [
        source._replace(resources=[_renamed(body, prefix, f"{_PREFIX}{new}/") for body in source.resources])
        for source in sources
    ]


def _renamed(value: Any, old: str, new: str) -> Any:
    """A JSON value with every id of one subscription in another."""
    if isinstance(value, str):
        return new + value[len(old) :] if value[: len(old)].lower() == old else value
    if isinstance(value, dict):
        return {name: _renamed(item, old, new) for name, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, old, new) for item in value]
    return value
