"""A running lab through its client: resources, services, processes; and that nothing outlives it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UnknownNameError
from harness.model import Protocol
from harness.network.snapshot import load_snapshot
from lab import server, state
from lab.client import Lab, Service, raise_lab, take_down
from lab.errors import LabError
from tests.lab.conftest import eventually, processes_of

pytestmark = pytest.mark.lab(rootless=True)

TCP, UDP = Protocol.TCP, Protocol.UDP


def resource(lab: Lab, name: str) -> dict[str, Any]:
    return next(item for item in lab.resources() if item["name"] == name)


def connects(lab: Lab, source: str, address: str, port: int, timeout: float = 2.0) -> bool:
    script = f"import socket; socket.create_connection(('{address}', {port}), {timeout})"
    return lab.run(source, ["python3", "-I", "-S", "-c", script], check=False).returncode == 0


def rule(access: str, priority: int = 101) -> dict[str, Any]:
    return {
        "properties": {
            "priority": priority,
            "direction": "Inbound",
            "access": access,
            "protocol": "*",
            "sourceAddressPrefix": "*",
            "destinationAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "1433",
        }
    }


def test_a_rule_is_effective_when_put_returns_and_gone_after_delete(three_tier: Lab) -> None:
    rule_id = f"{resource(three_tier, 'nsg-db-nic')['id']}/securityRules/DenySql"
    assert connects(three_tier, "web-01", "10.0.3.4", 1433)
    three_tier.put_resource(rule_id, rule("Deny"))
    assert (
        rule_id
        in load_snapshot(three_tier.directory / "network.json")
        .nsgs[rule_id.rpartition("/securityRules/")[0].lower()]
        .rules.__repr__()
    )
    assert not connects(three_tier, "web-01", "10.0.3.4", 1433, timeout=0.3)
    assert three_tier.counters()[rule_id] == 1
    three_tier.delete_resource(rule_id)
    assert three_tier.get_resource(rule_id) is None
    assert connects(three_tier, "web-01", "10.0.3.4", 1433)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (rule("Perhaps"), "access"),
        (rule("Deny", 100), "priority"),
        (rule("Deny", 5), "priority"),
        ({"properties": {}}, "DenySql"),
        ({"properties": 7}, "'properties' must be an object"),
    ],
)
def test_a_refused_change_changes_nothing(three_tier: Lab, body: dict[str, Any], message: str) -> None:
    rule_id = f"{resource(three_tier, 'nsg-db')['id']}/securityRules/DenySql"
    before = (three_tier.resources(), (three_tier.directory / "network.json").read_text())
    with pytest.raises(LabError, match=message):
        three_tier.put_resource(rule_id, body)
    assert (three_tier.resources(), (three_tier.directory / "network.json").read_text()) == before
    assert connects(three_tier, "web-01", "10.0.3.4", 1433)


def test_a_route_and_an_nsg_can_come_and_go(three_tier: Lab) -> None:
    route_id = f"{resource(three_tier, 'rt-db')['id']}/routes/nowhere"
    body = {"properties": {"addressPrefix": "10.0.1.0/24", "nextHopType": "None"}}
    three_tier.put_resource(route_id, body)
    assert not connects(three_tier, "web-01", "10.0.3.4", 1433, timeout=0.3)
    three_tier.delete_resource(route_id)
    assert connects(three_tier, "web-01", "10.0.3.4", 1433)


def test_a_resource_in_use_and_a_vm_cannot_be_deleted(three_tier: Lab) -> None:
    with pytest.raises(LabError):
        three_tier.delete_resource(resource(three_tier, "nsg-db")["id"])
    with pytest.raises(LabError, match="keeps the VMs"):
        three_tier.delete_resource(resource(three_tier, "db-01")["id"])
    assert connects(three_tier, "web-01", "10.0.3.4", 1433)


def test_services_come_and_go(three_tier: Lab) -> None:
    sql, dns = Service(TCP, 1433), Service(UDP, 53)
    assert set(three_tier.services("db-01")) == {sql, dns}
    pid = next(item.pid for item in three_tier.services("db-01") if item == sql)
    assert "service.py tcp 1433" in three_tier.run("db-01", ["ps", "-o", "args=", str(pid)]).stdout
    three_tier.stop_service("db-01", sql)
    assert not connects(three_tier, "web-01", "10.0.3.4", 1433)
    three_tier.start_service("db-01", Service(TCP, 1433, "127.0.0.1"))
    assert not connects(three_tier, "web-01", "10.0.3.4", 1433)
    assert connects(three_tier, "db-01", "127.0.0.1", 1433)
    with pytest.raises(LabError, match="1433/tcp could not be started: Address already in use"):
        three_tier.start_service("db-01", sql)
    three_tier.stop_service("db-01", Service(TCP, 1433, "127.0.0.1"))
    with pytest.raises(LabError, match="no service 1433/tcp runs"):
        three_tier.stop_service("db-01", sql)
    with pytest.raises(LabError, match="Cannot assign requested address"):
        three_tier.start_service("db-01", Service(TCP, 1433, "10.9.9.9"))
    three_tier.start_service("db-01", sql)
    assert connects(three_tier, "web-01", "10.0.3.4", 1433)


def test_a_stopped_process_can_be_taken_away_and_a_killed_one_is_missed(three_tier: Lab) -> None:
    sql = next(item for item in three_tier.services("db-01") if item.port == 1433)
    three_tier.run("db-01", ["kill", "-STOP", str(sql.pid)])
    three_tier.stop_service("db-01", sql)
    three_tier.start_service("db-01", sql)
    again = next(item for item in three_tier.services("db-01") if item.port == 1433)
    three_tier.run("db-01", ["kill", "-KILL", str(again.pid)])
    eventually(lambda: sql not in three_tier.services("db-01"), "a dead service is listed")
    three_tier.start_service("db-01", sql)


def test_udp_answers_from_the_address_that_was_asked(three_tier: Lab) -> None:
    script = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5);"
        "s.connect(('10.0.3.4', 53)); s.send(b'nonce'); print(s.recv(99))"
    )
    assert three_tier.run("web-01", ["python3", "-c", script]).stdout == "b'nonce'\n"


def test_tcp_echoes_after_its_banner(three_tier: Lab) -> None:
    script = (
        "import socket; s = socket.create_connection(('10.0.3.4', 1433)); f = s.makefile('rwb');"
        "print(f.readline()); f.write(b'x' * 300000 + b'\\n'); f.flush(); print(len(f.readline()))"
    )
    assert (
        three_tier.run("web-01", ["python3", "-c", script]).stdout
        == "b'azreach db-01 1433/tcp\\r\\n'\n300001\n"
    )


def test_run_passes_input_output_and_status(three_tier: Lab) -> None:
    result = three_tier.run("web-01", ["sh", "-c", "cat; echo e >&2; exit 7"], input="text", check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("text", "e\n", 7)
    with pytest.raises(LabError, match="web-01: `false` ended with status 1"):
        three_tier.run("web-01", ["false"])
    with pytest.raises(LabError, match="took longer than"):
        three_tier.run("web-01", ["sleep", "60"], timeout=0.1)
    eventually(lambda: "sleep 60" not in three_tier.run("web-01", ["ps", "-ef"]).stdout, "it runs on")
    with pytest.raises(UnknownNameError, match="it has: web-01, web-02, app-01, db-01"):
        three_tier.run("web-09", ["true"])


def test_spawned_processes_live_until_they_end(three_tier: Lab) -> None:
    pid = three_tier.spawn("web-02", ["sleep", "4321"])
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x004321\x00"
    with pytest.raises(LabError, match="web-02: nosuch could not be started"):
        three_tier.spawn("web-02", ["nosuch"])


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"7", b'{"op": "nope"}', b'{"op": "get"}', b'{"op": "put", "id": 1}', b"\xff"]
)
def test_a_request_that_makes_no_sense_is_answered_and_survived(three_tier: Lab, line: bytes) -> None:
    with server.connect(three_tier.directory) as connection, connection.makefile("rb") as reader:
        connection.sendall(line + b"\n")
        assert json.loads(reader.readline())["ok"] is False
        connection.sendall(b'{"op": "counters"}\n')
        assert json.loads(reader.readline())["ok"] is True


def test_a_connection_that_breaks_off_is_survived(three_tier: Lab) -> None:
    with server.connect(three_tier.directory) as connection:
        connection.sendall(b'{"op": "resources"}\n{"op": "reso')
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert three_tier.counters()


def test_two_labs_stand_side_by_side(state_root: Path, three_tier: Lab) -> None:
    other = raise_lab("three-tier", "second")
    other.run("web-01", ["touch", "/etc/second"])
    assert three_tier.run("web-01", ["test", "-e", "/etc/second"], check=False).returncode == 1
    rule_id = f"{resource(other, 'nsg-db')['id']}/securityRules/DenySql"
    other.put_resource(rule_id, rule("Deny", 90 + 11))
    assert connects(three_tier, "web-01", "10.0.3.4", 1433)
    take_down("second")
    assert connects(three_tier, "web-01", "10.0.3.4", 1433)


def traces(lab: Lab) -> list[int]:
    """The processes that hold a lab's namespaces: its VMs, their services and what was spawned in them."""
    vms = [vm.pid for vm in lab.vms.values()]
    inner = [lab.spawn(vm, ["sleep", "5432"]) for vm in lab.vms]
    return [*vms, *inner]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_down_leaves_nothing(state_root: Path) -> None:
    lab = raise_lab("three-tier", "brief")
    pids = traces(lab)
    links = {link.name for link in Path("/sys/class/net").iterdir()}
    take_down("brief")
    assert all(map(is_gone, pids))
    assert {link.name for link in Path("/sys/class/net").iterdir()} <= links
    assert not lab.directory.exists()
    assert not [words for words in processes_of(state_root) if " brief" in words]
    with pytest.raises(UnknownNameError):
        take_down("brief")


def test_a_killed_applier_takes_everything_with_it(state_root: Path) -> None:
    lab = raise_lab("three-tier", "killed")
    pids = traces(lab)
    record = state.find("killed").record()
    assert record is not None
    os.kill(record.applier.pid, signal.SIGKILL)
    eventually(lambda: all(map(is_gone, pids)), "a process outlives its lab")
    with pytest.raises(LabError, match="is dead"):
        Lab.open("killed")
    take_down("killed")
    assert not lab.directory.exists()


def test_a_terminated_applier_cleans_up(state_root: Path) -> None:
    lab = raise_lab("three-tier", "ended")
    record = state.find("ended").record()
    assert record is not None
    os.kill(record.applier.pid, signal.SIGTERM)
    eventually(lambda: not lab.directory.exists(), "its directory is left")


def test_a_lab_ends_with_its_owner(state_root: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        lab = raise_lab("three-tier", "owned", owner_pid=owner.pid)
        pids = traces(lab)
        owner.kill()
    eventually(lambda: not lab.directory.exists(), "its directory is left")
    assert all(map(is_gone, pids))


def test_up_and_down_many_times(state_root: Path) -> None:
    links = {link.name for link in Path("/sys/class/net").iterdir()}
    for _ in range(10):
        lab = raise_lab("hub-spoke", "again")
        pids = traces(lab)
        take_down(lab.name)
        assert all(map(is_gone, pids))
    assert not [words for words in processes_of(state_root) if " again" in words]
    assert {link.name for link in Path("/sys/class/net").iterdir()} <= links


def test_the_death_of_all_vms_ends_the_lab(state_root: Path) -> None:
    lab = raise_lab("three-tier", "orphaned")
    parent = Path(f"/proc/{next(iter(lab.vms.values())).pid}/stat").read_text(encoding="latin-1")
    os.kill(int(parent.rpartition(")")[2].split()[1]), signal.SIGKILL)
    eventually(lambda: not lab.directory.exists(), "the lab goes on without VMs")
