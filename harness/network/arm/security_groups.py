"""Network security groups with their rules, and application security groups; classic groups, too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from harness.network.arm import kinds
from harness.network.arm.associations import Associations
from harness.network.arm.bodies import Reader, children, distinct, parent_in, properties, store
from harness.network.claims import missing
from harness.network.fields import Fields
from harness.network.rules import classic_rule, ordered_rules, security_rule
from harness.network.security import ApplicationSecurityGroup, NetworkSecurityGroup, SecurityRule
from harness.network.words import key, short_name

_SIDES = ("sourceApplicationSecurityGroups", "destinationApplicationSecurityGroups")


class SecurityGroups:
    def __init__(self, links: Associations) -> None:
        self.groups: dict[str, tuple[str, str]] = {}
        self.asgs: dict[str, ApplicationSecurityGroup] = {}
        self._rules: dict[str, SecurityRule] = {}
        self._links = links
        self.readers: Mapping[str, Reader] = {
            kinds.NSG: self._group,
            kinds.SECURITY_RULE: self._custom_rule,
            kinds.DEFAULT_RULE: self._default_rule,
            kinds.ASG: self._asg,
            kinds.CLASSIC_NSG: self._classic_group,
            kinds.CLASSIC_RULE: self._classic_rule,
        }

    def settle(self, origin: str) -> dict[str, NetworkSecurityGroup]:
        """Every group with all of its rules."""
        for asg, fields, name in self._links.asg_references:
            if key(asg) not in self.asgs:
                raise missing(fields, name, "application security group", asg)
        rules: dict[str, tuple[list[SecurityRule], list[SecurityRule]]] = defaultdict(lambda: ([], []))
        for rule in self._rules.values():
            owner = parent_in(self.groups, rule.id, "network security group", origin)
            rules[owner][rule.default].append(rule)
        return {
            name: NetworkSecurityGroup(arm_id, label, ordered_rules(arm_id, *rules[name], origin))
            for name, (arm_id, label) in self.groups.items()
        }

    def _group(self, fields: Fields, arm_id: str, name: str) -> None:
        body = properties(fields)
        self.groups[key(arm_id)] = (arm_id, name)
        children(body, "securityRules", arm_id, kinds.SECURITY_RULE, self._custom_rule)
        distinct(body, "defaultSecurityRules")
        # the service itself writes default rules' ids with empty parents, so only their names count
        for child in body.objects("defaultSecurityRules"):
            rule_name = child.optional_text("name") or short_name(child.text("id"))
            rule_id = f"{arm_id}/defaultSecurityRules/{rule_name}"
            self._default_rule(child.owned_by(rule_id), rule_id, rule_name)
        for subnet in body.references("subnets"):
            self._links.subnet_nsgs.add(subnet, arm_id, body, "subnets")
        for nic in body.references("networkInterfaces"):
            self._links.nic_nsgs.add(nic, arm_id, body, "networkInterfaces")

    def _custom_rule(self, fields: Fields, arm_id: str, name: str) -> None:
        self._rule(fields, arm_id, name, default=False)

    def _default_rule(self, fields: Fields, arm_id: str, name: str) -> None:
        self._rule(fields, arm_id, name, default=True)

    def _rule(self, fields: Fields, arm_id: str, name: str, *, default: bool) -> None:
        body = properties(fields)
        store(self._rules, arm_id, security_rule(arm_id, name, body, default=default), fields)
        for side in _SIDES:
            if body.has(side):
                self._links.asg_references += [(asg, body, side) for asg in body.references(side)]

    def _asg(self, _fields: Fields, arm_id: str, name: str) -> None:
        self.asgs[key(arm_id)] = ApplicationSecurityGroup(arm_id, name)

    def _classic_group(self, fields: Fields, arm_id: str, name: str) -> None:
        self.groups[key(arm_id)] = (arm_id, name)
        body = properties(fields)
        children(body, "securityRules", arm_id, kinds.CLASSIC_RULE, self._classic_rule)

    def _classic_rule(self, fields: Fields, arm_id: str, name: str) -> None:
        rule = classic_rule(arm_id, name, properties(fields))
        if rule is not None:
            store(self._rules, arm_id, rule, fields)
