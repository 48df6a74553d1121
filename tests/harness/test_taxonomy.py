"""Every cause has its row, and rows fill in what a diagnosis knows."""

from __future__ import annotations

import pytest

from harness.errors import UnknownNameError
from harness.model import Cause, Step
from harness.taxonomy import STEP_TITLES, TAXONOMY, causes_of, find_cause, fix


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_explained_recognised_and_mended(cause: Cause) -> None:
    row = TAXONOMY[cause]
    assert row.explanation.endswith(".")
    assert row.recognised_by
    assert row.fix
    assert row in causes_of(cause.step)
    assert find_cause(cause.value) is row


def test_every_step_has_a_title() -> None:
    assert set(STEP_TITLES) == set(Step)


def test_a_cause_is_found_by_its_last_part() -> None:
    assert find_cause("route-to-none").cause is Cause.ROUTE_TO_NONE
    with pytest.raises(UnknownNameError, match="azreach causes"):
        find_cause("gremlins")


def test_what_is_known_is_filled_in_and_the_rest_stays_visible() -> None:
    lines = fix(Cause.NO_PROCESS, {"target": "db-01"})
    assert "on db-01" in lines[0]
    assert "<service>" in lines[1]
