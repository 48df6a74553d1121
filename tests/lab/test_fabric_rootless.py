"""The fabric in a user namespace: for an ordinary user, with no privilege outside of it."""

from __future__ import annotations

import ctypes
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.fabric import Fabric, FabricError
from lab.netlink import CLONE_NEWNET
from lab.plan_model import FABRIC_MAC
from tests.lab.fabric_networks import nsg, rule, two_subnets
from tests.lab.fabric_running import running

pytestmark = pytest.mark.lab

CLONE_NEWUSER = 0x10000000
PR_SET_DUMPABLE = 4
NOBODY = 65534

libc = ctypes.CDLL(None, use_errno=True)


def as_ordinary_user(action: Callable[[], None], flags: int = CLONE_NEWUSER | CLONE_NEWNET) -> str:
    """Runs ``action`` as an ordinary user, root of new namespaces (``flags``); what went wrong, if any."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        words = ""
        try:
            become_ordinary_user()
            if flags:
                become_root_of_namespaces(flags)
            action()
        except BaseException:  # noqa: BLE001 - it must not go on as a second pytest
            words = traceback.format_exc()
        os.write(writer, words.encode()[-60000:])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        words = report.read()
    os.waitpid(child, 0)
    return words


def become_ordinary_user() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    # without this, what has changed its user may not write its own maps
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def become_root_of_namespaces(flags: int) -> None:
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")


@pytest.fixture
def user_namespaces() -> None:
    if "no user namespace" in as_ordinary_user(lambda: None):
        pytest.skip("this machine does not let ordinary users make user namespaces")


@pytest.mark.usefixtures("user_namespaces")
def test_the_fabric_works_in_a_user_namespace() -> None:
    def traffic() -> None:
        builder = two_subnets()
        security = nsg("n", rule("No81", 100, "Deny", protocol="Tcp", ports=[(81, 81)]))
        builder.vm("d", next(iter(builder.subnets)), "10.0.1.6", "fd00:1:0:1::6", security=security)
        with running(builder) as lab:
            for address in ("10.0.1.6", "fd00:1:0:1::6"):
                lab["d"].listen(address, 80)
                assert lab["a"].connects(address, 80) == "connected"
                assert lab["a"].connects(address, 81) == "timeout"
                assert lab["c"].ping(address) == 64
            assert lab["a"].arp("10.0.1.1") == FABRIC_MAC
            assert lab["a"].ping("10.0.1.1") is None
            assert lab.counted("n/No81") == 2
            assert lab.fabric.port_states() == dict.fromkeys(range(1, 5), True)
            lab.fabric.detach([4])
            assert lab["a"].ping("10.0.1.6") is None

    assert as_ordinary_user(traffic) == ""


@pytest.mark.usefixtures("user_namespaces")
def test_more_rules_than_one_message_of_an_ordinary_user_may_hold() -> None:
    """Only root of the machine may have a socket buffer for all of them at once."""
    rules = [
        rule(f"R{number}", 100 + number, "Deny", protocol="Tcp", ports=[(number, number)])
        for number in range(1000, 3000)
    ]

    def traffic() -> None:
        builder = two_subnets()
        builder.vm("d", next(iter(builder.subnets)), "10.0.1.6", security=nsg("n", *rules))
        with running(builder) as lab:
            for port in (80, 2999):
                lab["d"].listen("10.0.1.6", port)
            assert lab["a"].connects("10.0.1.6", 80) == "connected"
            assert lab["a"].connects("10.0.1.6", 2999) == "timeout"

    assert as_ordinary_user(traffic) == ""


@pytest.mark.parametrize("flags", [0, CLONE_NEWUSER], ids=["no-namespace", "network-of-the-outside"])
def test_without_privilege_the_error_says_what_to_do(flags: int, user_namespaces: None) -> None:
    def unprivileged() -> None:
        with pytest.raises(FabricError, match="run as root, or inside"):
            Fabric()

    assert as_ordinary_user(unprivileged, flags) == ""
