"""``azreach diff`` as a user types it: texts, exit statuses, JSON, plans against snapshots, wrong input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.commands.diff import diff
from harness.errors import InputError, SnapshotError, UnknownNameError
from tests.harness.network.builders import GROUP, Resource, machine, nsg, public_ip, rule, vnet
from tests.harness.network.terraform_documents import configuration, named, plan, ref
from tests.harness.network.terraform_documents import rule as planned_rule
from tests.harness.policy.any_edges import TAG_FILE

SSH = rule("allow-ssh", 110, "Allow", protocol="Tcp", ports="22")
STORAGE = rule("storage", 200, "Deny", "Outbound", destination="Storage")


def resources(*rules: Resource, more: Sequence[Resource] = ()) -> list[Resource]:
    return [
        vnet("v", "10.0.0.0/16", {"web": "10.0.1.0/24"}, nsgs={"web": "nsg-web"}),
        nsg("nsg-web", rule("tls", 100, "Allow", protocol="Tcp", ports="443"), *rules),
        public_ip("p", "203.0.113.7"),
        *machine("web-01", "v/web", "10.0.1.4", public_ip="p"),
        *machine("web-02", "v/web", "10.0.1.5"),
        *more,
    ]


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def run(folder: Path, before: Any, after: Any, *arguments: str) -> Result:
    paths = [written(folder / f"{name}.json", item) for name, item in (("before", before), ("after", after))]
    return CliRunner().invoke(diff, [*map(str, paths), *arguments])


def test_an_opened_port(tmp_path: Path) -> None:
    found = run(tmp_path, resources(), resources(SSH))
    assert (found.exit_code, found.stderr) == (1, "")
    lines = [line.strip() for line in found.stdout.splitlines()]
    assert lines[0] == "OPENED  tcp/22  internet -> web-01  (1 pair)"
    assert lines[1].startswith("example  tcp ")
    assert lines[1].endswith(" -> 203.0.113.7 port 22")
    assert lines[2].startswith("before   deny: subnet 'web', network security group 'nsg-web': default rule")
    assert lines[3].startswith(
        "after    allow: subnet 'web', network security group 'nsg-web': rule 'allow-ssh'"
    )
    assert lines[4:] == [
        "because  added securityRules nsg-web/allow-ssh",
        "1 pair open, 0 pairs close; 1 object changed",
    ]


def test_nothing_changes(tmp_path: Path) -> None:
    found = run(tmp_path, resources(SSH), resources(SSH))
    assert (found.exit_code, found.stdout) == (0, "no flow changes; 0 objects changed\n")


def test_objects_change_and_no_flow(tmp_path: Path) -> None:
    other = rule("secure-shell", 110, "Allow", protocol="Tcp", ports="22")
    found = run(tmp_path, resources(SSH), resources(other))
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "removed securityRules nsg-web/allow-ssh",
        "added securityRules nsg-web/secure-shell",
        "no flow changes; 2 objects changed",
    ]


def test_json(tmp_path: Path) -> None:
    found = run(tmp_path, resources(), resources(SSH), "--json")
    document = json.loads(found.stdout)
    assert found.exit_code == 1
    assert set(document) == {"changed", "flows", "objects", "unknown"}
    (flow,) = document["flows"]
    assert list(flow) == ["change", "ports", "count", "pairs", "example", "before", "after", "objects"]
    assert (flow["change"], flow["ports"], flow["count"]) == ("opened", "tcp/22", 1)
    assert flow["pairs"][0]["from"] == [{"internet": "all", "family": 4, "prefixes": []}]
    assert flow["pairs"][0]["to"][0]["address"] == "10.0.1.4"
    assert (flow["before"]["verdict"], flow["after"]["rule"]) == ("deny", "nsg-web/allow-ssh")
    assert flow["objects"] == [document["objects"][0]["id"]]
    nothing = json.loads(run(tmp_path, resources(), resources(), "--json").stdout)
    assert nothing == {"changed": False, "flows": [], "objects": [], "unknown": []}


# -- plans and subscriptions -------------------------------------------------------------------------


def planned(*rules: Any) -> Any:
    """The same network as a plan of a configuration without a subscription."""
    own = configuration(ref("azurerm_subnet.web.id"), "10.0.1.4", name="ipconfig1",
                        public_ip_address_id=ref("azurerm_public_ip.p.id"))  # fmt: skip
    other = configuration(ref("azurerm_subnet.web.id"), "10.0.1.5", name="ipconfig1")
    machines = [
        named(
            "azurerm_linux_virtual_machine", name,
            network_interface_ids=[ref(f"azurerm_network_interface.nic-{name}.id")],
        )
        for name in ("web-01", "web-02")
    ]  # fmt: skip
    return plan(
        named("azurerm_virtual_network", "v", address_space=["10.0.0.0/16"]),
        named(
            "azurerm_subnet", "web", virtual_network_name=ref("azurerm_virtual_network.v.name"),
            address_prefixes=["10.0.1.0/24"],
        ),
        named(
            "azurerm_network_security_group", "nsg-web",
            security_rule=[planned_rule("tls", 100, "Allow", "443"), *rules],
        ),
        named(
            "azurerm_subnet_network_security_group_association", "a", subnet_id=ref("azurerm_subnet.web.id"),
            network_security_group_id=ref("azurerm_network_security_group.nsg-web.id"),
        ),
        named("azurerm_public_ip", "p", ip_address="203.0.113.7", sku="Standard"),
        named("azurerm_network_interface", "nic-web-01", ip_configuration=[own]),
        named("azurerm_network_interface", "nic-web-02", ip_configuration=[other]),
        *machines,
    )  # fmt: skip


def test_a_plan_against_the_snapshot(tmp_path: Path) -> None:
    same = run(tmp_path, resources(), planned())
    assert same.stdout.splitlines()[-1].startswith("no flow changes")
    assert same.exit_code == 0
    assert "AFTER does not tell the subscription" in same.stderr
    opened = run(tmp_path, resources(), planned(planned_rule("ssh", 110, "Allow", "22")))
    assert opened.exit_code == 1
    assert opened.stdout.startswith("OPENED  tcp/22  internet -> web-01  (1 pair)")


def test_notes_of_a_plan_reach_the_user(tmp_path: Path) -> None:
    document = planned() | {"complete": False}
    found = run(tmp_path, planned(), document)
    assert (
        f"note: {tmp_path / 'after.json'}: the plan covers a part of the configuration only" in found.stderr
    )


def test_a_copy_in_another_subscription(tmp_path: Path) -> None:
    text = json.dumps(resources(SSH)).replace(GROUP.split("/")[2], "99999999-0000-4000-8000-000000000001")
    found = run(tmp_path, resources(), json.loads(text))
    assert found.stdout.startswith("OPENED  tcp/22  internet -> web-01  (1 pair)")
    assert "read as if it were in" in found.stderr


# -- service tags ------------------------------------------------------------------------------------


def test_a_service_tag_that_nothing_defines(tmp_path: Path) -> None:
    shut = rule("shut", 120, "Deny", "Outbound", protocol="Tcp", ports="25")
    found = run(tmp_path, resources(STORAGE), resources(STORAGE, shut))
    assert found.exit_code == 1
    assert "note: service tag 'Storage'" in found.stderr
    assert "not compared: rule 'storage' of network security group 'nsg-web'" in found.stderr
    assert "as far as it can be told" in found.stdout
    shadowed = rule("late", 4000, "Allow", protocol="Tcp", ports="443")
    silent = run(tmp_path, resources(STORAGE), resources(STORAGE, shadowed))
    assert silent.exit_code == 2
    assert silent.stdout.splitlines()[-1].startswith("no flow changes, as far as it can be told")
    tags = written(tmp_path / "tags.json", TAG_FILE)
    told = run(tmp_path, resources(STORAGE), resources(STORAGE, shut), "--service-tags", str(tags))
    assert (told.exit_code, told.stderr) == (1, "")
    assert told.stdout.splitlines()[0].startswith("CLOSED  tcp/25  web-01, web-02 -> ")


# -- given flows -------------------------------------------------------------------------------------


def flows(folder: Path, *lines: str) -> str:
    path = folder / "flows.csv"
    path.write_text("\n".join(["from,to,protocol,port", *lines, ""]), encoding="utf-8")
    return str(path)


def test_given_flows(tmp_path: Path) -> None:
    asked = flows(tmp_path, "8.8.8.8,203.0.113.7,tcp,22", "8.8.8.8,203.0.113.7,tcp,443")
    found = run(tmp_path, resources(), resources(SSH), "--flows", asked)
    assert found.exit_code == 1
    assert found.stdout.splitlines()[0] == "OPENED  tcp/22  8.8.8.8 -> 203.0.113.7"
    assert found.stdout.splitlines()[-1] == "1 flow open, 0 flows close; 1 object changed"
    unchanged = run(tmp_path, resources(), resources(SSH), "--flows", flows(tmp_path, "web-01,web-02,udp,53"))
    assert unchanged.exit_code == 0


def test_a_machine_that_only_one_side_has(tmp_path: Path) -> None:
    more = machine("web-03", "v/web", "10.0.1.6")
    asked = flows(tmp_path, "web-01,web-03,tcp,22")
    found = run(tmp_path, resources(), resources(more=more), "--flows", asked)
    assert found.exit_code == 1
    assert "before   deny: no VM 'web-03'" in found.stdout


def test_a_machine_that_no_side_has_is_an_error_with_its_line(tmp_path: Path) -> None:
    asked = flows(tmp_path, "web-01,web-02,tcp,22", "web-01,web-09,tcp,22")
    found = run(tmp_path, resources(), resources(SSH), "--flows", asked)
    assert isinstance(found.exception, UnknownNameError)
    assert f"{asked}:3: no VM 'web-09'" in found.exception.message


# -- wrong use ---------------------------------------------------------------------------------------


def test_wrong_input(tmp_path: Path) -> None:
    good = str(written(tmp_path / "good.json", resources()))
    for bad in (tmp_path / "nowhere.json", written(tmp_path / "bad.json", {"a": 1})):
        found = CliRunner().invoke(diff, [good, str(bad)])
        assert isinstance(found.exception, SnapshotError)
        assert str(bad) in found.exception.message
    found = run(tmp_path, resources(), resources(SSH), "--flows", str(tmp_path / "nowhere.csv"))
    assert isinstance(found.exception, InputError)
    assert run(tmp_path, resources(), resources(), "--assume", "x=y").exit_code == 2
    assert CliRunner().invoke(diff, [good]).exit_code == 2


@pytest.mark.parametrize("name", ["[bold]x[red]\x1b[31m\u202egnp", "a" * 300])
def test_names_stay_text_and_whole(name: str, tmp_path: Path) -> None:
    found = run(tmp_path, resources(), resources({**SSH, "name": name}))
    shown = name.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
    assert f"added securityRules nsg-web/{shown}" in found.stdout
    assert "\x1b" not in found.stdout
    raw = run(tmp_path, resources(), resources({**SSH, "name": name}), "--json").stdout
    assert raw.isascii()
    assert json.loads(raw)["flows"][0]["after"]["rule"] == f"nsg-web/{name}"
