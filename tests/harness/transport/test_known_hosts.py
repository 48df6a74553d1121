"""known_hosts as OpenSSH reads it, including what its own tools write."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.transport.known_hosts import KnownHosts, Trust, fingerprint, load, parse

KEY = base64.b64encode(b"\0\0\0\x0bssh-ed25519-key-one").decode()
OTHER = base64.b64encode(b"\0\0\0\x0bssh-ed25519-key-two").decode()


def judge(text: str, host: str, port: int = 22, key: str = KEY) -> Trust:
    return KnownHosts(parse(text)).judge(host, port, "ssh-ed25519", base64.b64decode(key)).trust


@pytest.mark.parametrize(
    ("text", "host", "port", "trust"),
    [
        ("web ssh-ed25519 KEY", "web", 22, Trust.KNOWN),
        ("web ssh-ed25519 KEY", "WEB", 22, Trust.KNOWN),
        ("web,10.0.0.4 ssh-ed25519 KEY comment", "10.0.0.4", 22, Trust.KNOWN),
        ("web ssh-ed25519 OTHER", "web", 22, Trust.CHANGED),
        ("web ssh-rsa OTHER", "web", 22, Trust.CHANGED),
        ("web ssh-ed25519 OTHER\nweb ssh-ed25519 KEY", "web", 22, Trust.KNOWN),
        ("db ssh-ed25519 KEY", "web", 22, Trust.UNKNOWN),
        ("", "web", 22, Trust.UNKNOWN),
        ("# web ssh-ed25519 KEY", "web", 22, Trust.UNKNOWN),
        ("web ssh-ed25519", "web", 22, Trust.UNKNOWN),
        ("web ssh-ed25519 not*base64", "web", 22, Trust.UNKNOWN),
        ("[web]:2222 ssh-ed25519 KEY", "web", 2222, Trust.KNOWN),
        ("[web]:2222 ssh-ed25519 KEY", "web", 22, Trust.UNKNOWN),
        ("[web]:2222 ssh-ed25519 OTHER", "web", 2222, Trust.CHANGED),
        ("web ssh-ed25519 KEY", "web", 2222, Trust.KNOWN),
        ("web ssh-ed25519 OTHER", "web", 2222, Trust.UNKNOWN),
        ("*.example ssh-ed25519 KEY", "web.example", 22, Trust.KNOWN),
        ("*.example,!web.example ssh-ed25519 KEY", "web.example", 22, Trust.UNKNOWN),
        ("@revoked web ssh-ed25519 KEY", "web", 22, Trust.REVOKED),
        ("web ssh-ed25519 KEY\n@revoked * ssh-ed25519 KEY", "web", 22, Trust.REVOKED),
        ("@revoked web ssh-ed25519 OTHER", "web", 22, Trust.UNKNOWN),
        ("@cert-authority * ssh-ed25519 KEY", "web", 22, Trust.UNKNOWN),
    ],
)
def test_judgement(text: str, host: str, port: int, trust: Trust) -> None:
    assert judge(text.replace("KEY", KEY).replace("OTHER", OTHER), host, port) is trust


def test_the_deciding_line_is_named() -> None:
    known = KnownHosts(parse(f"\n\nweb ssh-ed25519 {OTHER}\n", "/etc/known"))
    entry = known.judge("web", 22, "ssh-ed25519", base64.b64decode(KEY)).entry
    assert entry is not None
    assert entry.place == "/etc/known:3"


def test_known_types_come_in_the_files_order() -> None:
    known = KnownHosts(parse(f"web ssh-rsa {OTHER}\nweb ssh-ed25519 {KEY}\n"))
    assert known.key_types("web", 22) == ("ssh-rsa", "ssh-ed25519")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")
def test_names_hashed_by_ssh_keygen_and_its_fingerprint(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    public = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    file = tmp_path / "known_hosts"
    file.write_text(f"web {public}\n[db]:2222 {public}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "web" not in file.read_text()
    key = base64.b64decode(public.split()[1])
    known = load([file, tmp_path / "absent"])
    assert known.judge("web", 22, "ssh-ed25519", key).trust is Trust.KNOWN
    assert known.judge("db", 2222, "ssh-ed25519", key).trust is Trust.KNOWN
    assert known.judge("other", 22, "ssh-ed25519", key).trust is Trust.UNKNOWN
    listed = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "key.pub")], check=True, capture_output=True, text=True
    )
    assert fingerprint(key) in listed.stdout


@given(st.text(), st.text(min_size=1), st.integers(1, 65535))
def test_any_text_is_survived(text: str, host: str, port: int) -> None:
    known = KnownHosts(parse(text))
    known.key_types(host, port)
    known.judge(host, port, "ssh-ed25519", b"key")


@given(st.lists(st.text("|1=+/!*?[],:ab ", max_size=30), max_size=4))
def test_strange_patterns_are_survived(names: list[str]) -> None:
    judge(f"{','.join(names)} ssh-ed25519 {KEY}", "ab")
