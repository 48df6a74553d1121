"""Azure's spellings of rules and next hops: each tool's, all of them the same rule, none another's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.network.model import (
    ANY_PORT,
    Access,
    AddressSelector,
    AdminAccess,
    Direction,
    NextHopType,
    RuleProtocol,
    SecurityAdminRule,
    SecurityRule,
)
from harness.network.rules import default_rules
from harness.policy.spelling import (
    NEXT_HOP_NAMES,
    diagnostic_name,
    resource_name,
    rule_names,
    same_next_hop,
    same_rule,
)

ANYTHING = AddressSelector(any=True)
DEFAULT = {rule.name: rule for rule in default_rules("/nsg")}
ALLOW_SSH = SecurityRule(
    "/nsg/securityRules/allow-ssh", "allow-ssh", Direction.INBOUND, 100, Access.ALLOW, RuleProtocol.TCP,
    ANYTHING, (ANY_PORT,), ANYTHING, (ANY_PORT,),
)  # fmt: skip
ADMIN = SecurityAdminRule(
    "/manager/rules/no-rdp", "no-rdp", Direction.INBOUND, 1, AdminAccess.DENY, RuleProtocol.TCP,
    ANYTHING, (ANY_PORT,), ANYTHING, (ANY_PORT,),
)  # fmt: skip

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("rule", "resource", "diagnostic"),
    [
        (ALLOW_SSH, "securityRules/allow-ssh", "UserRule_allow-ssh"),
        (
            DEFAULT["AllowVnetInBound"],
            "defaultSecurityRules/AllowVnetInBound",
            "DefaultRule_AllowVnetInBound",
        ),
        (ADMIN, "no-rdp", "no-rdp"),
    ],
    ids=["custom", "default", "admin"],
)
def test_each_tools_spelling(rule: SecurityRule | SecurityAdminRule, resource: str, diagnostic: str) -> None:
    assert resource_name(rule) == resource
    assert diagnostic_name(rule) == diagnostic
    assert set(rule_names(rule)) == {rule.name, resource, diagnostic}


@pytest.mark.parametrize(
    ("legacy", "name"),
    [("DefaultInboundDenyAll", "DenyAllInBound"), ("DefaultOutboundDenyAll", "DenyAllOutBound")],
)
def test_legacy_names_of_the_default_denials(legacy: str, name: str) -> None:
    for spelled in (legacy, f"defaultSecurityRules/{legacy}", f"DefaultRule_{legacy}"):
        assert [rule.name for rule in DEFAULT.values() if same_rule(spelled, rule)] == [name]


def test_a_custom_rule_with_a_default_rules_name_has_no_legacy_name() -> None:
    """Azure accepts the name for a rule of one's own."""
    custom = replace(ALLOW_SSH, name="DenyAllInBound")
    assert not same_rule("DefaultInboundDenyAll", custom)
    assert not same_rule("defaultSecurityRules/DenyAllInBound", custom)
    assert same_rule("UserRule_DenyAllInBound", custom)


def test_kind_and_name_must_both_agree() -> None:
    for other in (
        "defaultSecurityRules/allow-ssh",
        "DefaultRule_allow-ssh",
        "UserRule_allow",
        "UserRule_",
        "",
    ):
        assert not same_rule(other, ALLOW_SSH)


@given(names, st.booleans())
def test_every_spelling_is_the_same_rule_in_any_case(name: str, default: bool) -> None:
    rule = replace(ALLOW_SSH, name=name, default=default)
    for spelled in rule_names(rule):
        assert same_rule(spelled, rule)
        assert same_rule(spelled.upper(), rule)


@given(names, names, st.booleans())
def test_a_tools_spelling_tells_custom_rules_apart(one: str, other: str, default: bool) -> None:
    """But not a bare name from a diagnostic one: ``UserRule_x`` may be a rule ``x`` or one named so."""
    rule, another = replace(ALLOW_SSH, name=one), replace(ALLOW_SSH, name=other, default=default)
    same = one.lower() == other.lower() and not default
    assert same_rule(resource_name(another), rule) == same
    assert (diagnostic_name(another).lower() == diagnostic_name(rule).lower()) == same


def test_every_next_hop_type_is_named_and_no_name_means_two() -> None:
    assert set(NEXT_HOP_NAMES) == set(NextHopType)
    for hop, spelled in NEXT_HOP_NAMES.items():
        assert hop.value in spelled
        for name in spelled:
            assert [other for other in NextHopType if same_next_hop(name, other)] == [hop]


@pytest.mark.parametrize(
    ("answered", "hop"),
    [
        ("VirtualNetwork", NextHopType.VNET_LOCAL),
        ("VnetLocal", NextHopType.VNET_LOCAL),
        ("VNetGlobalPeering", NextHopType.VNET_PEERING),
        ("none", NextHopType.NONE),
    ],
)
def test_next_hops_of_recorded_and_documented_answers(answered: str, hop: NextHopType) -> None:
    assert same_next_hop(answered, hop)


def test_an_unknown_next_hop_is_none_of_ours() -> None:
    assert not any(same_next_hop("MicrosoftEdge", hop) for hop in NextHopType)
