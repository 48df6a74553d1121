"""Which flows a test is run for: the marks ``flows`` and ``declared_flows``, read at collection.

Only the environment file is read; no machine is touched. Not for what is done with a flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.assertions import flow_between
from harness.errors import AzreachError, InputError
from harness.model import Flow

if TYPE_CHECKING:
    from harness.environment import Environment

MARKS = (
    "flows(source, target, tcp=PORT | udp=PORT | icmp=True): runs the test once for each pair of machines"
    " that the globs match, as fixture 'flow'",
    "declared_flows: runs the test once for each flow of the environment file, as fixture 'declared'",
)


def parametrize_flows(metafunc: pytest.Metafunc, environment: Environment | None) -> None:
    """Fills in ``flow`` and ``declared`` of a marked test; raises UsageError for a mark that fits nothing."""
    marks = list(metafunc.definition.iter_markers("flows"))
    try:
        if "flow" in metafunc.fixturenames and marks:
            known = _needed(environment)
            flows = [flow for mark in reversed(marks) for flow in _expanded(mark, known)]
            metafunc.parametrize("flow", flows, ids=[flow_id(flow) for flow in flows])
        if "declared" in metafunc.fixturenames and metafunc.definition.get_closest_marker("declared_flows"):
            declared = _needed(environment).expected_flows()
            metafunc.parametrize("declared", declared, ids=[flow_id(item.flow) for item in declared])
    except AzreachError as error:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: {error}") from error


def flow_id(flow: Flow) -> str:
    """The flow as part of a test's id: ``web-01->db-01:1433/tcp``."""
    family = "/ipv6" if flow.family == 6 else ""
    return str(flow).replace(" ", "") + family


def _needed(environment: Environment | None) -> Environment:
    if environment is None:
        raise InputError(
            "no environment: give --env FILE or --lab NAME, set azreach_env in the ini file or $AZREACH_ENV"
        )
    return environment


def _expanded(mark: pytest.Mark, environment: Environment) -> list[Flow]:
    if len(mark.args) != 2:
        raise InputError("@pytest.mark.flows needs a source and a target: flows('web-*', 'db-01', tcp=1433)")
    source, target = (str(argument) for argument in mark.args)
    sides = []
    for pattern in (source, target):
        names = environment.matching(pattern)
        if not names:
            known = ", ".join(list(environment.machines)[:20])
            raise InputError(f"'{pattern}' matches no machine", hint=f"the environment has: {known}")
        sides.append(names)
    return [flow_between(a, b, **mark.kwargs) for a in sides[0] for b in sides[1] if a != b]
