"""An agent's start through noise that comes in any pieces, and past a sudo that asks."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.environment import Become
from harness.errors import AgentError, InputError
from harness.transport.become import PrivilegeError, Refusal
from harness.transport.launch import Launch
from harness.transport.process import ProcessConnection
from harness.transport.resident import Session


class Recorded:
    """A process and its connection in one: keeps what it is sent; says what the test feeds."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.hear: Callable[[bytes], None] = lambda data: None

    def start(self, command: str) -> Recorded:
        self.command = command
        return self

    def send(self, data: bytes, timeout: float) -> None:
        self.sent.append(data)

    def watch_stderr(self, hear: Callable[[bytes], None]) -> None:
        self.hear = hear

    def stderr_tail(self) -> str:
        return ""

    def exit_status(self, timeout: float) -> int | None:
        return None

    def receive(self, timeout: float) -> bytes | None:
        raise AssertionError

    def close(self) -> None:
        pass


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


NOISE = st.binary(max_size=60)
CUTS = st.lists(st.integers(0, 1000), max_size=12)


@given(NOISE, CUTS, st.sampled_from([b"\n", b"\r\n"]))
def test_ready_in_any_pieces(noise: bytes, cuts: list[int], end: bytes) -> None:
    process = Recorded()
    launch = Launch("box", process, python="python3", become=None, timeout=5.0)
    launch.begin()
    assert len(process.sent) == 1
    buffer = bytearray()
    rest = b'{"id":1}\n'
    ready = False
    for piece in pieces(noise + launch._start.ready.encode() + end + rest, cuts):
        buffer += piece
        ready = ready or launch.feed(buffer)
    assert ready
    launch.wait()
    assert bytes(buffer) == rest


@given(NOISE, CUTS)
def test_the_password_is_sent_when_it_is_asked_for_and_only_then(noise: bytes, cuts: list[int]) -> None:
    process = Recorded()
    become = Become.model_validate({"password": {"env": "AZREACH_TEST_PASSWORD"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZREACH_TEST_PASSWORD", "s3cret")
        launch = Launch("box", process, python="python3", become=become, timeout=5.0)
    assert "s3cret" not in process.command
    launch.begin()
    assert process.sent == []
    assert launch._start.prompt is not None
    for piece in pieces(noise + launch._start.prompt.encode(), cuts):
        process.hear(piece)
    assert process.sent == [b"s3cret\n"]
    for piece in pieces(b"Sorry, try again.\n" + launch._start.prompt.encode(), cuts):
        process.hear(piece)
    assert process.sent == [b"s3cret\n"]
    with pytest.raises(PrivilegeError) as caught:
        launch.wait()
    assert caught.value.refusal is Refusal.WRONG_PASSWORD


@pytest.mark.parametrize("password", ["", "two\nlines", "nul\0"])
def test_a_password_that_cannot_be_one(tmp_path: Path, password: str) -> None:
    path = tmp_path / "secret"
    path.write_text(password)
    become = Become.model_validate({"password": {"file": str(path)}})
    with pytest.raises(InputError, match=r"box: the password of 'become\.password'"):
        Launch("box", Recorded(), python="python3", become=become, timeout=5.0)


# a sudo of the test's own, where the machine's cannot be made to behave so


def with_sudo(directory: Path, script: str | None) -> ProcessConnection:
    """A connection whose PATH has this directory only: env, sh, python3, and ``script`` as sudo."""
    for name in ("env", "sh", "sleep", "cat"):
        found = shutil.which(name)
        assert found is not None
        (directory / name).symlink_to(found)
    (directory / "python3").symlink_to(sys.executable)
    if script is not None:
        (directory / "sudo").write_text(f"#!/bin/sh\n{script}\n")
        (directory / "sudo").chmod(0o755)
    return ProcessConnection("box", ("env", f"PATH={directory}"))


@pytest.mark.parametrize(
    ("script", "become", "refusal", "said"),
    [
        (None, {}, Refusal.NO_SUDO, "no sudo on the machine"),
        (
            "printf 'Verification code: ' >&2; cat > /dev/null",
            {"password": {"env": "AZREACH_TEST_PASSWORD"}},
            Refusal.OTHER_PROMPT,
            "'Verification code:'",
        ),
        (
            "echo 'sudo: effective uid is not 0, is sudo installed setuid root?' >&2; exit 1",
            {},
            Refusal.BROKEN,
            "effective uid is not 0",
        ),
        (
            "echo 'sudo: Account or password is expired, reset your password and try again' >&2; exit 1",
            {},
            Refusal.ACCOUNT,
            "Account or password is expired",
        ),
    ],
)
def test_sudo_that_does_not_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str | None,
    become: dict[str, Any],
    refusal: Refusal,
    said: str,
) -> None:
    monkeypatch.setenv("AZREACH_TEST_PASSWORD", "s3cret")
    timeout = 1.0 if refusal is Refusal.OTHER_PROMPT else 20.0
    with pytest.raises(PrivilegeError) as caught:
        Session("box", with_sudo(tmp_path, script), timeout=timeout, become=Become.model_validate(become))
    assert caught.value.refusal is refusal
    assert said in str(caught.value)


def test_an_error_that_is_not_sudos(tmp_path: Path) -> None:
    connection = with_sudo(tmp_path, "echo 'Segmentation fault' >&2; exit 139")
    with pytest.raises(AgentError, match="status 139 before it was ready: Segmentation fault"):
        Session("box", connection, become=Become())
