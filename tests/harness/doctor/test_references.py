"""References of an environment file: what exists, what can be read, and where the jump hosts lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.doctor.references import LogIn, endless, jump_problem, parse_log_in, problems_of
from harness.environment import Environment
from harness.errors import InputError
from tests.harness.doctor.machines import machine
from tests.harness.transport.sshd import make_key

GOOD = {
    "azureuser@web-01": LogIn("azureuser", "web-01", 22),
    "root@10.0.0.4:2222": LogIn("root", "10.0.0.4", 2222),
    "root@[fd00::4]:22": LogIn("root", "fd00::4", 22),
    "root@fd00::4": LogIn("root", "fd00::4", 22),
    "root@fe80::1%eth0": LogIn("root", "fe80::1%eth0", 22),
    "me@corp.example@host": LogIn("me@corp.example", "host", 22),
}
BAD = [
    "",
    "web-01",
    "@web-01",
    "root@",
    "root@web:0",
    "root@web:65536",
    "root@web:",
    "root@web:x",
    "r oot@web",
    "root@[fd00::4",
    "root@abc]",
]


@pytest.mark.parametrize("text", GOOD)
def test_log_ins(text: str) -> None:
    assert parse_log_in(text) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_log_in(text: str) -> None:
    with pytest.raises(InputError, match="is no log-in"):
        parse_log_in(text)


@given(st.text(max_size=30))
def test_any_text_is_a_log_in_or_an_input_error(text: str) -> None:
    try:
        found = parse_log_in(text)
    except InputError:
        return
    assert found.user
    assert found.host
    assert 0 < found.port < 65536


def summaries(folder: Path, **more: object) -> list[str]:
    known = folder / "known_hosts"
    known.touch()
    ssh = {"known_hosts": known, **more}
    return [
        f"{'.'.join(map(str, item.location[2:]))}: {item.summary}"
        for item in problems_of("m", machine(ssh=ssh))
    ]


def test_a_log_in_that_has_all_it_needs(tmp_path: Path) -> None:
    assert summaries(tmp_path, key_file=make_key(tmp_path / "key")) == []
    assert summaries(tmp_path, proxy_command=("sh", "-c", "true")) == []


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert summaries(tmp_path, key_file=tmp_path / "gone") == [
        f"ssh.key_file: {tmp_path}/gone does not exist"
    ]
    assert summaries(tmp_path, key_file=tmp_path) == [f"ssh.key_file: {tmp_path} is no regular file"]
    key = make_key(tmp_path / "key")
    key.chmod(0o640)
    assert summaries(tmp_path, key_file=key) == [f"ssh.key_file: {key} can be read by others (mode 0640)"]
    text = tmp_path / "text"
    text.write_text("not a key")
    text.chmod(0o600)
    assert "is not a private key" in summaries(tmp_path, key_file=text)[0]
    locked = make_key(tmp_path / "locked", passphrase="open sesame")
    assert "is encrypted" in summaries(tmp_path, key_file=locked)[0]
    monkeypatch.delenv("PASS", raising=False)
    reference = {"env": "PASS"}
    assert summaries(tmp_path, key_file=locked, key_passphrase=reference) == [
        "ssh.key_passphrase.env: the environment variable PASS is not set"
    ]
    monkeypatch.setenv("PASS", "wrong, and secret")
    (wrong,) = summaries(tmp_path, key_file=locked, key_passphrase=reference)
    assert "passphrase is wrong" in wrong
    assert "secret" not in wrong
    monkeypatch.setenv("PASS", "open sesame")
    assert summaries(tmp_path, key_file=locked, key_passphrase=reference) == []


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASS", "")
    assert summaries(tmp_path, password={"env": "PASS"}) == [
        "ssh.password.env: the environment variable PASS is empty"
    ]
    secret = tmp_path / "secret"
    assert summaries(tmp_path, password={"file": secret}) == [f"ssh.password.file: {secret} does not exist"]
    secret.write_text("\n")
    secret.chmod(0o644)
    assert "can be read by others" in summaries(tmp_path, password={"file": secret})[0]
    secret.chmod(0o600)
    assert summaries(tmp_path, password={"file": secret}) == [f"ssh.password.file: {secret} is empty"]
    secret.write_text("hunter2")
    assert summaries(tmp_path, password={"file": secret}) == []
    found = problems_of(
        "m", machine(become={"password": {"env": "NO_SUCH_PASS"}}, ssh={"known_hosts": secret})
    )
    assert [item.location for item in found] == [("machines", "m", "become", "password", "env")]


def test_commands_and_known_hosts(tmp_path: Path) -> None:
    assert summaries(tmp_path, proxy_command=("no-such-command", "x")) == [
        "ssh.proxy_command: the command 'no-such-command' is not there"
    ]
    assert summaries(tmp_path, proxy_command=()) == ["ssh.proxy_command: the command is empty"]
    assert summaries(tmp_path, known_hosts=tmp_path / "gone") == [
        f"ssh.known_hosts: {tmp_path}/gone does not exist"
    ]


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert summaries(tmp_path, key_file=pipe) == [f"ssh.key_file: {pipe} is no regular file"]
    assert endless("m", machine(ssh={"key_file": pipe})) is not None
    assert endless("m", machine(ssh={"password": {"file": pipe}})) is not None
    assert endless("m", machine(ssh={"key_file": tmp_path / "gone"})) is None


@pytest.mark.parametrize(
    ("jumps", "says"),
    [
        ({"a": None}, None),
        ({"a": "b", "b": "user@gate:2222", "c": None}, None),
        ({"a": "gate"}, "'gate' is neither a machine of this file nor user@host[:port]"),
        ({"a": "b", "b": "user@gate:0"}, "'user@gate:0' is neither"),
    ],
)
def test_jump_hosts(jumps: dict[str, str | None], says: str | None) -> None:
    machines = {
        name: {"ssh": {"host": name, "user": "u", **({"jump": jump} if jump else {})}}
        for name, jump in jumps.items()
    }
    found = jump_problem(Environment.model_validate({"machines": machines}), "a")
    assert (found.summary if found else "").startswith(says or "")
    assert (found is None) is (says is None)
