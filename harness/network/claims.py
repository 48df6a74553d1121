"""Associations that either of two objects may declare, brought together.

A subnet names its NSG, and the NSG lists its subnets: a snapshot may hold one side, the
other, or both. Every declaration is a claim; :meth:`Claims.settle` returns what they agree
on, or says which two objects contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NamedTuple

from harness.errors import SnapshotError
from harness.network.fields import Fields
from harness.network.words import key
from harness.text import plain


class Claim(NamedTuple):
    """``owner`` has ``value`` (ids); the property ``name`` of ``fields`` says so."""

    owner: str
    value: str
    fields: Fields
    name: str

    @property
    def place(self) -> str:
        return self.fields.at(self.name)


class Claims:
    """Claims of one association; ``owner_kind`` and ``value_kind`` name the two in messages."""

    def __init__(self, owner_kind: str, value_kind: str) -> None:
        self.owner_kind = owner_kind
        self.value_kind = value_kind
        self.claims: list[Claim] = []

    def add(self, owner: str, value: str, fields: Fields, name: str) -> None:
        self.claims.append(Claim(owner, value, fields, name))

    def where(self, keep: Callable[[Claim], bool]) -> Claims:
        """Those that pass: for lists that may name what a snapshot leaves out."""
        kept = Claims(self.owner_kind, self.value_kind)
        kept.claims = [claim for claim in self.claims if keep(claim)]
        return kept

    def settle(
        self,
        owners: Container[str] | None = None,
        values: Container[str] | None = None,
        *,
        one_owner: bool = False,
    ) -> dict[str, str]:
        """Key of the owner -> key of its value.

        ``owners`` and ``values`` hold the keys that exist (None: not asked); with
        ``one_owner`` a value belongs to at most one owner.
        """
        settled: dict[str, tuple[str, Claim]] = {}
        owned: dict[str, tuple[str, Claim]] = {}
        for claim in self.claims:
            owner, value = key(claim.owner), key(claim.value)
            if values is not None and value not in values:
                raise missing(claim.fields, claim.name, self.value_kind, claim.value)
            if owners is not None and owner not in owners:
                raise missing(claim.fields, claim.name, self.owner_kind, claim.owner)
            other_value, other = settled.setdefault(owner, (value, claim))
            if other_value != value:
                raise _contradiction(
                    claim, other, f"{self.value_kind} of {plain(claim.owner)}", claim.value, other.value
                )
            if one_owner:
                first_owner, first = owned.setdefault(value, (owner, claim))
                if first_owner != owner:
                    raise _contradiction(
                        claim, first, f"{self.owner_kind} of {plain(claim.value)}", claim.owner, first.owner
                    )
        return {owner: value for owner, (value, _) in settled.items()}


def missing(fields: Fields, name: str, kind: str, arm_id: str) -> SnapshotError:
    """The error for a reference to what the snapshot does not hold; names both."""
    return SnapshotError(
        f"{fields.at(name)}: refers to {kind} {plain(arm_id)}, which is not in the snapshot",
        hint="add that resource to the snapshot, or remove the reference",
    )


def _contradiction(claim: Claim, other: Claim, what: str, one: str, two: str) -> SnapshotError:
    return SnapshotError(
        f"{claim.place}: contradicts {other.place}: the {what} is {plain(one)} by the one"
        f" and {plain(two)} by the other"
    )
