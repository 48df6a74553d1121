"""Commands are told by ARM ids, and nothing in a name reaches the shell as anything but a name."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from harness.azure_cli import (
    az,
    named,
    nic_update,
    peering_command,
    peering_create,
    route_command,
    rule_command,
    subnet_update,
)
from tests.harness.network.builders import arm_id, nic_id, subnet_id, vnet_id

NAMES = st.text(min_size=1).filter(lambda name: "/" not in name)


def test_each_command_names_its_object() -> None:
    rule = f"{arm_id('networkSecurityGroups', 'n')}/securityRules/ssh"
    assert rule_command("delete", rule) == (
        "az network nsg rule delete --resource-group rg --nsg-name n --name ssh"
    )
    assert route_command("update", f"{arm_id('routeTables', 't')}/routes/out", ("a", "b c")) == (
        "az network route-table route update --resource-group rg --route-table-name t --name out --a 'b c'"
    )
    assert subnet_update(subnet_id("v/s")) == (
        "az network vnet subnet update --resource-group rg --vnet-name v --name s"
    )
    assert peering_command("sync", f"{vnet_id('v')}/virtualNetworkPeerings/p") == (
        "az network vnet peering sync --resource-group rg --vnet-name v --name p"
    )
    assert peering_create(vnet_id("v"), vnet_id("w")) == (
        "az network vnet peering create --resource-group rg --vnet-name v --name to-w"
        f" --remote-vnet {vnet_id('w')} --allow-vnet-access"
    )
    assert named("network vnet update", vnet_id("v")) == "az network vnet update --resource-group rg --name v"
    assert nic_update(nic_id("n")) == f"az network nic update --ids {nic_id('n')}"


def test_what_an_id_does_not_tell_is_for_the_reader() -> None:
    assert rule_command("delete", "ssh") == (
        "az network nsg rule delete --resource-group '<resource group>' --nsg-name '<nsg name>' --name ssh"
    )


@given(NAMES, NAMES, st.text())
def test_names_stay_names(group: str, rule: str, value: str) -> None:
    command = rule_command(
        "update", f"{arm_id('networkSecurityGroups', group)}/securityRules/{rule}", ("x", value)
    )
    assert shlex.split(command)[5:] == [
        "--resource-group", "rg", "--nsg-name", group, "--name", rule, "--x", value,
    ]  # fmt: skip
    assert shlex.split(az("login", ("username", value))) == ["az", "login", "--username", value]
