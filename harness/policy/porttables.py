"""What the port of a NIC lets pass, between many addresses at once: admin rules, then NSGs.

The set counterpart of :class:`harness.policy.ports.Ports`, which judges one packet and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.network.model import Direction, NetworkInterface
from harness.policy.classes import Axis
from harness.policy.compiled import Compiled
from harness.policy.portmasks import PortMasks
from harness.policy.security import AnyRuleList
from harness.policy.tables import RuleTable, Walked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    AdminSets = Callable[[Callable[[Walked], int]], NDArray[np.int32] | None]


def _allowed(found: Walked) -> int:
    return found.allowed


def _always(found: Walked) -> int:
    return found.always


class PortTable:
    """The rules of one port in one direction; packets are answers where ``reply`` says so."""

    def __init__(self, admin: RuleTable | None, groups: tuple[RuleTable, ...], masks: PortMasks) -> None:
        self._admin, self._groups, self._masks = admin, groups, masks

    def row(self, source: int) -> tuple[int, ...]:
        """Sources with equal rows have the same sets towards every destination."""
        return tuple(int(table.source.places[source]) for table in self._tables())

    def column(self, destination: int) -> tuple[int, ...]:
        """Destinations with equal columns have the same sets from every source."""
        return tuple(int(table.destination.places[destination]) for table in self._tables())

    def _tables(self) -> tuple[RuleTable, ...]:
        return self._groups if self._admin is None else (self._admin, *self._groups)

    def toward_all(self, source: int) -> NDArray[np.int32] | None:
        """Numbers of the sets that pass to every destination class; None where nothing is judged."""
        return self._joined(
            [table.toward_all(source, _allowed) for table in self._groups],
            lambda of: self._admin.toward_all(source, of) if self._admin else None,
        )

    def from_all(self, destination: int) -> NDArray[np.int32] | None:
        """Numbers of the sets that pass from every source class."""
        return self._joined(
            [table.from_all(destination, _allowed) for table in self._groups],
            lambda of: self._admin.from_all(destination, of) if self._admin else None,
        )

    def pairs(self, sources: NDArray[np.int64], destinations: NDArray[np.int64]) -> NDArray[np.int32] | None:
        """Elementwise."""
        return self._joined(
            [table.all_pairs(sources, destinations, _allowed) for table in self._groups],
            lambda of: self._admin.all_pairs(sources, destinations, of) if self._admin else None,
        )

    def _joined(self, groups: list[NDArray[np.int32]], admin: AdminSets) -> NDArray[np.int32] | None:
        found = None
        for numbers in groups:
            found = numbers if found is None else self._masks.common(found, numbers)
        onward = admin(self._onward)
        always = admin(_always)
        if onward is None or always is None:
            return found
        found = onward if found is None else self._masks.common(found, onward)
        return self._masks.either(found, always)

    def _onward(self, found: Walked) -> int:
        """What admin rules leave to the NSGs."""
        return self._masks.everything & ~found.denied & ~found.always

    def passing(self, source: int, destination: int) -> int:
        """The mask that passes between two classes."""
        found = self._masks.everything
        for table in self._groups:
            found &= table.between(source, destination).allowed
        if self._admin is None:
            return found
        admin = self._admin.between(source, destination)
        return (found & self._onward(admin)) | admin.always

    def explicit(self, source: int, destination: int, *, judged: bool) -> tuple[int, int]:
        """Masks that every NSG, that any NSG allows by a rule which names the other end.

        ``judged``: the NSGs were really asked, so that what admin rules deliver counts as asked nowhere.
        """
        every, some = self._masks.everything, 0
        for table in self._groups:
            walked = table.between(source, destination)
            every &= walked.explicit
            some |= walked.explicit
        if judged and self._admin is not None:
            always = self._admin.between(source, destination).always
            every, some = every | always, some & ~always
        return every, some


class PortTables:
    """All port tables between two axes, made when asked for."""

    def __init__(
        self, view: Compiled, sources: Axis, destinations: Axis, masks: PortMasks, client_port: int
    ) -> None:
        self._view, self.masks, self._client_port = view, masks, client_port
        self._sources, self._destinations = sources, destinations
        self._rules: dict[tuple[int, bool], RuleTable] = {}
        self._ports: dict[tuple[str | None, str, Direction, bool], PortTable] = {}

    def of(self, nic: NetworkInterface, direction: Direction, *, reply: bool = False) -> PortTable:
        identity = (nic.nsg, nic.subnet, direction, reply)
        found = self._ports.get(identity)
        if found is None:
            admin = self._view.admin_rules(nic.subnet, direction)
            found = self._ports[identity] = PortTable(
                self._table(admin, direction, reply) if admin is not None else None,
                tuple(
                    self._table(judge.rules, direction, reply) for judge in self._view.judges(nic, direction)
                ),
                self.masks,
            )
        return found

    def _table(self, rules: AnyRuleList, direction: Direction, reply: bool) -> RuleTable:
        identity = (id(rules), reply)
        found = self._rules.get(identity)
        if found is None:
            axes = (self._sources, self._destinations)
            found = self._rules[identity] = RuleTable(
                rules, direction, *axes, self.masks, self._client_port, reply=reply
            )
        return found
