"""Is a machine the VM that the snapshot says it is?"""

from __future__ import annotations

import pytest

from harness.doctor.azure import check_azure
from harness.doctor.model import Status
from harness.network.model import Network
from tests.harness.doctor.machines import addresses, machine
from tests.harness.network import builders
from tests.harness.network.builders import vm_id, vnet


@pytest.fixture(scope="module")
def network() -> Network:
    return builders.network(
        vnet("v", ["10.0.0.0/16", "fd00::/48"], {"web": ["10.0.1.0/24", "fd00:0:0:1::/64"]}),
        builders.machine("web-01", "v/web", "10.0.1.4", "fd00:0:0:1::4"),
        builders.machine("db-01", "v/web", "10.0.1.5"),
    )


IS_DB = f"machines.x.arm_id: {vm_id('db-01')}"
BOTH = ("10.0.1.4", "fd00:0:0:1::4")
CASES = {
    "agree": ("web-01", None, BOTH, Status.OK, ""),
    "by id, in any case": ("x", vm_id("web-01").upper(), BOTH, Status.OK, ""),
    "Docker's own network is no matter": ("web-01", None, (*BOTH, "172.17.0.1"), Status.OK, ""),
    "missing": ("web-01", None, BOTH[:1], Status.WARNING, "sudo ip address add fd00:0:0:1::4/64 dev eth0"),
    "invented": (
        "web-01",
        None,
        (*BOTH, "10.0.1.99"),
        Status.WARNING,
        "sudo ip address del 10.0.1.99 dev eth0",
    ),
    "another VM": ("x", vm_id("web-01"), ("10.0.1.5",), Status.FAILED, IS_DB),
    "not Azure's": (
        "x",
        vm_id("web-01"),
        ("192.0.2.1",),
        Status.FAILED,
        "machines.x.ssh.host: <an address of web-01>",
    ),
    "no address": ("x", vm_id("web-01"), (), Status.FAILED, "machines.x.ssh.host"),
    "unknown id": ("x", vm_id("gone"), ("10.0.1.5",), Status.FAILED, IS_DB),
    "unknown id, unknown machine": (
        "x",
        vm_id("gone"),
        None,
        Status.FAILED,
        f"az vm show --ids {vm_id('gone')}",
    ),
    "no id": ("x", None, ("10.0.1.5",), Status.WARNING, IS_DB),
    "addresses unknown": ("web-01", None, None, Status.UNKNOWN, ""),
}


@pytest.mark.parametrize(("name", "arm_id", "has", "status", "cure"), CASES.values(), ids=CASES.keys())
def test_the_snapshot_and_the_guest(
    network: Network, name: str, arm_id: str | None, has: tuple[str, ...] | None, status: Status, cure: str
) -> None:
    entry = machine(arm_id=arm_id) if arm_id is not None else machine()
    found = check_azure(network, name, entry, None if has is None else addresses(*has))
    assert found.status is status, found.summary
    assert cure in " ; ".join(item.command for item in found.cures)
    assert bool(found.cures) is (status in (Status.WARNING, Status.FAILED))


def test_without_a_snapshot_nothing_is_held_against_anybody() -> None:
    assert check_azure(None, "x", machine(arm_id="/x"), None).status is Status.UNKNOWN
