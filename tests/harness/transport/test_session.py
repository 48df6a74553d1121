"""Sessions: agents that misbehave, machines that cannot run one, and the pool."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.agent import bootstrap
from harness.agent.contract import Hello, parse
from harness.agent.linux.agent import SILENCE
from harness.environment import Environment, Machine, Ssh
from harness.errors import (
    AgentError,
    AuthenticationError,
    AzreachError,
    HostKeyError,
    InputError,
    TransportError,
    UnknownNameError,
)
from harness.transport import resident
from harness.transport.base import Process
from harness.transport.process import LocalProcess, ProcessConnection
from harness.transport.session import Session, Sessions
from harness.transport.ssh import connect
from tests.harness.transport.sshd import Sshd, make_key

# An agent that reports ready as it should, and then does what is put in the place of BEHAVIOUR.
IMPOSTOR = """
import sys
line = sys.stdin.buffer.readline().split()
sys.stdin.buffer.read(int(line[0]))
print("azreach-agent-ready 1", line[1].decode(), flush=True)
request = sys.stdin.buffer.readline()
BEHAVIOUR
"""


class Impostor(ProcessConnection):
    """A connection that starts something else in the agent's place."""

    def __init__(self, script: str) -> None:
        super().__init__("box")
        self.script = script

    def start(self, command: str) -> LocalProcess:
        return super().start(f"{shlex.quote(sys.executable)} -c {shlex.quote(self.script)}")


def impostor(behaviour: str) -> Session:
    return Session("box", Impostor(IMPOSTOR.replace("BEHAVIOUR", behaviour)))


@pytest.mark.parametrize(
    "line",
    [
        "what?",
        "[]",
        "{}",
        '{"ok": true}',
        '{"id": 1, "ok": "yes"}',
        '{"id": null, "ok": false, "error": {}}',
        '{"id": 1, "ok": true, "result": 3}',
    ],
)
def test_garbage(line: str) -> None:
    with impostor(f"print({line!r}, flush=True); sys.stdin.read()") as session:
        with pytest.raises(AgentError, match=r"box: .*out of protocol"):
            session.request("hello", timeout=20)
        assert not session.alive
        with pytest.raises(AgentError, match="out of protocol"):
            session.request("hello")


def test_never_answers() -> None:
    with impostor("sys.stdin.read()") as session:
        with pytest.raises(AgentError, match=r"did not answer 'hello' within 0.2 s"):
            session.request("hello", timeout=0.2)
        assert not session.alive


def test_no_sign_of_life_is_noticed_long_before_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "SIGN_OF_LIFE", 0.1)
    with impostor("sys.stdin.read()") as session:
        with pytest.raises(AgentError, match=r"gave no sign of life for 0.2 s"):
            session.request("hello", timeout=3600)
        assert not session.alive


def test_an_operation_may_take_long_while_the_agent_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    with Session("box", ProcessConnection("box")) as session:
        monkeypatch.setattr(resident, "SIGN_OF_LIFE", 0.3)
        assert session.agent.run("sleep", "1.5").exit_code == 0


def test_dies_and_leaves_a_last_word() -> None:
    behaviour = "print('out of memory', file=sys.stderr, flush=True); sys.exit(9)"
    with impostor(behaviour) as session:
        futures = [session.submit("hello") for _ in range(3)]
        for future in futures:
            with pytest.raises(AgentError, match=r"the agent died \(status 9\); it wrote: out of memory"):
                future.result(20)


def test_killed_agent() -> None:
    with Session("box", ProcessConnection("box")) as session:
        future = session.submit("run", argv=["sleep", "30"], timeout_ms=60000)
        os.kill(session.agent.hello().pid, signal.SIGKILL)
        with pytest.raises(AgentError, match="the agent died"):
            future.result(20)


def test_answer_that_does_not_fit_names_machine_and_field() -> None:
    answer = '{"id": 1, "ok": true, "result": {"protocol": 1}}'
    with (
        impostor(f"print({answer!r}, flush=True); sys.stdin.read()") as session,
        pytest.raises(AgentError, match=r"box: .*'hello' does not fit the contract: platform"),
    ):
        session.agent.hello()
    good = Hello(1, "linux", "3.11.2", "6.1", "box", 1, 0, 0, 1024, 0.0)
    fields = {name: getattr(good, name) for name in Hello.__slots__}
    with pytest.raises(AgentError, match=r"box: .*clock"):
        parse(Hello, {**fields, "clock": "noon"}, machine="box", op="hello")


def test_ends_before_it_is_ready() -> None:
    with pytest.raises(AgentError, match=r"box: the agent ended with status 3 before it was ready: no luck"):
        Session("box", Impostor("import sys; print('no luck', file=sys.stderr); sys.exit(3)"))


def test_never_ready() -> None:
    with pytest.raises(AgentError, match=r"did not start within 0.3 s"):
        Session("box", Impostor("import sys; sys.stdin.read()"), timeout=0.3)


def test_a_megabyte_of_noise_without_a_last_newline() -> None:
    noise = 'import sys; print("motd\\n" * 200000, end="tail"); print("x" * 300000, file=sys.stderr)\n'
    with Session("box", Impostor(noise + IMPOSTOR.replace("BEHAVIOUR", "sys.stdin.read()"))) as session:
        assert session.alive


def test_closed_session_refuses() -> None:
    session = Session("box", ProcessConnection("box"))
    session.close()
    session.close()
    with pytest.raises(AgentError, match="closed"):
        session.request("hello")


def test_from_many_threads() -> None:
    with Session("box", ProcessConnection("box")) as session:

        def ask(number: int) -> str:
            return session.agent.run("echo", str(number)).stdout

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(ask, range(100))) == [f"{number}\n" for number in range(100)]


def test_process_that_takes_no_input() -> None:
    process: Process = LocalProcess("box", ["sleep", "60"])
    with pytest.raises(TimeoutError):
        process.send(b"x" * 10_000_000, 0.1)
    assert isinstance(process, LocalProcess)
    os.killpg(process.pid, signal.SIGKILL)
    process.close()
    process.release()


# over a real sshd


def test_noisy_profile(sshd: Sshd) -> None:
    home = sshd.directory / "noisy-home"
    home.mkdir()
    noise = (
        "yes 'Authorized uses only' | head -c 1000000; echo stty: not a terminal >&2; printf 'no newline'\n"
    )
    for name in (".bashrc", ".profile", ".zshenv"):
        (home / name).write_text(noise)
    (sshd.directory / "banner").write_text("All activity may be monitored and reported.\n" * 50)
    config = sshd.config("config-noisy", SetEnv=f"HOME={home}", Banner=str(sshd.directory / "banner"))
    ssh = sshd.ssh(proxy_command=sshd.proxy_command(config))
    with Session("box", connect("box", ssh)) as session:
        assert session.agent.hello().protocol == 1


def test_no_python3_on_the_machine(sshd: Sshd, tmp_path: Path) -> None:
    config = sshd.config("config-nopath", SetEnv=f'PATH={tmp_path} "HOME={sshd.directory / "home"}"')
    ssh = sshd.ssh(proxy_command=sshd.proxy_command(config))
    with pytest.raises(AgentError, match=r"box: there is no python3 on the machine"):
        Session("box", connect("box", ssh))


def test_pool_opens_once_and_concurrently(sshd: Sshd) -> None:
    names = [f"vm{number}" for number in range(4)]
    with Sessions(sshd.environment(**{name: sshd.ssh() for name in names})) as sessions:
        opened = sessions.open_many([*names, "vm0"])
        assert list(opened) == names
        assert all(isinstance(session, Session) and session.alive for session in opened.values())
        again: list[Session] = []
        threads = [threading.Thread(target=lambda: again.append(sessions.get("vm1"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(again) == {opened["vm1"]}
    assert not any(session.alive for session in opened.values() if isinstance(session, Session))
    with pytest.raises(InputError):
        sessions.get("vm0")


def test_pool_replaces_a_dead_session(sshd: Sshd) -> None:
    with Sessions(sshd.environment(box=sshd.ssh())) as sessions:
        first = sessions.get("box")
        first.close()
        second = sessions.get("box")
        assert second is not first
        assert second.alive


def test_pool_remembers_and_forgets_failures(sshd: Sshd, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    with Sessions(sshd.environment(box=sshd.ssh(known_hosts=empty), good=sshd.ssh())) as sessions:
        opened = sessions.open_many(["box", "good"])
        assert isinstance(opened["box"], HostKeyError)
        assert isinstance(opened["good"], Session)
        empty.write_text(f"box {sshd.host_key}\n")
        with pytest.raises(HostKeyError):
            sessions.get("box")
        sessions.forget("box")
        assert sessions.get("box").alive


def test_pool_knows_only_its_machines(sshd: Sshd) -> None:
    with Sessions(sshd.environment(box=sshd.ssh())) as sessions, pytest.raises(UnknownNameError):
        sessions.get("no-such-vm")


def test_jump_hosts(sshd: Sshd) -> None:
    with sshd.daemon() as (port, _):
        known = sshd.known_hosts(f"[127.0.0.1]:{port}", "box")
        inner = {"host": "127.0.0.1", "port": port, "proxy_command": None, "known_hosts": known}
        environment = sshd.environment(
            bastion=sshd.ssh(known_hosts=known),
            inner=sshd.ssh(**inner, jump="bastion"),
            inmost=sshd.ssh(**inner, jump="inner"),
            adhoc=sshd.ssh(**inner, jump=f"{sshd.user}@127.0.0.1:{port}"),
            nonsense=sshd.ssh(**inner, jump="who?"),
            dead_end=sshd.ssh(**(inner | {"port": 1}), jump="bastion"),
        )
        with Sessions(environment) as sessions:
            opened = sessions.open_many(environment.machines)
            for name in ("bastion", "inner", "inmost", "adhoc"):
                assert isinstance(opened[name], Session), opened[name]
            messages = {n: str(e) for n, e in opened.items() if isinstance(e, AzreachError)}
            assert "neither a machine" in messages["nonsense"]
            assert isinstance(opened["dead_end"], TransportError)
            assert "jump host" in messages["dead_end"]


def behind(sshd: Sshd, jump: Ssh, count: int, **changes: object) -> Environment:
    """Machines m0, m1 ... that all have ``jump`` in their way."""
    fields = {"host": "127.0.0.1", "port": 1, "proxy_command": None, "jump": "jump", **changes}
    return sshd.environment(jump=jump, **{f"m{number}": sshd.ssh(**fields) for number in range(count)})


def test_a_jump_host_that_refuses_is_asked_once_for_all(sshd: Sshd, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    command = shlex.join(sshd.proxy_command())
    counted = ("sh", "-c", f"echo came >> {tally}; exec {command}")
    stranger = make_key(tmp_path / "stranger")
    with Sessions(behind(sshd, sshd.ssh(proxy_command=counted, key_file=stranger), 20)) as sessions:
        opened = sessions.open_many(sessions.environment.machines)
        assert all(isinstance(error, AuthenticationError) for error in opened.values()), opened
        assert "m7: jump host jump: " in str(opened["m7"])
        with pytest.raises(AuthenticationError):
            sessions.get("m0")
        assert tally.read_text() == "came\n"
        sessions.forget("m0")
        with pytest.raises(AuthenticationError):
            sessions.get("m0")
        assert tally.read_text() == "came\n" * 2


def test_a_silent_jump_host_is_waited_for_once(sshd: Sshd) -> None:
    came = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = {"host": "127.0.0.1", "port": server.getsockname()[1], "proxy_command": None}
        # More machines than are opened at the same time.
        environment = behind(sshd, sshd.ssh(**where, connect_timeout=0.3), 50)
        with Sessions(environment) as sessions:
            opened = sessions.open_many(environment.machines)
        server.setblocking(False)
        with contextlib.suppress(BlockingIOError), contextlib.ExitStack() as accepted:
            while True:
                came.append(accepted.enter_context(server.accept()[0]))
    assert all("sent no SSH banner" in str(error) for error in opened.values())
    assert len(came) == 1


def test_a_circle_of_jump_hosts_ends_whatever_made_it(sshd: Sshd) -> None:
    jumps = {"b": "c", "c": "b", "x": "b", "y": "c"}
    machines = {name: Machine(ssh=sshd.ssh(proxy_command=None, jump=jump)) for name, jump in jumps.items()}
    # The checks of the file refuse it.
    with Sessions(Environment.model_construct(machines=machines)) as sessions:
        opened = sessions.open_many(machines)
    assert all("form a circle" in str(error) for error in opened.values()), opened


def test_a_machine_that_can_be_reached_again_is(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    known = sshd.known_hosts(f"[127.0.0.1]:{port}")
    ssh = sshd.ssh(host="127.0.0.1", port=port, proxy_command=None, known_hosts=known)
    with Sessions(sshd.environment(box=ssh)) as sessions:
        with pytest.raises(TransportError, match="refused the connection"):
            sessions.get("box")
        with sshd.daemon(port=port):
            assert sessions.get("box").alive


# what keeps an agent, and what ends it


def test_an_agent_that_is_asked_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "KEEP_ALIVE", 0.05)
    with impostor("sys.stdin.buffer.readline(); sys.exit(7)") as session:
        # It ends at the second request, and nobody has made any.
        assert session._process.exit_status(30) == 7
    assert resident.KEEP_ALIVE * 2 < SILENCE


def test_an_agent_whose_controller_is_silent_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = bootstrap.source().replace(f"SILENCE = {SILENCE}", "SILENCE = 0.3")
    assert impatient != bootstrap.source()
    monkeypatch.setattr(bootstrap, "_compressed", lambda: zlib.compress(impatient.encode()))
    with (
        Session("box", ProcessConnection("box")) as session,
        pytest.raises(AgentError, match=r"the agent died .*it wrote: .*no request for 0 s"),
    ):
        session.submit("run", argv=["sleep", "300"], timeout_ms=300000).result(30)
