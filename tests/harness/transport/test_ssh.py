"""SSH connections against a real sshd: log-in, host keys, failures, each with one clear message."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness.errors import AuthenticationError, HostKeyError, TransportError
from harness.transport.session import Session
from harness.transport.ssh import connect
from tests.harness.transport.sshd import Sshd, make_key

UNUSED = "192.0.2.1"  # TEST-NET-1: nobody is there


def one_clear_message(error: TransportError) -> str:
    text = str(error)
    assert "Traceback" not in text
    assert text.startswith("box: ")
    return text


def test_proxy_command(sshd: Sshd) -> None:
    with Session("box", connect("box", sshd.ssh())) as session:
        assert session.agent.hello().protocol == 1
        assert session.agent.run("echo", "hi").stdout == "hi\n"


def test_daemon(sshd: Sshd) -> None:
    with sshd.daemon() as (port, _):
        ssh = sshd.ssh(
            host="127.0.0.1",
            port=port,
            proxy_command=None,
            known_hosts=sshd.known_hosts(f"[127.0.0.1]:{port}"),
        )
        with Session("box", connect("box", ssh)) as session:
            assert session.agent.hello().protocol == 1


@pytest.mark.parametrize(
    ("kind", "passphrase"), [("rsa", ""), ("ecdsa", ""), ("ed25519", "open sesame"), ("rsa", "open sesame")]
)
def test_kinds_of_keys(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, passphrase: str
) -> None:
    key = make_key(tmp_path / "key", kind, passphrase)
    config = sshd.config(f"config-{kind}-{len(passphrase)}", AuthorizedKeysFile=str(tmp_path / "key.pub"))
    monkeypatch.setenv("KEY_PASSPHRASE", passphrase)
    ssh = sshd.ssh(
        key_file=key,
        key_passphrase={"env": "KEY_PASSPHRASE"} if passphrase else None,
        proxy_command=sshd.proxy_command(config),
    )
    connect("box", ssh).close()


def test_host_key_alias(sshd: Sshd) -> None:
    ssh = sshd.ssh(host="elsewhere", host_key_alias="alias", known_hosts=sshd.known_hosts("alias"), port=2222)
    connect("box", ssh).close()


def test_missing_host_key(sshd: Sshd, tmp_path: Path) -> None:
    ssh = sshd.ssh(known_hosts=tmp_path / "absent")
    with pytest.raises(HostKeyError) as caught:
        connect("box", ssh)
    text = one_clear_message(caught.value)
    assert "is not in" in text
    assert re.search(r"SHA256:\S{43}", text)
    assert sshd.host_key in text


def test_missing_host_key_of_a_plain_host_hints_at_ssh_keyscan(sshd: Sshd, tmp_path: Path) -> None:
    with sshd.daemon() as (port, _):
        ssh = sshd.ssh(host="127.0.0.1", port=port, proxy_command=None, known_hosts=tmp_path / "absent")
        with pytest.raises(HostKeyError, match=rf"ssh-keyscan -p {port} 127\.0\.0\.1 >> "):
            connect("box", ssh)


def test_changed_host_key(sshd: Sshd, tmp_path: Path) -> None:
    other = " ".join(make_key(tmp_path / "other").with_suffix(".pub").read_text().split()[:2])
    with pytest.raises(HostKeyError) as caught:
        connect("box", sshd.ssh(known_hosts=sshd.known_hosts("box", key=other)))
    text = one_clear_message(caught.value)
    assert "HAS CHANGED" in text
    assert "ssh-keygen -f" in text


def test_host_key_of_another_type_counts_as_changed(sshd: Sshd, tmp_path: Path) -> None:
    other = " ".join(make_key(tmp_path / "other", "rsa").with_suffix(".pub").read_text().split()[:2])
    with pytest.raises(HostKeyError, match="HAS CHANGED"):
        connect("box", sshd.ssh(known_hosts=sshd.known_hosts("box", key=other)))


def test_wrong_key(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError) as caught:
        connect("box", sshd.ssh(key_file=make_key(tmp_path / "wrong")))
    text = one_clear_message(caught.value)
    assert f"refused {sshd.user}" in text
    assert "the host offers publickey" in text


def test_wrong_password_is_never_shown(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("WRONG_PASSWORD", "hunter2-hunter2")
    config = sshd.config("config-password", PasswordAuthentication="yes")
    ssh = sshd.ssh(
        key_file=None, password={"env": "WRONG_PASSWORD"}, proxy_command=sshd.proxy_command(config)
    )
    with pytest.raises(AuthenticationError) as caught:
        connect("box", ssh)
    text = one_clear_message(caught.value)
    assert "password" in text
    assert "hunter2" not in text + caplog.text


def test_encrypted_key_without_passphrase(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError, match=r"is encrypted[\s\S]*key_passphrase"):
        connect("box", sshd.ssh(key_file=make_key(tmp_path / "locked", passphrase="secret")))


def test_wrong_passphrase(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASE", "not this one")
    key = make_key(tmp_path / "locked", passphrase="secret")
    with pytest.raises(AuthenticationError, match="passphrase is wrong"):
        connect("box", sshd.ssh(key_file=key, key_passphrase={"env": "PHRASE"}))


@pytest.mark.parametrize("content", [None, "", "not a key\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_unusable_key_file(sshd: Sshd, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AuthenticationError, match=str(path)):
        connect("box", sshd.ssh(key_file=path))


def test_no_key_at_all(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(AuthenticationError, match="the SSH agent has no key"):
        connect("box", sshd.ssh(key_file=None))


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="no ssh-agent on this machine")
def test_key_from_the_ssh_agent(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.sock"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as agent:
        try:
            while not path.exists():
                time.sleep(0.01)
            wrong = make_key(tmp_path / "wrong")
            for key in (wrong, sshd.directory / "user_key"):
                subprocess.run(["ssh-add", "-q", str(key)], check=True, stderr=subprocess.DEVNULL)
            connect("box", sshd.ssh(key_file=None)).close()
        finally:
            agent.terminate()


def direct(sshd: Sshd, host: str, port: int, timeout: float = 0.5) -> None:
    connect("box", sshd.ssh(host=host, port=port, proxy_command=None, connect_timeout=timeout))


def test_refused(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TransportError, match=rf"127\.0\.0\.1 port {port} refused the connection"):
        direct(sshd, "127.0.0.1", port)


def test_name_that_does_not_resolve(sshd: Sshd) -> None:
    with pytest.raises(TransportError, match=r"does not resolve|did not resolve"):
        direct(sshd, "no-such-host.invalid", 22, timeout=5)


def test_silent_host_is_given_up_in_time(sshd: Sshd) -> None:
    with socket.socket() as full:
        # A listening socket whose queue is full answers no SYN.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        with pytest.raises(TransportError, match=r"did not answer within 0.5 s"):
            direct(sshd, "127.0.0.1", address[1])
        for filler in fillers:
            filler.close()


def test_no_banner(sshd: Sshd) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(TransportError, match=r"sent no SSH banner within 0.5 s"),
    ):
        direct(sshd, "127.0.0.1", server.getsockname()[1])


def serve_once(server: socket.socket, data: bytes) -> threading.Thread:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_another_service(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = serve_once(server, b"220 mail.example ESMTP\r\n" * 200)
        with pytest.raises(TransportError, match=r"does not speak SSH|before the SSH banner"):
            direct(sshd, "127.0.0.1", server.getsockname()[1], timeout=3)
        thread.join()


def test_closed_before_the_banner(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = serve_once(server, b"")
        with pytest.raises(TransportError, match="closed the connection before the SSH banner"):
            direct(sshd, "127.0.0.1", server.getsockname()[1], timeout=3)
        thread.join()


def test_proxy_command_that_fails_says_why(sshd: Sshd) -> None:
    ssh = sshd.ssh(proxy_command=("sh", "-c", "echo tunnel is down >&2; exit 7"))
    with pytest.raises(TransportError, match=r"'sh' ended with status 7: tunnel is down"):
        connect("box", ssh)


def test_proxy_command_that_does_not_exist(sshd: Sshd) -> None:
    with pytest.raises(TransportError, match="'/no/such/proxy' cannot run"):
        connect("box", sshd.ssh(proxy_command=("/no/such/proxy",)))


def test_killed_sshd(sshd: Sshd) -> None:
    ssh = sshd.ssh()
    connection = connect("box", ssh)
    assert connection._proxy is not None
    with Session("box", connection) as session:
        future = session.submit("run", argv=["sleep", "30"], timeout_ms=60000)
        # the whole of it: from OpenSSH 9.8 on a session is a process of its own under sshd
        os.killpg(connection._proxy._child.pid, signal.SIGKILL)
        with pytest.raises(Exception, match="the agent died"):
            future.result(20)
        assert not session.alive


def test_no_process_is_left(sshd: Sshd) -> None:
    connection = connect("box", sshd.ssh())
    with Session("box", connection) as session:
        pid = session.agent.hello().pid
    assert connection._proxy is not None
    assert connection._proxy._child.returncode is not None
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()
