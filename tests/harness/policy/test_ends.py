"""Names, addresses and ids as ends of a flow, and what is wrong with them."""

from __future__ import annotations

import pytest

from harness.errors import InputError, UnknownNameError
from harness.model import Flow
from harness.policy.explain import explain
from tests.harness.network.builders import (
    machine,
    network,
    nic,
    nic_id,
    nsg,
    rule,
    vm,
    vm_id,
    vnet,
)
from tests.harness.policy.networks import DENY_IN, ICMP, TCP, ask, tiers

# -- names ----------------------------------------------------------------------------------


def test_ends_may_be_names_addresses_or_ids() -> None:
    net = tiers(nsg("n", DENY_IN), nsgs={"db": "n"})
    for source in ("web-01", "WEB-01", "10.0.1.4", vm_id("web-01"), nic_id("nic-web-01").upper()):
        for target in (
            "db-01",
            "10.0.2.4",
            vm_id("DB-01"),
            f"{nic_id('nic-db-01')}/ipConfigurations/ipconfig1",
        ):
            assert ask(net, source, target).rule == "n/deny-sql"


def test_unknown_name_lists_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="did you mean web-01"):
        ask(tiers(), "web01", "db-01")
    with pytest.raises(UnknownNameError, match="db-01, web-01"):
        ask(tiers(), "web-01", "zzz")
    with pytest.raises(UnknownNameError):
        ask(tiers(), vm_id("nope"), "db-01")


def test_ambiguous_name_and_address_list_the_ids() -> None:
    other = {**vm("web-01"), "id": vm_id("web-01").replace("/rg/", "/rg2/")}
    with pytest.raises(InputError) as raised:
        ask(tiers(other), "web-01", "db-01")
    assert vm_id("web-01") in str(raised.value)
    assert other["id"] in str(raised.value)

    twins = network(
        vnet("a", "10.0.0.0/16", {"s": "10.0.1.0/24"}),
        vnet("b", "10.0.0.0/16", {"s": "10.0.1.0/24"}),
        machine("a1", "a/s", "10.0.1.4"),
        machine("b1", "b/s", "10.0.1.4"),
        machine("a2", "a/s", "10.0.1.5"),
    )
    with pytest.raises(InputError) as raised:
        ask(twins, "10.0.1.4", "a2")
    assert nic_id("nic-a1") in str(raised.value)
    assert nic_id("nic-b1") in str(raised.value)
    assert ask(twins, "a2", "10.0.1.4").target_nic == nic_id("nic-a1")


@pytest.mark.parametrize(
    "flow",
    [
        Flow("198.51.100.1", "10.0.9.9", TCP, 80),
        Flow("web-01", "db-01", TCP),
        Flow("web-01", "db-01", ICMP, 80),
        Flow("web-01", "db-01", TCP, 70000),
        Flow("web-01", "2001:db8::1", TCP, 80),
        Flow("web-01", "db-01", TCP, 80, 6),
    ],
    ids=["no-nic", "no-port", "icmp-port", "big-port", "family", "family-asked"],
)
def test_flows_that_make_no_sense(flow: Flow) -> None:
    with pytest.raises(InputError):
        explain(tiers(), flow)


def test_a_vm_reaches_itself() -> None:
    net = tiers(nsg("n", rule("no", 100, "Deny")), nsgs={"db": "n"})
    assert ask(net, "db-01", "10.0.2.4").allowed


def test_second_nic_is_used_for_its_own_subnet() -> None:
    net = network(
        vnet("v", "10.0.0.0/16", {"front": "10.0.1.0/24", "back": "10.0.2.0/24"}),
        nic("eth0", "v/front", "10.0.1.4"),
        nic("eth1", "v/back", "10.0.2.4"),
        vm("two", "eth0", "eth1"),
        machine("db", "v/back", "10.0.2.9"),
        machine("web", "v/front", "10.0.1.9"),
    )
    assert ask(net, "two", "db").source_nic == nic_id("eth1")
    assert ask(net, "two", "web").source_nic == nic_id("eth0")
    assert ask(net, "db", "two").target_nic == nic_id("eth0")
