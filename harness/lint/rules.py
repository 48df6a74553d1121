"""Rules of network security groups that never decide, or whose order alone decides.

Compared are the custom rules of one group and direction; what another group at the same NIC does is
not counted. Tags count as their addresses where those are known and the same everywhere the group
applies, else as opaque, as application security groups do: what is reported holds whatever they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from harness.azure_cli import az, named, rule_command
from harness.lint.finding import Check, Defect, Severity, check
from harness.lint.matches import DESTINATION, SOURCE, example
from harness.lint.standing import Crossing, Standing, crossings, is_everything
from harness.lint.survey import RuleList, Survey
from harness.lint.wording import count, listed
from harness.network.addresses import AddressSet, Ranges
from harness.network.model import (
    Access,
    AddressSelector,
    Direction,
    NetworkSecurityGroup,
    SecurityRule,
    key,
    short_name,
)
from harness.network.rules import CUSTOM_PRIORITIES

_SOMEBODY = AddressSet.of(ip_network(text) for text in ("203.0.113.9", "2001:db8::9"))
"""Of the ranges for documentation that the tag Internet holds: who the far end is in examples."""


@check("nsg/shadowed-rule", Severity.WARNING)
def shadowed_rule(survey: Survey) -> Iterator[Defect]:
    """Rule that earlier rules of the same access make superfluous.

    The union of the earlier rules of the group and direction covers it over protocol, addresses and
    ports, and every rule that takes its packets decides as it would have. Removing it changes no verdict.
    """
    for rules, standing in _dead(survey):
        if all(taker.access is standing.rule.access for taker in standing.takers):
            reason = f"{_label(standing.rule)} never decides: {_takers(standing)}, and decides alike"
            yield _dead_rule(rules, standing, reason, Severity.WARNING)


@check("nsg/contradicted-rule", Severity.ERROR)
def contradicted_rule(survey: Survey) -> Iterator[Defect]:
    """Rule that never takes effect because earlier rules decide the opposite.

    Covered as a shadowed rule is, but some of its packets meet the opposite access. An error where a
    Deny never denies (what was to be closed is open), a warning where an Allow never allows.
    """
    for rules, standing in _dead(survey):
        rule = standing.rule
        if any(taker.access is not rule.access for taker in standing.takers):
            denies = rule.access is Access.DENY
            effect = "it does not deny what they allow" if denies else "it does not allow what they deny"
            reason = f"{_label(rule)} never takes effect: {_takers(standing)}, so {effect}"
            yield _dead_rule(rules, standing, reason, Severity.ERROR if denies else Severity.WARNING)


@check("nsg/behind-deny-all", Severity.WARNING)
def behind_deny_all(survey: Survey) -> Iterator[Defect]:
    """Rules that come after a custom rule that denies everything.

    One finding for the denying rule, with every custom rule of the group and direction that comes
    after it; these are not reported as shadowed or contradicted again.
    """
    for rules in survey.rule_lists:
        place = _deny_all(rules)
        behind = [item.rule for item in rules.rules[place + 1 :]]
        if behind:
            denying = rules.rules[place].rule
            last = _free_priority(rules, behind[-1].priority + 1, CUSTOM_PRIORITIES[1])
            yield Defect(
                denying.id,
                f"{_label(denying)} denies everything, so {count(len(behind), 'rule')} after it never"
                f" {'decides' if len(behind) == 1 else 'decide'}: {listed(rule.name for rule in behind)}",
                "properties.priority",
                tuple(rule.id for rule in behind),
                (rule_command("update", denying.id, ("priority", str(last))),) if last else (),
            )


@check("nsg/crossing-rules", Severity.NOTE)
def crossing_rules(survey: Survey) -> Iterator[Defect]:
    """Pair of rules of opposite access that overlap, and neither is an exception to the other.

    Each matches packets that the other does not, so their order alone decides what they have in
    common; whoever reorders or edits one changes the other's effect. Pairs where one contains the
    other (an exception before its general rule) are not counted, nor is what earlier rules decide.
    """
    for rules in survey.rule_lists:
        place, likely = _deny_all(rules), _likely(survey, rules)
        pairs: dict[str, list[Crossing]] = {}
        for crossing in crossings(rules.rules[: place + 1]):
            pairs.setdefault(crossing.later.id, []).append(crossing)
        for found in pairs.values():
            later, earlier = found[0].later, [crossing.earlier for crossing in found]
            packet = example(found[0].contested, found[0].family, likely[found[0].family])
            yield Defect(
                later.id,
                f"{_label(later)} loses part of what it names to {listed(rule.name for rule in earlier)}"
                f" ({earlier[0].access}), for example {packet}; each matches more than the other",
                "properties.priority",
                tuple(rule.id for rule in earlier),
            )


@check("nsg/empty-asg", Severity.WARNING)
def empty_asg(survey: Survey) -> Iterator[Defect]:
    """Rule for application security groups that have no members.

    All groups that one side of the rule names are empty, so no packet matches it.
    """
    for group in survey.network.nsgs.values():
        for rule in _custom(group):
            empty = _without_members(survey, rule)
            if empty is None:
                continue
            side, selector = empty
            asgs = survey.network.asgs
            ids = tuple(asgs[name].id if name in asgs else name for name in selector.asgs)
            join = (
                ("resource-group", "<resource group>"),
                ("nic-name", "<network interface>"),
                ("name", "<IP configuration>"),
                ("application-security-groups", ids[0]),
            )
            yield Defect(
                rule.id,
                f"{_label(rule)} can never match: no network interface is in {listed(map(short_name, ids))},"
                f" its {side}",
                f"properties.{side}ApplicationSecurityGroups",
                ids,
                (az("network nic ip-config update", *join), rule_command("delete", rule.id)),
            )


@check("nsg/foreign-addresses", Severity.WARNING)
def foreign_addresses(survey: Survey) -> Iterator[Defect]:
    """Rule for near-end addresses that nothing has where the group applies.

    The destination of an inbound rule and the source of an outbound one are addresses of the subnets
    or NICs that the group is associated with (Azure judges inbound packets after their destination
    was translated, outbound ones before their source is). Not asked where a NIC forwards packets or
    has a floating IP, nor of tags whose addresses are not known. Also rules for an IP version that
    the subnets do not have.
    """
    for rules in survey.rule_lists:
        group, places = rules.group, survey.places.get(key(rules.group.id))
        local = survey.local_addresses(key(group.id))
        if places is None or local is None:
            continue
        where = listed(dict.fromkeys((place.nic or place.subnet).name for place in places))
        side = "source" if rules.direction is Direction.OUTBOUND else "destination"
        problems = [
            (rule, f"no IP version has addresses of {where} and of both of its sides")
            for rule in rules.unmatched
            if _without_members(survey, rule) is None
        ]
        problems += [
            (item.rule, f"its {side} is no address of {where}, where '{group.name}' applies")
            for item in rules.rules
            if _elsewhere(survey, rules, _near(item.rule), local)
        ]
        for rule, problem in problems:
            yield Defect(
                rule.id,
                f"{_label(rule)} can never match: {problem}",
                _side_property(_near(rule), side),
                tuple((place.nic or place.subnet).id for place in places),
                (rule_command("delete", rule.id),),
            )


@check("nsg/unused-group", Severity.NOTE)
def unused_group(survey: Survey) -> Iterator[Defect]:
    """Network security group that is associated with nothing.

    No subnet and no NIC of the snapshot has it, so none of its rules is ever asked.
    """
    for name, group in survey.network.nsgs.items():
        if name not in survey.places:
            yield Defect(
                group.id,
                f"network security group '{group.name}' is associated with no subnet and no NIC",
                fix=(named("network nsg delete", group.id),),
            )


def _custom(group: NetworkSecurityGroup) -> list[SecurityRule]:
    return [rule for rule in group.rules if not rule.default]


def _label(rule: SecurityRule) -> str:
    return f"rule '{rule.name}' ({rule.direction}, priority {rule.priority}, {rule.access})"


def _dead(survey: Survey) -> Iterator[tuple[RuleList, Standing]]:
    """Rules that decide nothing, those behind a deny-all apart."""
    for rules, found in survey.standings:
        for standing in found[: _deny_all(rules) + 1]:
            if standing.witness is None:
                yield rules, standing


def _deny_all(rules: RuleList) -> int:
    """The place of the first rule that denies everything; past the end where there is none."""
    for place, item in enumerate(rules.rules):
        if item.rule.access is Access.DENY and is_everything(item):
            return place
    return len(rules.rules)


def _takers(standing: Standing) -> str:
    names = listed(f"{rule.name}" for rule in standing.takers)
    accesses = "/".join(sorted({rule.access for rule in standing.takers}))
    if len(standing.takers) == 1:
        return f"{names} before it ({accesses}) takes all of its packets"
    return f"{names} before it ({accesses}) together take all of its packets"


def _dead_rule(rules: RuleList, standing: Standing, reason: str, severity: Severity) -> Defect:
    rule, fix = standing.rule, [rule_command("delete", standing.rule.id)]
    opposite = next((taker for taker in standing.takers if taker.access is not rule.access), None)
    if opposite is not None:
        free = _free_priority(rules, CUSTOM_PRIORITIES[0], opposite.priority - 1)
        if free is not None:
            fix.insert(0, rule_command("update", rule.id, ("priority", str(free))))
    related = tuple(taker.id for taker in standing.takers)
    return Defect(rule.id, reason, "properties.priority", related, tuple(fix), severity)


def _free_priority(rules: RuleList, low: int, high: int) -> int | None:
    """The highest unused priority number from ``low`` to ``high``."""
    used = {rule.priority for rule in rules.group.ordered(rules.direction)}
    return next((number for number in range(high, low - 1, -1) if number not in used), None)


def _without_members(survey: Survey, rule: SecurityRule) -> tuple[str, AddressSelector] | None:
    """The side, and its selector, of which every application security group is empty."""
    for side, selector in (("source", rule.source), ("destination", rule.destination)):
        if selector.asgs and not any(asg in survey.members for asg in selector.asgs):
            return side, selector
    return None


def _likely(survey: Survey, rules: RuleList) -> dict[int, dict[int, Ranges]]:
    """For examples, by family and axis: NICs where the group applies, and somebody on the internet."""
    inbound = rules.direction is Direction.INBOUND
    near, far = (DESTINATION, SOURCE) if inbound else (SOURCE, DESTINATION)
    nics = (survey.network.nics[name] for name in survey.nics_at(key(rules.group.id)))
    local = AddressSet.of(ip_network(item.address) for nic in nics for item in nic.ip_configurations)
    return {
        family: {near: local.of_family(family), far: _SOMEBODY.of_family(family)}
        for family in rules.vocabulary.families
    }


def _near(rule: SecurityRule) -> AddressSelector:
    """The side that is where the group applies."""
    return rule.source if rule.direction is Direction.OUTBOUND else rule.destination


def _elsewhere(survey: Survey, rules: RuleList, near: AddressSelector, local: AddressSet) -> bool:
    """Whether nothing where the group applies has an address, or a membership, of ``near``."""
    if near.asgs:
        here = survey.nics_at(key(rules.group.id))
        return not any(key(nic.id) in here for asg in near.asgs for nic, _ in survey.members.get(asg, ()))
    return not any(
        symbol is not None or addresses & local for addresses, symbol in rules.vocabulary.side(near)
    )


def _side_property(selector: AddressSelector, side: str) -> str:
    if selector.asgs:
        return f"properties.{side}ApplicationSecurityGroups"
    several = len(selector.prefixes) + len(selector.tags) > 1
    return f"properties.{side}AddressPrefix{'es' if several else ''}"


CHECKS: tuple[Check, ...] = (
    shadowed_rule, contradicted_rule, behind_deny_all, crossing_rules,
    empty_asg, foreign_addresses, unused_group,
)  # fmt: skip
