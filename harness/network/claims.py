"""Associations that either of two objects may declare, brought together.

A subnet names its NSG, and the NSG lists its subnets: a snapshot may hold one side, the
other, or both. Every declaration is a claim; :meth:`Claims.settle` returns what they agree
on, or says which two objects contradict each other.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from harness.errors import SnapshotError
from harness.network.model import key
from harness.text import plain


@dataclass(frozen=True, slots=True)
class Claim:
    """``owner`` has ``value`` (ids); ``place`` is the property that says so."""

    owner: str
    value: str
    place: str


@dataclass(slots=True)
class Claims:
    """Claims of one association; ``owner_kind`` and ``value_kind`` name the two in messages."""

    owner_kind: str
    value_kind: str
    claims: list[Claim] = field(default_factory=list)

    def add(self, owner: str, value: str, place: str) -> None:
        self.claims.append(Claim(owner, value, place))

    def settle(
        self,
        owners: Container[str] | None = None,
        values: Container[str] | None = None,
        *,
        one_owner: bool = False,
    ) -> dict[str, str]:
        """Key of the owner -> id of its value.

        ``owners`` and ``values`` hold the keys that exist (None: not asked); with
        ``one_owner`` a value belongs to at most one owner.
        """
        settled: dict[str, Claim] = {}
        owned: dict[str, Claim] = {}
        for claim in self.claims:
            owner, value = key(claim.owner), key(claim.value)
            if values is not None and value not in values:
                raise _missing(claim, claim.value, self.value_kind)
            if owners is not None and owner not in owners:
                raise _missing(claim, claim.owner, self.owner_kind)
            other = settled.setdefault(owner, claim)
            if key(other.value) != value:
                raise _contradiction(
                    claim, other, f"{self.value_kind} of {plain(claim.owner)}", claim.value, other.value
                )
            first = owned.setdefault(value, claim)
            if one_owner and key(first.owner) != owner:
                raise _contradiction(
                    claim, first, f"{self.owner_kind} of {plain(claim.value)}", claim.owner, first.owner
                )
        return {owner: claim.value for owner, claim in settled.items()}


def _missing(claim: Claim, arm_id: str, kind: str) -> SnapshotError:
    return SnapshotError(
        f"{claim.place}: refers to {kind} {plain(arm_id)}, which is not in the snapshot",
        hint="add that resource to the snapshot, or remove the reference",
    )


def _contradiction(claim: Claim, other: Claim, what: str, one: str, two: str) -> SnapshotError:
    return SnapshotError(
        f"{claim.place}: contradicts {other.place}: the {what} is {plain(one)} by the one"
        f" and {plain(two)} by the other"
    )
