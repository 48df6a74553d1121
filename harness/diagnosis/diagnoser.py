"""Diagnoses flows of one environment: opens the sessions, collects, judges.

The entry for everybody: command line, pytest plugin, scenarios. One object keeps its
connections for as long as it is open and may be used from several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from harness.diagnosis.azure_view import AzureView
from harness.diagnosis.collect import Collector
from harness.diagnosis.judge import judge
from harness.diagnosis.store import DiagnosisStore
from harness.environment import Environment
from harness.model import Diagnosis, Flow
from harness.probe.repeat import Schedule
from harness.transport.session import Sessions


def _say_nothing(what: str) -> None:
    del what


class Diagnoser:
    """``allow_disruptive`` None: as the environment file says. ``timeout``: seconds of silence that count.

    With a ``schedule`` a flow that works is probed again, to see whether it works every time.
    With a ``store`` each flow is diagnosed once, and every later question gets the same answer.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        allow_disruptive: bool | None = None,
        timeout: float = 2.0,
        store: DiagnosisStore | None = None,
        progress: Callable[[str], None] = _say_nothing,
        schedule: Schedule | None = None,
    ) -> None:
        self._sessions = Sessions(environment)
        self._store = store
        self._collector = Collector(
            environment,
            self._sessions,
            AzureView(environment),
            allow_disruptive=environment.allow_disruptive if allow_disruptive is None else allow_disruptive,
            timeout=timeout,
            progress=progress,
            schedule=schedule,
        )

    def diagnose(self, flow: Flow) -> Diagnosis:
        """The diagnosis of ``flow``.

        Raises TransportError or AgentError if its source cannot be used, UnknownNameError for a
        source that is no machine, SnapshotError for a snapshot that cannot be read.
        """
        if self._store is not None:
            return self._store.get(flow, lambda: judge(self._collector.collect(flow)))
        return judge(self._collector.collect(flow))

    def close(self) -> None:
        """Ends every agent and connection."""
        self._sessions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
