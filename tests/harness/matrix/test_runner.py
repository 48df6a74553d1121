"""A run against real agents over real SSH log-ins to this machine; the traffic stays on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest

from harness.agent.contract import ErrorKind, RequestError
from harness.commands.matrix import matrix
from harness.environment import Environment
from harness.errors import AgentError
from harness.matrix.asking import Addresses, Answers, Portion
from harness.matrix.journal import Journal
from harness.matrix.question import Ask, Question, build_question
from harness.matrix.runner import Limits, Runner, Unreachable
from harness.matrix.survey import survey
from harness.model import Flow, Outcome, Protocol
from harness.transport.process import ProcessConnection
from harness.transport.session import Session, Sessions
from tests.harness.matrix.samples import tcp
from tests.harness.transport.sshd import Sshd

HERE = "127.0.0.1"
ADDRESSES: Addresses = {(HERE, None): HERE}
FAST = Limits(timeout=0.3)


@pytest.fixture(scope="module")
def open_port() -> Iterator[int]:
    with socket.create_server((HERE, 0), backlog=4096) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    with socket.socket() as bound:  # bound, not listening: nobody else can take it
        bound.bind((HERE, 0))
        yield bound.getsockname()[1]


def echo(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, peer = server.recvfrom(4096)
            if not data:
                return
            server.sendto(data, peer)


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((HERE, 0))
        thread = threading.Thread(target=echo, args=(server,))
        thread.start()
        yield server.getsockname()[1]
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b"", server.getsockname())
        thread.join()


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((HERE, 0))
        yield server.getsockname()[1]


def test_one_portion_of_everything(
    open_port: int, closed_port: int, echo_port: int, silent_port: int
) -> None:
    expected = {
        Flow("box", HERE, Protocol.TCP, open_port): Outcome.CONNECTED,
        Flow("box", HERE, Protocol.UDP, silent_port): Outcome.UNCONFIRMED,
        Flow("box", HERE, Protocol.UDP, echo_port): Outcome.DELIVERED,
        Flow("box", HERE, Protocol.TCP, closed_port): Outcome.REFUSED,
        Flow("box", HERE, Protocol.UDP, closed_port): Outcome.REFUSED,
    }
    with Session("box", ProcessConnection("box")) as session:
        answers = Portion(session, list(expected), ADDRESSES, timeout=0.2).answers()
    assert {found.flow: found.outcome for found in answers.results} == expected
    assert answers.unasked == {}
    assert all(found.address == HERE and found.started > 0 for found in answers.results)


def test_echo_or_the_reason_why_not() -> None:
    flow = Flow("box", HERE, Protocol.ICMP)
    with Session("box", ProcessConnection("box")) as session:
        kind: ErrorKind | None = None
        try:
            session.agent.icmp(HERE, timeout=1.0)
        except RequestError as error:
            kind = error.kind
        answers = Portion(session, [flow], ADDRESSES, timeout=1.0).answers()
    assert kind in (None, ErrorKind.PERMISSION)
    assert [found.outcome for found in answers.results] == [Outcome.CONNECTED] * (kind is None)
    assert list(answers.unasked) == [flow] * (kind is not None)


def test_a_portion_of_a_dead_agent(open_port: int) -> None:
    with Session("box", ProcessConnection("box")) as session:
        os.kill(session.agent.facts().pid, signal.SIGKILL)
        with pytest.raises(AgentError, match="box"):
            Portion(session, [Flow("box", HERE, Protocol.TCP, open_port)], ADDRESSES, timeout=0.2).answers()


def environment(sshd: Sshd, *names: str, broken: str | None = None) -> Environment:
    """Machines that are all this one; ``broken`` cannot be logged in to."""
    machines = {name: sshd.ssh() for name in names}
    if broken is not None:
        machines[broken] = sshd.ssh(proxy_command=("false",))
    return sshd.environment(**machines)


def question(given: Environment, asks: tuple[Ask, ...]) -> Question:
    return build_question(given, targets=[HERE], ports=asks)


def test_a_source_that_is_down_does_not_hold_the_others(
    sshd: Sshd, open_port: int, closed_port: int, tmp_path: Path
) -> None:
    given = environment(sshd, "one", "two", broken="down")
    asked = question(given, tcp(open_port, closed_port))
    with Journal(tmp_path / "journal", asked) as journal:
        found = survey(given, asked, journal, FAST)
    assert {(f.source, f.port): r.outcome for f, r in found.results.items()} == {
        (name, port): outcome
        for name in ("one", "two")
        for port, outcome in ((open_port, Outcome.CONNECTED), (closed_port, Outcome.REFUSED))
    }
    assert list(found.unreachable) == ["down"]
    assert "false" in found.unreachable["down"]
    assert not found.unreachable["down"].startswith("down")
    assert {flow.source for flow in found.unasked} == {"down"}
    with Journal(tmp_path / "journal", asked) as journal:
        assert dict(journal.done) == dict(found.results)


def test_a_full_journal_asks_nobody(sshd: Sshd, open_port: int, tmp_path: Path) -> None:
    given = environment(sshd, "one")
    asked = question(given, tcp(open_port))
    path = tmp_path / "journal"
    with Journal(path, asked) as journal:
        first = survey(given, asked, journal, FAST)
    nobody = sshd.environment(one=sshd.ssh(proxy_command=("false",)))
    with Journal(path, asked) as journal:
        again = survey(nobody, asked, journal, FAST)
    assert again.results == first.results
    assert again.unreachable == {}


def test_an_agent_that_dies_is_started_anew_and_its_portion_asked_again(sshd: Sshd, open_port: int) -> None:
    given = environment(sshd, "one")
    flows = [Flow("one", HERE, Protocol.TCP, open_port)] * 40
    results = 0
    with Sessions(given) as sessions:
        killed = False
        # a rate of 40: four portions a second, so that the agent dies in the middle of them
        for event in Runner(sessions, {"one": flows}, ADDRESSES, Limits(rate=40, timeout=0.3)).run():
            assert isinstance(event, Answers)
            results += len(event.results)
            if not killed:
                os.kill(sessions.get("one").agent.facts().pid, signal.SIGKILL)
                killed = True
    assert results == len(flows)


def test_an_agent_that_never_starts_is_given_up_with_the_reason(sshd: Sshd, open_port: int) -> None:
    config = sshd.config("no_agent", ForceCommand="exit 3")
    given = sshd.environment(one=sshd.ssh(proxy_command=sshd.proxy_command(config)))
    flows = [Flow("one", HERE, Protocol.TCP, open_port)]
    with Sessions(given) as sessions:
        (event,) = Runner(sessions, {"one": flows}, ADDRESSES, FAST).run()
    assert isinstance(event, Unreachable)
    assert "status 3" in event.reason
    assert event.flows == tuple(flows)


def test_who_stops_listening_stops_the_run(sshd: Sshd, open_port: int) -> None:
    given = environment(sshd, "one", "two")
    flows = {name: [Flow(name, HERE, Protocol.TCP, open_port)] * 1000 for name in ("one", "two")}
    with Sessions(given) as sessions:
        events = Runner(sessions, flows, ADDRESSES, Limits(rate=4, timeout=0.3)).run()
        assert isinstance(next(events), Answers)
        events.close()
    for thread in threading.enumerate():
        if thread.name.startswith("matrix "):
            thread.join(30)
            assert not thread.is_alive()


def test_the_command_has_the_same_defaults() -> None:
    defaults = {option.name: option.default for option in matrix.params}
    assert astuple(Limits()) == (defaults["rate"], defaults["parallel"], defaults["timeout"])
