"""However a command ends, no agent of its stays on a VM; and a VM in a bad state is told clearly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from harness.agent.contract import CaptureFilter, RequestError
from harness.agent.contract_sweep import SweepGroup
from harness.environment import load_environment
from harness.errors import AgentError
from harness.model import Outcome, Protocol
from harness.transport.session import Sessions
from lab.client import Lab
from tests.lab.conftest import Command, eventually

pytestmark = pytest.mark.lab(rootless=True)

SOURCE, TARGET = "web-01", "db-01"
AGENT = "azreach[-]agent"
"""In the agent's command line, and not in that of who looks for it."""

Script = Callable[..., str]


@pytest.fixture(scope="module")
def on_vm(three_tier: Lab, lab_command: Command) -> Script:
    """Runs a shell script as root of a VM; its output."""

    def run(script: str, vm: str = SOURCE) -> str:
        done = lab_command("exec", three_tier.name, vm, "--", "sh", "-c", script)
        return done.stdout + done.stderr

    return run


@pytest.fixture
def sessions(three_tier: Lab) -> Sessions:
    return Sessions(load_environment(three_tier.environment_path))


def agents(on_vm: Script) -> int:
    """How many agents run on both ends."""
    script = f"grep -alE '{AGENT}' /proc/[0-9]*/cmdline 2>/dev/null | wc -l"
    return sum(int(on_vm(script, vm)) for vm in (SOURCE, TARGET))


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ([signal.SIGINT], None),
        ([signal.SIGINT, signal.SIGINT], None),
        ([signal.SIGTERM], -signal.SIGTERM),
        ([signal.SIGKILL], -signal.SIGKILL),
    ],
    ids=["ctrl-c", "ctrl-c twice", "terminated", "killed"],
)
def test_no_agent_is_left(
    three_tier: Lab, on_vm: Script, how: list[signal.Signals], status: int | None
) -> None:
    assert agents(on_vm) == 0
    words = ["probe", SOURCE, f"{TARGET}:1433/tcp", "--duration", "600", "--lab", three_tier.name]
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as command:
        eventually(lambda: agents(on_vm) == 2, "no agent ever ran")
        for number in how:
            os.killpg(command.pid, number)
        out, err = command.communicate(timeout=60)
    assert "Traceback" not in err
    if status is not None:
        assert command.returncode == status
    if how == [signal.SIGINT]:
        # what was measured so far is shown, if anything was
        assert (command.returncode, "connected" in out) in ((0, True), (130, False))
    eventually(lambda: agents(on_vm) == 0, "an agent is left on a VM")


def test_killed_sshd_on_the_vm(sessions: Sessions, on_vm: Script) -> None:
    with sessions:
        session = sessions.get(SOURCE)
        under_way = session.submit("run", argv=["sleep", "60"], timeout_ms=60000)
        on_vm("pkill -KILL sshd")
        with pytest.raises(AgentError, match=rf"{SOURCE}: "):
            under_way.result(20)
        assert sessions.get(SOURCE) is not session  # the next one starts clean
        assert sessions.agent(SOURCE).run("true").exit_code == 0
    eventually(lambda: agents(on_vm) == 0, "an agent is left on a VM")


def test_killed_agent_in_the_middle(sessions: Sessions, on_vm: Script) -> None:
    with sessions:
        agent = sessions.agent(SOURCE)
        pending = agent.start_sweep([SweepGroup(("203.0.113.9",), (1, 2, 3))], timeout=60)
        on_vm(f"kill -KILL {agent.facts().pid}")
        with pytest.raises(AgentError, match=rf"{SOURCE}: the agent died"):
            pending.result()
        assert sessions.agent(SOURCE).facts().pid != agent.facts().pid
    eventually(lambda: agents(on_vm) == 0, "an agent is left on a VM")


def test_full_disk(sessions: Sessions, on_vm: Script) -> None:
    """The agent writes nothing, so it works where nothing can be written."""
    places = ("/tmp", "/var/tmp", "/root")
    for place in places:
        on_vm(f"mount -t tmpfs -o size=4k none {place} && head -c 1M /dev/zero > {place}/full")
    try:
        with sessions:
            agent = sessions.agent(SOURCE)
            assert agent.run("sh", "-c", "echo x > /tmp/full2").exit_code != 0
            handle = agent.capture(CaptureFilter(Protocol.TCP)).handle
            found = agent.sweep([SweepGroup(("10.0.3.4",), (1433,))])
            assert found.outcomes == (Outcome.CONNECTED,)
            assert agent.capture_stop(handle).records
    finally:
        for place in places:
            on_vm(f"umount {place}")


def test_no_more_processes(sessions: Sessions) -> None:
    """A full process table: what needs a process is refused, the rest goes on."""
    environment = sessions.environment
    machine = environment.machines[SOURCE]
    plain = machine.model_copy(update={"ssh": machine.ssh.model_copy(update={"user": "azureuser"})})
    with Sessions(environment.model_copy(update={"machines": {SOURCE: plain}})) as pool:
        agent = pool.agent(SOURCE)
        assert agent.run("prlimit", "--nproc=1:1", "--pid", str(agent.facts().pid)).exit_code == 0
        with pytest.raises(RequestError, match="cannot run 'true': EAGAIN"):
            agent.run("true")
        with pytest.raises(RequestError, match="no process for the probes"):
            agent.sweep([SweepGroup(("127.0.0.1",), (1,))])
        assert agent.hello().pid == agent.facts().pid
