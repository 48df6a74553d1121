"""What the internet reaches of an endpoint, asked one flow at a time by every published address."""

from __future__ import annotations

from harness.errors import InputError
from harness.model import Flow, Protocol
from harness.network.model import key
from harness.policy.classes import Endpoint
from harness.policy.compiled import Compiled
from harness.policy.decision import Explanation
from harness.policy.explain import explain_each
from harness.policy.inbound import Published


class WaysIn:
    """The ways to the endpoints of one network."""

    def __init__(self, view: Compiled) -> None:
        self._view = view
        self._ways: dict[str, list[Published]] = {}
        for way in view.publications.all():
            self._ways.setdefault(key(way.configuration.id), []).append(way)

    def answers(
        self, client: str, target: Endpoint, protocol: Protocol, port: int | None
    ) -> list[Explanation | None]:
        """One for each way to a port of ``target``; None where it cannot be told."""
        return [
            answer
            for way in self._ways.get(key(target.configuration.id), ())
            if way.address is not None and protocol in way.protocols and _leads(way, port)
            for answer in self._asked(client, way, protocol, port)
            if answer is None or answer.target_nic == target.nic.id
        ]

    def allowed(self, client: str, target: Endpoint, protocol: Protocol, port: int | None) -> bool | None:
        """Whether one of the ways lets the client in; None where that cannot be told."""
        answers = self.answers(client, target, protocol, port)
        if any(answer is not None and answer.allowed for answer in answers):
            return True
        return None if None in answers else False

    def _asked(
        self, client: str, way: Published, protocol: Protocol, port: int | None
    ) -> list[Explanation | None]:
        front = way.front_port(port) if port is not None else None
        try:
            return list(explain_each(self._view, Flow(client, str(way.address), protocol, front)))
        except InputError:
            return [None]


def _leads(way: Published, port: int | None) -> bool:
    if way.ports is None:
        return True
    return port is not None and any(first <= port <= last for first, last in way.ports)
