"""What the doctor says of each kind of machine, and which command it gives."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from harness.doctor.checks import judge
from harness.doctor.clock import ClockReading
from harness.doctor.examine import Facts
from harness.doctor.model import HERE, Check, Cure, Status
from harness.doctor.references import Reference
from harness.errors import (
    AgentError,
    AuthenticationError,
    AzreachError,
    HostKeyError,
    InputError,
    TransportError,
)
from harness.transport.become import PrivilegeError, Refusal
from harness.transport.known_hosts import ShownKey, Trust
from tests.harness.doctor.machines import by_check, facts, hello, machine, user

ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/web-01"


def caused(error: AzreachError, cause: BaseException) -> AzreachError:
    error.__cause__ = cause
    return error


def shown(trust: Trust, name: str = "10.0.0.4") -> ShownKey:
    return ShownKey(name, "ssh-ed25519", b"key", Path("/keys/known hosts"), trust)


def host_key(trust: Trust) -> HostKeyError:
    return HostKeyError("web-01", "the host key", shown=shown(trust))


REFUSED = caused(TransportError("web-01", "refused"), OSError(errno.ECONNREFUSED, "refused"))
SILENT = caused(TransportError("web-01", "no answer"), TimeoutError())
NO_NAME = caused(TransportError("web-01", "no such name"), socket.gaierror(-2, "unknown"))
DENIED = AuthenticationError("web-01", "10.0.0.4 refused azureuser: tried key /k")
NO_PYTHON = AgentError("web-01", "there is no python3 on the machine (or not in its PATH)")
JUMP_KEY = caused(
    HostKeyError("web-01", "jump host gate: unknown"),
    HostKeyError("gate", "", shown=shown(Trust.UNKNOWN, "gate")),
)

FAILURES: dict[str, tuple[AzreachError, dict[str, Any], Check, str]] = {
    "refused": (REFUSED, {}, Check.REACHABLE, "systemctl enable --now ssh"),
    "refused, in Azure": (REFUSED, {"arm_id": ARM}, Check.REACHABLE, f"az vm run-command invoke --ids {ARM}"),
    "silent": (SILENT, {}, Check.REACHABLE, "nc -vz -w 5 10.0.0.4 22"),
    "silent, in Azure": (SILENT, {"arm_id": ARM}, Check.REACHABLE, f"az vm start --ids {ARM}"),
    "silent proxy": (
        SILENT,
        {"ssh": {"proxy_command": ["nc", "a b", "22"]}},
        Check.REACHABLE,
        "nc 'a b' 22 </dev/null",
    ),
    "no such name": (NO_NAME, {}, Check.REACHABLE, "getent hosts 10.0.0.4"),
    "jump host": (
        JUMP_KEY,
        {"ssh": {"jump": "u@gate"}},
        Check.REACHABLE,
        "echo 'gate ssh-ed25519 a2V5' >> '/keys/known hosts'",
    ),
    "unknown key": (
        host_key(Trust.UNKNOWN),
        {},
        Check.HOST_KEY,
        "ssh-keyscan -t ed25519 10.0.0.4 >> '/keys/known hosts'",
    ),
    "unknown key, other port": (
        host_key(Trust.UNKNOWN),
        {"ssh": {"port": 2222}},
        Check.HOST_KEY,
        "ssh-keyscan -p 2222 -t",
    ),
    "unknown key, proxy": (
        host_key(Trust.UNKNOWN),
        {"ssh": {"proxy_command": ["nc"]}},
        Check.HOST_KEY,
        "echo '10.0.0.4 ssh",
    ),
    "changed key": (
        host_key(Trust.CHANGED),
        {},
        Check.HOST_KEY,
        "ssh-keygen -f '/keys/known hosts' -R 10.0.0.4",
    ),
    "revoked key": (host_key(Trust.REVOKED), {}, Check.HOST_KEY, "grep -n '^@revoked'"),
    "unreadable known_hosts": (
        HostKeyError("web-01", "denied"),
        {},
        Check.HOST_KEY,
        "ls -l /keys/known_hosts",
    ),
    "refused key": (DENIED, {"ssh": {"key_file": "/k"}}, Check.LOG_IN, "ssh-keygen -y -f /k"),
    "refused key, in Azure": (
        DENIED,
        {"ssh": {"key_file": "/k"}, "arm_id": ARM},
        Check.LOG_IN,
        f"az vm user update --ids {ARM}",
    ),
    "no key": (
        AuthenticationError("web-01", "..., and the SSH agent has no key"),
        {},
        Check.LOG_IN,
        "ssh-add",
    ),
    "no shell": (
        TransportError("web-01", "10.0.0.4 starts no command for azureuser"),
        {},
        Check.LOG_IN,
        "ssh-add -L",
    ),
    "no python": (NO_PYTHON, {}, Check.PYTHON, "sudo apt-get install -y python3"),
    "no python, in Azure": (NO_PYTHON, {"arm_id": ARM}, Check.PYTHON, "az vm run-command invoke"),
    "slow start": (
        AgentError("web-01", "the agent did not start within 10 s"),
        {},
        Check.PYTHON,
        "python3 -I -S -c",
    ),
    "sudo password": (
        PrivilegeError("web-01", Refusal.PASSWORD_REQUIRED, "asks"),
        {"become": "sudo"},
        Check.PRIVILEGE,
        "password: {env: SUDO_PASSWORD}",
    ),
    "sudo refuses": (
        PrivilegeError("web-01", Refusal.NOT_ALLOWED, "no"),
        {"become": "sudo"},
        Check.PRIVILEGE,
        "visudo -cf",
    ),
    "no sudo": (
        PrivilegeError("web-01", Refusal.NO_SUDO, "no"),
        {"become": "sudo"},
        Check.PRIVILEGE,
        "install -y sudo",
    ),
}


@pytest.mark.parametrize(("error", "more", "check", "command"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_is_at_its_check_with_the_command_that_cures_it(
    error: AzreachError, more: dict[str, Any], check: Check, command: str
) -> None:
    found = judge("web-01", machine(**more), Facts(failure=error))
    results = by_check(found)
    assert results[check].status is Status.FAILED
    assert command in " ; ".join(cure.command for cure in results[check].cures)
    earlier, later = list(Check)[: list(Check).index(check)], list(Check)[list(Check).index(check) + 1 :]
    if check is Check.PRIVILEGE:
        earlier.remove(Check.PYTHON)  # sudo comes before it
    never_asked = isinstance(error, HostKeyError) and error.shown is None
    assert {results[item].status for item in earlier} <= {Status.UNKNOWN if never_asked else Status.OK}
    assert {results[item].status for item in later} <= {Status.UNKNOWN}
    # the machine's name is in its own column
    assert not results[check].summary.startswith("web-01: ")


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_of_sudo_has_a_cure(refusal: Refusal) -> None:
    result = by_check(judge("m", machine(become="sudo"), Facts(failure=PrivilegeError("m", refusal, "no"))))
    assert result[Check.LOG_IN].status is Status.OK
    assert result[Check.PRIVILEGE].cures


def test_a_reference_that_leads_nowhere_explains_the_log_in() -> None:
    cure = Cure(HERE, "export PW=...")
    lost = Reference(("machines", "m", "ssh", "password", "env"), "PW is not set", cure)
    found = by_check(judge("m", machine(), Facts(failure=InputError("PW is not set")), references=(lost,)))
    assert (found[Check.LOG_IN].status, found[Check.LOG_IN].cures) == (Status.FAILED, (cure,))
    lost = Reference(("machines", "m", "become", "password", "env"), "PW is not set", cure)
    found = by_check(
        judge("m", machine(become="sudo"), Facts(failure=InputError("PW is not set")), references=(lost,))
    )
    assert found[Check.LOG_IN].status is Status.OK
    assert (found[Check.PRIVILEGE].status, found[Check.PRIVILEGE].cures) == (Status.FAILED, (cure,))


def test_all_is_well() -> None:
    results = by_check(judge("web-01", machine(), facts()))
    assert {result.status for check, result in results.items() if check is not Check.AZURE} == {Status.OK}
    assert results[Check.AZURE].status is Status.UNKNOWN  # there is no snapshot
    assert results[Check.PYTHON].short == "3.11.2"


USERS: dict[Refusal | None, list[str]] = {
    None: ["machines.web-01.become: sudo"],
    Refusal.PASSWORD_REQUIRED: ["password: {env: SUDO_PASSWORD}", "export SUDO_PASSWORD", "visudo -cf"],
    Refusal.NOT_ALLOWED: ["azureuser ALL=(root) NOPASSWD: /usr/bin/python3", "become: sudo"],
    Refusal.NO_SUDO: ["apt-get install -y sudo", "visudo -cf", "become: sudo"],
    Refusal.ACCOUNT: ["chage -l azureuser", "become: sudo"],
    Refusal.BROKEN: ["visudo -c", "become: sudo"],
}


@pytest.mark.parametrize("refusal", USERS)
def test_without_root_work_can_be_done_and_the_way_to_root_is_told(refusal: Refusal | None) -> None:
    results = by_check(judge("web-01", machine(), user(refusal)))
    for check in (Check.PRIVILEGE, Check.CAPTURES):
        assert results[check].status is Status.WARNING
        commands = [cure.command for cure in results[check].cures]
        assert len(commands) == len(USERS[refusal])
        assert all(part in command for part, command in zip(USERS[refusal], commands, strict=True))
    assert "uid 1000" in results[Check.PRIVILEGE].summary


@pytest.mark.parametrize(
    ("without", "manager", "command"),
    [
        (("ss",), "apt-get", "sudo apt-get install -y iproute2"),
        (("ss", "ip"), "dnf", "sudo dnf install -y iproute"),
        (("ip",), "apk", "sudo apk add iproute2"),
        (("nft", "iptables-save"), "zypper", "sudo zypper --non-interactive install nftables"),
        (("ss", "nft", "iptables-save"), "yum", "sudo yum install -y iproute nftables"),
    ],
)
def test_missing_tools_are_installed_by_the_machines_own_manager(
    without: tuple[str, ...], manager: str, command: str
) -> None:
    tools = tuple(tool for tool in ("ss", "ip", "nft", "iptables-save", manager) if tool not in without)
    result = by_check(judge("m", machine(), facts(hello=hello(tools=tools))))[Check.TOOLS]
    assert (result.status, [cure.command for cure in result.cures]) == (Status.WARNING, [command])


def test_one_packet_filter_is_enough_and_conntrack_is_a_luxury() -> None:
    result = by_check(judge("m", machine(), facts(hello=hello(without=("nft", "conntrack")))))[Check.TOOLS]
    assert result.status is Status.OK
    assert "nft, conntrack" in result.summary


@pytest.mark.parametrize(
    ("without", "command"),
    [
        ((), "sudo chronyc makestep"),
        (("chronyc",), "sudo timedatectl set-ntp true"),
        (("chronyc", "timedatectl"), "sudo apt-get install -y chrony && sudo chronyc makestep"),
    ],
)
def test_a_clock_that_is_a_day_off(without: tuple[str, ...], command: str) -> None:
    found = facts(clock=ClockReading(-86_400.0, 0.01), hello=hello(without=without))
    result = by_check(judge("m", machine(), found))[Check.CLOCK]
    assert (result.status, [cure.command for cure in result.cures]) == (Status.WARNING, [command])
    assert "86400.000 s behind" in result.summary


def test_an_agent_that_dies_in_the_middle_keeps_what_was_known() -> None:
    died = AgentError("m", "the agent died (status 137)")
    results = by_check(judge("m", machine(), facts(died=died, no_capture=None, addresses=None)))
    assert results[Check.PYTHON].status is Status.FAILED
    assert "status 137" in results[Check.PYTHON].summary
    assert results[Check.PRIVILEGE].status is results[Check.TOOLS].status is Status.OK
    assert results[Check.CAPTURES].status is Status.UNKNOWN
    results = by_check(judge("m", machine(), Facts(died=died)))
    assert results[Check.PYTHON].status is Status.FAILED
    assert results[Check.TOOLS].status is Status.UNKNOWN
