"""Machines and what they said, for the pure tests."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from harness.agent.contract import Hello
from harness.doctor.clock import ClockReading
from harness.doctor.examine import HELPERS, TOOLS, Facts
from harness.doctor.model import Check, CheckResult
from harness.environment import Machine
from harness.guest.addresses import InterfaceAddress
from harness.transport.become import PrivilegeError, Refusal

ALL_TOOLS = tuple(tool for tool in (*TOOLS, *HELPERS) if tool not in ("dnf", "yum", "zypper", "apk"))


def machine(**more: Any) -> Machine:
    ssh = {"host": "10.0.0.4", "user": "azureuser", "known_hosts": "/keys/known_hosts", **more.pop("ssh", {})}
    return Machine.model_validate({"ssh": ssh, **more})


def hello(*, euid: int = 0, without: tuple[str, ...] = (), tools: tuple[str, ...] = ALL_TOOLS) -> Hello:
    return Hello(
        protocol=1,
        platform="linux",
        python="3.11.2",
        kernel="6.1",
        hostname="web-01",
        pid=9,
        uid=euid,
        euid=euid,
        nofile=1024,
        clock=0.0,
        capabilities=("net_raw",) if euid == 0 else (),
        tools={name: f"/usr/bin/{name}" for name in tools if name not in without},
    )


def facts(**more: Any) -> Facts:
    """Those of a machine where all is well, with changes."""
    well: dict[str, Any] = {
        "hello": hello(),
        "clock": ClockReading(0.0, 0.001),
        "no_capture": "",
        "addresses": addresses("10.0.1.4"),
    }
    return Facts(**{**well, **more})


def user(refusal: Refusal | None = None, **more: Any) -> Facts:
    """Those of a machine where the log-in is not root; None: sudo works."""
    no_sudo = None if refusal is None else PrivilegeError("web-01", refusal, f"sudo: {refusal}")
    return facts(hello=hello(euid=1000), no_sudo=no_sudo, no_capture="a capture needs CAP_NET_RAW", **more)


def addresses(*texts: str, interface: str = "eth0") -> tuple[InterfaceAddress, ...]:
    return tuple(InterfaceAddress(interface, ip_address(text)) for text in texts)


def by_check(results: tuple[CheckResult, ...]) -> dict[Check, CheckResult]:
    assert [result.check for result in results] == list(Check)
    return {result.check: result for result in results}
