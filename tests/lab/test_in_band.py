"""A lab that is managed in band: what cuts a VM off cuts off its management, and the diagnosis says so.

Faults are made out of band (``lab.client``), so that they can be taken back.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.diagnosis.diagnoser import Diagnoser
from harness.environment import Environment, load_environment
from harness.model import Cause, Diagnosis, Verdict
from harness.target import parse_flow
from harness.transport.session import Sessions
from lab import journal
from lab.arm_view import ArmView
from lab.changes import Change, GuestChange
from lab.client import Lab, raise_lab

pytestmark = pytest.mark.lab(rootless=True)

FLOW = parse_flow("web-01", "db-01:1433/tcp")
IN_BAND = "SSH to it uses the data NIC"


@pytest.fixture(scope="module")
def in_band(state_root: Path) -> Lab:
    del state_root
    return raise_lab("in-band")


@pytest.fixture(scope="module")
def environment(in_band: Lab) -> Environment:
    found = load_environment(in_band.environment_path)
    impatient = {
        name: machine.model_copy(update={"ssh": machine.ssh.model_copy(update={"connect_timeout": 3.0})})
        for name, machine in found.machines.items()
    }
    return found.model_copy(update={"machines": impatient})


@pytest.fixture
def diagnoser(environment: Environment) -> Iterator[Diagnoser]:
    with Diagnoser(environment, timeout=0.5) as made:
        yield made


@pytest.fixture
def mended(in_band: Lab) -> Iterator[None]:
    """Nothing stands in the lab afterwards."""
    yield
    journal.mend(in_band)


def break_(lab: Lab, *changes: Change) -> None:
    journal.inject(lab, journal.Entry("management-cut", FLOW, changes), journal.entries(lab))


def deny_everything(lab: Lab) -> None:
    """A rule of the NSG on db-01's NIC denies all that comes in."""
    arm = ArmView(lab.resources())
    everything = {
        "access": "Deny",
        "protocol": "*",
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "*",
    }
    break_(lab, *arm.attach_rule(arm.nic_of("db-01"), "Inbound", everything))


def drop_everything(lab: Lab) -> None:
    """db-01's own firewall drops all that comes in, what belongs to open connections too."""
    rules = "add table inet cut; add chain inet cut input { type filter hook input priority 0; policy drop; }"
    break_(lab, GuestChange("db-01", ("nft", rules), ("nft", "delete table inet cut")))


def said(diagnosis: Diagnosis) -> str:
    """Everything that a diagnosis tells its reader."""
    findings = [item.summary for finding in diagnosis.findings for item in finding.evidence]
    return "\n".join([*findings, *(item.summary for item in diagnosis.evidence), *diagnosis.missing])


def test_every_vm_but_the_jump_host_is_reached_by_its_data_nic(
    in_band: Lab, environment: Environment
) -> None:
    jump = environment.machine("jump-01").ssh
    assert (jump.jump, jump.proxy_command is None) == (None, False)
    for name, vm in in_band.vms.items():
        if name == "jump-01":
            continue
        ssh = environment.machine(name).ssh
        assert (ssh.host, ssh.port) == (vm.nics[0].addresses[0].partition("/")[0], 22)
        assert (ssh.jump, ssh.proxy_command, ssh.host_key_alias) == ("jump-01", None, vm.hostname)
        listening = in_band.run(name, ["ss", "-Hltn", "sport = :22"]).stdout.splitlines()
        assert [line.split()[3] for line in listening] == ["0.0.0.0:22", "[::]:22"]
    assert in_band.run("jump-01", ["ss", "-Hltn", "sport = :22"]).stdout == ""
    with Sessions(environment) as sessions:
        assert sessions.agent("db-01").run("hostname").stdout == "db-01\n"
        login = in_band.run("db-01", ["ss", "-Htn", "state", "established", "sport = :22"]).stdout
        assert in_band.vm("jump-01").nics[0].addresses[0].partition("/")[0] in login


def test_healthy(diagnoser: Diagnoser) -> None:
    assert diagnoser.diagnose(FLOW).verdict is Verdict.HEALTHY
    assert diagnoser.diagnose(parse_flow("jump-01", "db-01:22/tcp")).verdict is Verdict.HEALTHY
    denied = diagnoser.diagnose(parse_flow("web-01", "db-01:22/tcp"))
    assert [finding.cause for finding in denied.findings] == [Cause.SUBNET_NSG_INBOUND]


@pytest.mark.usefixtures("mended")
def test_a_rule_that_cuts_management_off_is_named(in_band: Lab, diagnoser: Diagnoser) -> None:
    deny_everything(in_band)
    diagnosis = diagnoser.diagnose(FLOW)
    assert [finding.cause for finding in diagnosis.findings] == [Cause.NIC_NSG_INBOUND]
    where = {item.where for item in diagnosis.findings[0].evidence}
    assert {"web-01", "db-01"} <= where
    assert IN_BAND in said(diagnosis)


@pytest.mark.usefixtures("mended")
def test_a_session_that_is_open_outlives_a_new_rule(in_band: Lab, diagnoser: Diagnoser) -> None:
    """A port knows its flows: Azure judges new ones only."""
    assert diagnoser.diagnose(FLOW).verdict is Verdict.HEALTHY
    deny_everything(in_band)
    diagnosis = diagnoser.diagnose(FLOW)
    assert [finding.cause for finding in diagnosis.findings] == [Cause.NIC_NSG_INBOUND]
    assert "no packet of the flow seen; the capture works" in said(diagnosis)
    assert IN_BAND not in said(diagnosis)


@pytest.mark.usefixtures("mended")
def test_a_guest_firewall_that_cuts_management_off_is_no_guess(in_band: Lab, diagnoser: Diagnoser) -> None:
    drop_everything(in_band)
    diagnosis = diagnoser.diagnose(FLOW)
    assert (diagnosis.verdict, diagnosis.findings) == (Verdict.INCONCLUSIVE, ())
    assert IN_BAND in said(diagnosis)
    journal.mend(in_band)
    assert diagnoser.diagnose(FLOW).verdict is Verdict.HEALTHY


@pytest.mark.usefixtures("mended")
def test_a_session_that_is_cut_in_the_middle_is_told_as_cut(in_band: Lab, diagnoser: Diagnoser) -> None:
    assert diagnoser.diagnose(FLOW).verdict is Verdict.HEALTHY
    drop_everything(in_band)
    diagnosis = diagnoser.diagnose(FLOW)
    assert (diagnosis.verdict, diagnosis.findings) == (Verdict.INCONCLUSIVE, ())
    assert IN_BAND in said(diagnosis)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root, only an applier can make VMs")
def test_an_sshd_that_cannot_listen_is_named(tmp_path: Path) -> None:
    """In a process of its own, since the driver forks."""
    script = f"""
from pathlib import Path
from lab.errors import LabError
from lab.hosts import resident_sshd
from lab.hosts.sshd import CONFIG
from lab.namespaces import GuestFile, GuestSpec, Lowers, NamespaceDriver
driver = NamespaceDriver()
lowers = Lowers((Path("/etc"),), (Path("/var"),))
files = (GuestFile(CONFIG, b"HostKey /none"), GuestFile("/run/sshd"))
list(driver.create([GuestSpec("one", "one", files)], "test", Path("{tmp_path}"), lowers))
try:
    resident_sshd.start_all(driver, driver.guests.values())
except LabError as error:
    print(error)
driver.destroy()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("one: sshd does not listen: sshd: no hostkeys available"), result.stderr
