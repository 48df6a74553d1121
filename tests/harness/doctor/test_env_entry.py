"""What a machine said, as its entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.doctor.env_entry import Interview, entry, services_of, written
from harness.environment import Ssh
from harness.guest.listeners import read_listeners
from harness.model import Protocol
from tests.harness.doctor.machines import addresses
from tests.harness.network import builders
from tests.harness.network.builders import vm_id, vnet

SOCKETS = """\
tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=700,fd=3))
tcp   LISTEN 0      128          0.0.0.0:2222       0.0.0.0:*    users:(("sshd",pid=701,fd=3))
tcp   LISTEN 0      5                  *:1433             *:*    users:(("sqlservr",pid=900,fd=3))
tcp   LISTEN 0      5          127.0.0.1:5432       0.0.0.0:*
tcp   LISTEN 0      5           10.0.1.4:80         0.0.0.0:*
tcp   LISTEN 0      5               [::]:80            [::]:*
udp   UNCONN 0      0            0.0.0.0:53         0.0.0.0:*
tcp   LISTEN 0      5            0.0.0.0:53         0.0.0.0:*
udp   UNCONN 0      0      127.0.0.53%lo:53         0.0.0.0:*
udp   UNCONN 0      0            0.0.0.0:68         0.0.0.0:*
udp   UNCONN 0      0            0.0.0.0:45123      0.0.0.0:*
tcp   LISTEN 0      5            0.0.0.0:49152      0.0.0.0:*
"""
SSH = Ssh(host="10.0.1.4", port=2222, user="azureuser")


def said(*, sudo: bool = False) -> Interview:
    return Interview(
        hostname="web-01",
        platform="linux",
        sudo=sudo,
        addresses=(*addresses("10.0.1.4"), *addresses("172.17.0.1", interface="docker0")),
        listeners=read_listeners(SOCKETS),
    )


def test_services_are_what_others_can_reach() -> None:
    assert services_of(read_listeners(SOCKETS), 2222) == [
        (Protocol.TCP, 53),
        (Protocol.UDP, 53),
        (Protocol.TCP, 80),
        (Protocol.TCP, 1433),
        (Protocol.TCP, 49152),
    ]


def test_an_entry(tmp_path: Path) -> None:
    assert entry(said(), SSH, tmp_path, None) == {
        "os": "linux",
        "ssh": {"host": "10.0.1.4", "port": 2222, "user": "azureuser"},
        "addresses": ["10.0.1.4"],
        "services": [
            {"port": 53},
            {"port": 53, "protocol": "udp"},
            {"port": 80},
            {"port": 1433},
            {"port": 49152},
        ],
    }


def test_only_a_sudo_that_works_is_written_down(tmp_path: Path) -> None:
    assert entry(said(sudo=True), SSH, tmp_path, None)["become"] == "sudo"
    assert "become" not in entry(said(), SSH, tmp_path, None)


def test_the_snapshot_knows_the_arm_id_by_the_addresses(tmp_path: Path) -> None:
    space = vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24"})
    known = builders.network(space, builders.machine("web-01", "v/web", "10.0.1.4"))
    assert entry(said(), SSH, tmp_path, known)["arm_id"] == vm_id("web-01")
    # its name, and somebody else's address: better none than a wrong one
    swapped = builders.network(
        space,
        builders.machine("web-01", "v/web", "10.0.1.9"),
        builders.machine("web-02", "v/web", "10.0.1.4"),
    )
    assert "arm_id" not in entry(said(), SSH, tmp_path, swapped)


def test_paths_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = tmp_path / "work"
    assert written(here / "keys/id", here) == "keys/id"
    assert written(tmp_path / "home/.ssh/id", here) == "~/.ssh/id"
    assert written(Path("~/.ssh/id"), here) == "~/.ssh/id"
    assert written(tmp_path / "other", here) == str(tmp_path / "other")
