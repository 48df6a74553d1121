"""Many answers at once: the table, JSON lines, and the status that they add up to."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from harness.flows import FileFlow
from harness.model import Flow, Protocol
from harness.policy.compiled import Compiled
from harness.report.explanations import answer_all, print_lines, print_table
from tests.harness.network.builders import nsg
from tests.harness.policy.networks import CLOSED_IN, tiers

ALLOWED = Flow("db-01", "web-01", Protocol.TCP, 80)
DENIED = Flow("web-01", "db-01", Protocol.TCP, 80)
NOBODY = Flow("web-01", "db-09", Protocol.TCP, 80)


def asked(*flows: Flow) -> Iterator[FileFlow]:
    return (FileFlow(f"flows.csv:{number}", flow) for number, flow in enumerate(flows, 2))


@pytest.fixture
def view() -> Compiled:
    return Compiled(tiers(nsg("n", CLOSED_IN), db={"nsg": "n"}))


@pytest.mark.parametrize(
    ("flows", "status"),
    [((), 0), ((ALLOWED,), 0), ((ALLOWED, DENIED), 1), ((NOBODY, DENIED), 2), ((DENIED, NOBODY), 2)],
)
def test_status(
    flows: tuple[Flow, ...], status: int, view: Compiled, capsys: pytest.CaptureFixture[str]
) -> None:
    assert print_table(answer_all(view, asked(*flows), 49152)) == status
    assert print_lines(answer_all(view, asked(*flows), 49152)) == status
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(flows) + 1


def test_table(view: Compiled, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(answer_all(view, asked(ALLOWED, DENIED, NOBODY), 49152))
    assert capsys.readouterr().out.splitlines() == [
        "ALLOW db-01 -> web-01:80/tcp  n/AllowVnetOutBound",
        "DENY  web-01 -> db-01:80/tcp  nsg-udr/nic-nsg-inbound n/deny-rest",
        "ERROR web-01 -> db-09:80/tcp  4: no VM 'db-09' in the snapshot, and it is no IP address",
        "1 allow, 1 deny, 1 error",
    ]


def test_lines(view: Compiled, capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(answer_all(view, asked(DENIED, NOBODY), 49152))
    denied, nobody = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (denied["verdict"], denied["rule"]) == ("deny", "n/deny-rest")
    assert "decisions" not in denied
    assert nobody == {
        "from": "web-01", "to": "db-09", "protocol": "tcp", "port": 80, "verdict": "error",
        "error": "no VM 'db-09' in the snapshot, and it is no IP address", "place": "flows.csv:3",
    }  # fmt: skip


def test_answers_come_one_by_one(view: Compiled) -> None:
    """A file of a million flows is never held whole."""
    read = []

    def flows() -> Iterator[FileFlow]:
        for item in asked(ALLOWED, DENIED):
            read.append(item)
            yield item

    answers = answer_all(view, flows(), 49152)
    assert read == []
    next(answers)
    assert len(read) == 1
