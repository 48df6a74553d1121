"""What the diagnosis asks of the snapshot: addresses, predictions, and today's file."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.diagnosis.azure_view import AzureView
from harness.environment import Environment, load_environment
from harness.errors import SnapshotError
from harness.model import Flow, Protocol
from harness.policy.decision import PolicyVerdict
from lab.labfile import load_lab_file
from lab.resources import to_resources
from lab.topologies import source_path

FLOW = Flow("web-01", "db-01", Protocol.TCP, 1433)
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/lab"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines"


def environment(folder: Path, *, arm_id: str = "", snapshot: bool = True) -> Environment:
    """web-01 and db-01 of three-tier; web-01 is found by ``arm_id``, db-01 by its name."""
    if snapshot:
        write(folder, to_resources(load_lab_file(source_path("three-tier"))))
    known = f", arm_id: {arm_id}" if arm_id else ""
    path = folder / "env.yaml"
    path.write_text(
        ("azure: {snapshot: network.json}\n" if snapshot else "")
        + f"machines:\n  web-01: {{ssh: {{host: a, user: b}}{known}}}\n"
        + "  db-01: {ssh: {host: a, user: b}}\n"
        + "  stranger: {ssh: {host: a, user: b}}\n"
    )
    return load_environment(path)


def write(folder: Path, resources: list[dict[str, object]]) -> None:
    partial = folder / "network.new"
    partial.write_text(json.dumps({"resources": resources}))
    partial.rename(folder / "network.json")


def addresses(known: Environment, name: str) -> list[str]:
    return [str(address) for address in AzureView(known).addresses(name, known.machines[name])]


def test_addresses_by_arm_id_by_name_or_not_at_all(tmp_path: Path) -> None:
    known = environment(tmp_path, arm_id=f"{VM}/WEB-01")
    assert addresses(known, "web-01") == ["10.0.1.4"]
    assert addresses(known, "db-01") == ["10.0.3.4"]
    assert addresses(known, "stranger") == []


def test_an_arm_id_that_the_snapshot_lacks_is_an_error_that_names_both(tmp_path: Path) -> None:
    known = environment(tmp_path, arm_id=f"{VM}/web-99")
    with pytest.raises(SnapshotError, match=r"network\.json: has no VM .*web-99 \(machine 'web-01'\)"):
        addresses(known, "web-01")


def test_a_prediction_follows_the_file(tmp_path: Path) -> None:
    view = AzureView(environment(tmp_path))
    ends = ip_address("10.0.1.4"), ip_address("10.0.3.4")
    before, _ = view.predict(FLOW, *ends)
    assert before is not None
    assert before.verdict is PolicyVerdict.ALLOW
    resources = json.loads((tmp_path / "network.json").read_text())["resources"]
    for resource in resources:
        for rule in resource["properties"].get("securityRules", ()):
            rule["properties"]["access"] = "Deny"
    write(tmp_path, resources)
    after, _ = view.predict(FLOW, *ends)
    assert after is not None
    assert after.verdict is PolicyVerdict.DENY


def test_what_the_snapshot_does_not_know_is_a_reason_not_an_error(tmp_path: Path) -> None:
    view = AzureView(environment(tmp_path))
    prediction, problem = view.predict(Flow("stranger", "nobody", Protocol.TCP, 1), None, None)
    assert prediction is None
    assert problem is not None
    assert "snapshot cannot judge" in problem


def test_without_a_snapshot_nothing_is_predicted(tmp_path: Path) -> None:
    known = environment(tmp_path, snapshot=False)
    assert AzureView(known).predict(FLOW, None, None) == (None, None)
    assert addresses(known, "web-01") == []


def test_a_snapshot_that_is_gone_is_one_message(tmp_path: Path) -> None:
    known = environment(tmp_path)
    (tmp_path / "network.json").unlink()
    with pytest.raises(SnapshotError, match=r"network\.json: No such file"):
        addresses(known, "web-01")
