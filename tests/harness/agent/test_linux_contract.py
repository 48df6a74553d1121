"""The Linux agent keeps the contract, on every Python that is found here."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.agent.contract import CaptureFilter, ErrorKind, RequestError
from harness.errors import AgentError
from harness.model import Protocol
from harness.transport.process import ProcessConnection
from harness.transport.session import Session
from tests.harness.agent.contract_suite import CHECKS, Check, Rig


def interpreters() -> list[str]:
    """One interpreter per version from 3.6 on: those in PATH, and those that pyenv installed."""
    candidates = [shutil.which(name) for name in ("python3", *(f"python3.{minor}" for minor in range(6, 20)))]
    installed = sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3"))
    found: dict[str, str] = {}
    for path in ["/usr/bin/python3", *candidates, *map(str, installed)]:
        if path is None or not Path(path).exists():
            continue
        command = [path, "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode == 0 and tuple(map(int, asked.stdout.split("."))) >= (3, 6):
            found.setdefault(asked.stdout.strip(), path)
    return [found[version] for version in sorted(found, key=lambda v: int(v.split(".")[1]))]


@pytest.fixture(scope="module", params=interpreters(), ids=lambda path: path)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with Session("here", ProcessConnection("here"), python=request.param) as session:
        yield Rig(session, raw=lambda data: session._process.send(data, 5.0))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.replace("_", "-"))
def test_contract(rig: Rig, check: Check) -> None:
    check(rig)


@pytest.fixture(scope="module")
def unprivileged() -> Iterator[Rig]:
    """The same agent as a user who may nothing."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("needs root and setpriv, to give root up")
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    prefix = (setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--")
    with Session("here", ProcessConnection("here", prefix), python=python) as session:
        yield Rig(session, raw=lambda data: session._process.send(data, 5.0))


UNPRIVILEGED = [check for check in CHECKS if not check.__name__.startswith("icmp")]


@pytest.mark.parametrize("check", UNPRIVILEGED, ids=lambda check: check.__name__.replace("_", "-"))
def test_contract_without_privilege(unprivileged: Rig, check: Check) -> None:
    check(unprivileged)


def test_what_privilege_is_needed_for(unprivileged: Rig) -> None:
    agent = unprivileged.agent
    hello = agent.facts()
    assert not hello.root
    assert not hello.can_capture
    with pytest.raises(RequestError, match="CAP_NET_RAW") as caught:
        agent.capture(CaptureFilter(Protocol.TCP))
    assert caught.value.kind is ErrorKind.PERMISSION
    with pytest.raises(RequestError, match="CAP_NET_RAW") as caught:
        agent.icmp("127.0.0.1", methods=["raw"])
    assert caught.value.kind is ErrorKind.PERMISSION
    with pytest.raises(RequestError) as caught:
        agent.read("/etc/shadow")
    assert caught.value.kind is ErrorKind.PERMISSION


def test_it_ends_when_its_input_closes() -> None:
    session = Session("here", ProcessConnection("here"))
    opened = session.agent.listen(Protocol.TCP, address="127.0.0.1")
    assert opened.port
    process = session._process
    session.close()
    assert process.exit_status(5.0) == 0


def test_it_ends_on_quit() -> None:
    with Session("here", ProcessConnection("here")) as session:
        session.agent.quit()
        assert session._process.exit_status(5.0) == 0


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="no prlimit on this machine")
def test_more_targets_than_descriptors() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1000) as server,
        Session("here", ProcessConnection("here", ("prlimit", "--nofile=120:120"))) as session,
    ):
        assert session.agent.facts().nofile == 120
        target = {"address": "127.0.0.1", "port": server.getsockname()[1]}
        # Each takes what the limit leaves; together they want more than there is.
        requests = [
            session.submit("tcp", targets=[target] * 200, timeout_ms=5000, hold_ms=20, abort=True)
            for _ in range(4)
        ]
        for request in requests:
            outcomes = {row["outcome"] for row in request.result(60)["results"]}
            assert outcomes <= {"connected", "reset"}


def test_a_command_ends_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    os.mkfifo(told)
    with Session("here", ProcessConnection("here")) as session:
        agent = session.agent.facts().pid
        future = session.submit("run", argv=["sh", "-c", f"echo $$ > {told}; exec sleep 300"])
        command = os.pidfd_open(int(told.read_text()))
        try:
            os.kill(agent, signal.SIGKILL)
            with pytest.raises(AgentError):
                future.result(30)
            ended, _, _ = select.select([command], [], [], 30)
            assert ended
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(command, signal.SIGKILL)
            os.close(command)


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """A child process of ours, stopped meanwhile."""
    os.kill(process, signal.SIGSTOP)
    os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_what_a_capture_lost_is_in_its_last_report() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
        Session("here", ProcessConnection("here")) as session,
    ):
        agent = session.agent
        if not agent.facts().can_capture:
            pytest.skip("needs CAP_NET_RAW")
        target.bind(("127.0.0.1", 0))
        port = target.getsockname()[1]
        wanted = CaptureFilter(Protocol.UDP, local=("127.0.0.1",), ports=(port,))
        capture = agent.capture(wanted, loopback=True, limit=100_000)
        with stopped(agent.facts().pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
            for _ in range(400):
                source.sendto(bytes(50_000), ("127.0.0.1", port))
        report = agent.capture_stop(capture.handle)
        assert report.dropped > 0
        # Seen as it went out and as it came in.
        assert len(report.records) + report.dropped == 800
